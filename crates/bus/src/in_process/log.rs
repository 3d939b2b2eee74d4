//! The event log in memory: a ring bounded in bytes. Readers that fall behind it start over.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};

use super::lock;
use crate::Error;
use crate::limits::{LOG_BYTES_MAX, LOG_ENTRY_BYTES, LOG_IDS_MAX, READER_CAPACITY};
use crate::port::{Guard, LogEntry, LogReader, Logged, Position};

#[derive(Debug, Clone)]
pub(super) struct SharedLog {
    /// Drawn anew for each log.
    name: u64,
    log: Arc<Mutex<Log>>,
    appended: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Log {
    entries: VecDeque<Logged>,
    bytes: usize,
    next: u64,
    ids: VecDeque<Arc<str>>,
    known_ids: BTreeSet<Arc<str>>,
}

impl Default for SharedLog {
    fn default() -> Self {
        let log = Log {
            entries: VecDeque::new(),
            bytes: 0,
            next: 1,
            ids: VecDeque::new(),
            known_ids: BTreeSet::new(),
        };
        let name = RandomState::new().hash_one(());
        Self { name, log: Arc::new(Mutex::new(log)), appended: Arc::new(watch::Sender::new(0)) }
    }
}

impl SharedLog {
    pub(super) fn append(&self, entries: Vec<LogEntry>) {
        let mut log = lock(&self.log);
        for entry in entries {
            log.append(entry);
        }
        self.appended.send_replace(log.next);
    }

    pub(super) fn tail(&self) -> Position {
        Position(lock(&self.log).next)
    }

    pub(super) fn read(&self, from: Position) -> Result<LogReader, Error> {
        lock(&self.log).check(from)?;
        let (sender, receiver) = mpsc::channel(READER_CAPACITY);
        #[expect(clippy::disallowed_methods, reason = "aborted by the reader's guard")]
        let task = tokio::spawn(follow(self.log.clone(), self.appended.subscribe(), from, sender));
        Ok(LogReader::new(self.name, receiver, Guard::new(move || task.abort())))
    }
}

async fn follow(
    log: Arc<Mutex<Log>>,
    mut appended: watch::Receiver<u64>,
    mut next: Position,
    sender: mpsc::Sender<Result<Logged, Error>>,
) {
    loop {
        let step = lock(&log).next_from(next);
        let ended = match step {
            Ok(Some(logged)) => {
                next = Position(logged.position.0 + 1);
                sender.send(Ok(logged)).await.is_err()
            }
            Ok(None) => appended.changed().await.is_err(),
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                true
            }
        };
        if ended {
            return;
        }
    }
}

impl Log {
    fn append(&mut self, entry: LogEntry) {
        let id: Arc<str> = entry.id.into();
        if !self.known_ids.insert(id.clone()) {
            return;
        }
        self.ids.push_back(id);
        if self.ids.len() > LOG_IDS_MAX
            && let Some(oldest) = self.ids.pop_front()
        {
            self.known_ids.remove(&oldest);
        }
        self.bytes += entry.payload.len() + LOG_ENTRY_BYTES;
        self.entries.push_back(Logged { position: Position(self.next), payload: entry.payload });
        self.next += 1;
        while self.bytes > LOG_BYTES_MAX
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.payload.len() + LOG_ENTRY_BYTES;
        }
    }

    fn oldest(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    fn check(&self, from: Position) -> Result<(), Error> {
        if from.0 < self.oldest() || from.0 > self.next {
            return Err(Error::OutOfRange { asked: from.0, oldest: self.oldest() });
        }
        Ok(())
    }

    fn next_from(&self, from: Position) -> Result<Option<Logged>, Error> {
        self.check(from)?;
        let index = usize::try_from(from.0 - self.oldest()).expect("an index into memory");
        Ok(self.entries.get(index).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_fell_behind_is_told() {
        let log = SharedLog::default();
        let entry = |n: usize| LogEntry {
            key: "00".to_owned(),
            id: n.to_string(),
            payload: vec![0; LOG_BYTES_MAX / 4].into(),
        };
        let start = log.tail();
        log.append((0..3).map(entry).collect());
        let mut reader = log.read(start).unwrap();
        assert!(reader.next().await.unwrap().is_ok());
        log.append((3..10).map(entry).collect());
        assert!(matches!(log.read(start), Err(Error::OutOfRange { oldest: 8, .. })));
        // What it had already taken out is still read, then comes the hole.
        let told = loop {
            if let Err(error) = reader.next().await.unwrap() {
                break error;
            }
        };
        assert!(matches!(told, Error::OutOfRange { .. }));
        assert!(reader.next().await.is_none());
    }
}
