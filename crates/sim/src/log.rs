//! The simulated event log: ordered, deduplicated by id, as durable as its service.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::{Error, LogEntry, Logged, Position};
use tokio::sync::Notify;

/// The log that all processes share.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    pub(crate) appended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Entries {
    first: u64,
    all: Vec<Logged>,
    ids: BTreeSet<String>,
}

impl Log {
    pub(crate) fn append(&self, entry: LogEntry) {
        let mut entries = self.entries();
        if entries.ids.insert(entry.id) {
            let position = Position(entries.first + entries.all.len() as u64 + 1);
            entries.all.push(Logged { position, payload: entry.payload });
        }
        drop(entries);
        self.appended.notify_waiters();
    }

    pub(crate) fn tail(&self) -> Position {
        let entries = self.entries();
        Position(entries.first + entries.all.len() as u64 + 1)
    }

    /// Forgets its oldest entries: readers behind them start over.
    pub(crate) fn forget_all(&self) {
        let mut entries = self.entries();
        entries.first += entries.all.len() as u64;
        entries.all.clear();
    }

    /// The entry at a position, if there is one yet.
    pub(crate) fn at(&self, position: Position) -> Result<Option<Logged>, Error> {
        let entries = self.entries();
        let oldest = entries.first + 1;
        let tail = oldest + entries.all.len() as u64;
        if position.0 < oldest || position.0 > tail {
            return Err(Error::OutOfRange { asked: position.0, oldest });
        }
        let index = usize::try_from(position.0 - oldest).unwrap_or(usize::MAX);
        Ok(entries.all.get(index).cloned())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
