//! The executable specification of a store: small, ordered, gone when it is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;

use crate::Error;
use crate::limits::PAGE_ENTRIES;
use crate::port::{
    Cursor, Generation, Generations, Key, Outcome, Page, Presence, SHARDS, Store, Stored, Table,
    Version, Write,
};

/// A store in memory. Cheap to clone; clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    values: BTreeMap<Key, Stored>,
    blobs: BTreeMap<ConfigHash, Bytes>,
    presence: BTreeMap<(String, InstanceUid), Presence>,
    /// That of the values, and that which the users of this store know of.
    generation: (Generation, Generation),
}

impl Memory {
    /// Forgets everything, as a server does that comes back empty at some time. The next commit
    /// finds out.
    pub fn lose(&self, at: Generation) {
        let mut state = self.state();
        let (now, known) = state.generation;
        let generation = (at.max(Generation(now.0 + 1)), known);
        *state = State { generation, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            blobs: BTreeMap::new(),
            presence: BTreeMap::new(),
            generation: (Generation(1), Generation(1)),
        }
    }
}

impl State {
    fn notices_a_loss(&mut self) -> bool {
        let (now, known) = &mut self.generation;
        std::mem::replace(known, *now) != *now
    }

    fn write(&mut self, write: Write) -> Outcome {
        let version = self.values.get(&write.key).map_or(Version::ABSENT, |stored| stored.version);
        if version != write.expected {
            return Outcome::Conflict;
        }
        let version = write.version;
        if write.value.is_empty() && write.events.is_empty() {
            self.values.remove(&write.key);
        } else {
            let stored = Stored { version, value: write.value, events: write.events };
            self.values.insert(write.key, stored);
        }
        Outcome::Written(version)
    }

    fn settle(&mut self, key: &Key, version: Version) {
        let Some(stored) = self.values.get_mut(key).filter(|stored| stored.version == version)
        else {
            return;
        };
        stored.events = Bytes::new();
        if stored.value.is_empty() {
            self.values.remove(key);
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        let state = self.state();
        Ok(keys.iter().map(|key| state.values.get(key).cloned()).collect())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        let mut state = self.state();
        if state.notices_a_loss() {
            return Ok(vec![Outcome::Conflict; writes.len()]);
        }
        Ok(writes.into_iter().map(|write| state.write(write)).collect())
    }

    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        let mut state = self.state();
        settled.iter().for_each(|(key, version)| state.settle(key, *version));
        Ok(())
    }

    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        let state = self.state();
        let mine = |key: &Key| key.table == table && key.shard() == shard;
        let found = state.values.iter().filter(|(key, s)| mine(key) && !s.events.is_empty());
        Ok(found.map(|(key, stored)| (key.clone(), stored.version)).collect())
    }

    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        let state = self.state();
        let mine = |key: &Key| key.table == table && key.shard() == shard;
        let after = |key: &Key| cursor.0.is_empty() || key.id > cursor.0;
        let there =
            |key: &Key, stored: &Stored| mine(key) && after(key) && !stored.value.is_empty();
        let mut found = state.values.iter().filter(|(key, stored)| there(key, stored));
        let entries: Vec<_> = found
            .by_ref()
            .take(PAGE_ENTRIES)
            .map(|(key, stored)| (key.clone(), stored.clone()))
            .collect();
        let more = found.next().is_some();
        let next = entries.last().filter(|_| more).map(|(key, _)| Cursor(key.id.clone()));
        Ok(Page { entries, next })
    }

    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.state().blobs.insert(*hash, body);
        Ok(())
    }

    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        Ok(self.state().blobs.get(hash).cloned())
    }

    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        let mut state = self.state();
        for presence in seen {
            state.presence.insert((holder.to_owned(), presence.instance_uid), *presence);
        }
        Ok(())
    }

    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        let state = self.state();
        Ok(asked.iter().map(|key| state.presence.get(key).copied()).collect())
    }

    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        let mut state = self.state();
        state.presence.retain(|key, _| !told.contains(key));
        Ok(())
    }

    async fn ready(&self) -> Result<(), Error> {
        self.state().notices_a_loss();
        Ok(())
    }

    fn generations(&self) -> Generations {
        [self.state().generation.1; SHARDS as usize]
    }
}
