//! Files that are followed: what they said last counts until they say something else that makes
//! sense.
//!
//! They are read at every look and compared by digest: times and sizes miss a change that follows
//! another at once. A change is taken when two looks in a row saw it, since a file that is written
//! in place is short for a moment, and a certificate comes before its key.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::limits::{FILE_BYTES_MAX, LOOK_INTERVAL};

/// Looks at files now and then, for all doors of a process.
#[derive(Debug, Default)]
pub struct Keeper {
    followed: Vec<Box<dyn Look>>,
}

/// What a file holds.
pub(crate) struct Content {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Keeper {
    /// Follows the files of doors until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if self.followed.is_empty() {
                continue;
            }
            // Small files, but maybe on a slow disk.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            self = match looked.await {
                Ok(keeper) => keeper,
                Err(error) => {
                    tracing::error!(%error, "certificates and tokens are followed no more");
                    return;
                }
            };
        }
    }

    pub(crate) fn look(&mut self) {
        self.followed.iter_mut().for_each(|followed| followed.look());
    }

    /// Reads files now, and again whenever one of them changes.
    pub(crate) fn follow<T, F>(
        &mut self,
        paths: Vec<PathBuf>,
        understand: F,
    ) -> Result<watch::Receiver<Arc<T>>, Error>
    where
        T: Send + Sync + fmt::Debug + 'static,
        F: Fn(&[Content]) -> Result<T, Error> + Send + 'static,
    {
        let read = read_all(&paths);
        let judged = digest(&read);
        let (current, receiver) = watch::channel(Arc::new(understand(&read?)?));
        self.followed.push(Box::new(Followed { paths, judged, seen: judged, understand, current }));
        Ok(receiver)
    }
}

trait Look: Send + fmt::Debug {
    fn look(&mut self);
}

struct Followed<T, F> {
    paths: Vec<PathBuf>,
    /// What was taken or refused last.
    judged: Digest,
    /// What the last look saw.
    seen: Digest,
    understand: F,
    current: watch::Sender<Arc<T>>,
}

impl<T, F> Look for Followed<T, F>
where
    T: Send + Sync + fmt::Debug + 'static,
    F: Fn(&[Content]) -> Result<T, Error> + Send,
{
    fn look(&mut self) {
        let read = read_all(&self.paths);
        let digest = digest(&read);
        let settled = std::mem::replace(&mut self.seen, digest) == digest;
        if !settled || digest == self.judged {
            return;
        }
        self.judged = digest;
        match read.and_then(|read| (self.understand)(&read)) {
            Ok(understood) => {
                self.current.send_replace(Arc::new(understood));
                tracing::info!(files = ?self.paths, "changed, and taken");
            }
            Err(error) => {
                metrics::counter!("muster_trust_reloads_failed_total").increment(1);
                tracing::warn!(%error, "changed, but not taken: what was there before counts");
            }
        }
    }
}

impl<T, F> fmt::Debug for Followed<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("paths", &self.paths).finish_non_exhaustive()
    }
}

type Digest = [u8; 32];

fn digest(read: &Result<Vec<Content>, Error>) -> Digest {
    let mut hasher = Sha256::new();
    match read {
        Ok(files) => files.iter().for_each(|file| hasher.update(Sha256::digest(&file.bytes))),
        Err(error) => hasher.update(error.to_string()),
    }
    hasher.finalize().into()
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Content>, Error> {
    let content = |path: &PathBuf| Ok(Content { path: path.clone(), bytes: read(path)? });
    paths.iter().map(content).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |error: std::io::Error| Error::file(path, error.to_string());
    let file = std::fs::File::open(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::file(path, format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(files: &[Content]) -> Result<String, Error> {
        match &files[0].bytes[..] {
            b"bad" => Err(Error::file(&files[0].path, "is bad")),
            bytes => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
        }
    }

    #[test]
    fn what_makes_no_sense_leaves_the_old_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut keeper = Keeper::default();
        let missing = keeper.follow(vec![path.clone()], text).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
        std::fs::write(&path, "one").unwrap();
        let followed = keeper.follow(vec![path.clone()], text).unwrap();
        let mut then = |body: Option<&str>| {
            match body {
                Some(body) => std::fs::write(&path, body).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            keeper.look();
            keeper.look();
            followed.borrow().to_string()
        };
        assert_eq!(then(Some("bad")), "one");
        assert_eq!(then(Some("two")), "two", "of the same size, and at once");
        assert_eq!(then(None), "two");
        assert_eq!(then(Some("four")), "four");
    }

    #[test]
    fn what_is_seen_once_may_be_half_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "whole").unwrap();
        let mut keeper = Keeper::default();
        let followed = keeper.follow(vec![path.clone()], text).unwrap();
        for body in ["ha", "half", "whole"] {
            std::fs::write(&path, body).unwrap();
            keeper.look();
            assert_eq!(followed.borrow().as_str(), "whole");
        }
        keeper.look();
        assert!(!followed.has_changed().unwrap(), "nothing changed in the end");
    }
}
