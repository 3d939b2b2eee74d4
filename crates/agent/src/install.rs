//! Packages on a disk: one file each, fetched beside its place and put there when it is whole and
//! the right one, so that a crash leaves the old one or the new one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::{Agent, Job};
use crate::link::{Trust, fetch};

/// Between two words about a download.
const WORD_EVERY: Duration = Duration::from_millis(200);

/// Where packages lie, and whom to trust for fetching them.
#[derive(Debug)]
pub(crate) struct Installer {
    pub(crate) folder: PathBuf,
    pub(crate) trust: Trust,
}

impl Installer {
    /// Does one job. `say` changes the agent, which tells its server.
    pub(crate) async fn work(
        &self,
        job: &Job,
        say: impl Fn(&mut dyn FnMut(&mut Agent)),
    ) -> Result<(), String> {
        match job {
            Job::Remove { name } => {
                let place = self.place(name)?;
                let removed = tokio::fs::remove_file(&place).await;
                removed.map_err(|error| format!("{}: {error}", place.display()))
            }
            Job::Install { name, package } => {
                let file = package.file.as_ref().ok_or("there is no file to fetch")?;
                let (place, began) = (self.place(name)?, Instant::now());
                let beside = self.folder.join(format!(".{name}.part"));
                // Left by a process that ended: of another file, maybe.
                let _ = tokio::fs::remove_file(&beside).await;
                let mut spoke: Option<Instant> = None;
                let progress = |there: u64, total: Option<u64>| {
                    if spoke.is_some_and(|spoke| spoke.elapsed() < WORD_EVERY) {
                        return;
                    }
                    spoke = Some(Instant::now());
                    let percent = total.map_or(0.0, |total| 100.0 * kib(there) / kib(total));
                    let speed = 1024.0 * kib(there) / began.elapsed().as_secs_f64().max(0.001);
                    say(&mut |agent| agent.downloading(name, percent, speed));
                };
                let fetched = fetch(file, &self.trust, &beside, progress).await;
                let placed = match fetched {
                    Ok(()) => tokio::fs::rename(&beside, &place).await.map_err(|it| it.to_string()),
                    Err(reason) => Err(reason),
                };
                if placed.is_err() {
                    // The next try begins anew: what is there may be wrong.
                    let _ = tokio::fs::remove_file(&beside).await;
                }
                placed
            }
        }
    }

    /// Where a package lies. A name that leads elsewhere is none.
    fn place(&self, name: &str) -> Result<PathBuf, String> {
        let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
        match is_plain && !name.starts_with('.') {
            true => Ok(self.folder.join(name)),
            false => Err(format!("{name:?} is no name for a file")),
        }
    }
}

/// Exact enough to be shown; never 0.
fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1))
}
