//! Stores that break their promises.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;
use store::{
    Cursor, Error, Generations, Key, Outcome, Page, Presence, Store, Stored, Table, Version, Write,
};

use super::Variant;
use crate::dice::Dice;
use crate::world::World;

/// How late a store writes that acknowledges before it does.
const LAZY: Duration = Duration::from_millis(80);

/// A store that is broken in one way.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) how: Variant,
    pub(super) inner: Arc<dyn Store>,
    pub(super) world: Arc<World>,
    pub(super) dice: Dice,
    /// What it held before.
    pub(super) old: Mutex<BTreeMap<Key, Stored>>,
}

impl Broken {
    /// The write as if it had been made over what is there.
    async fn unfenced(&self, write: Write) -> Result<Write, Error> {
        let now = self.inner.get(std::slice::from_ref(&write.key)).await?.pop().flatten();
        let expected = now.map_or(Version::ABSENT, |stored| stored.version);
        let version = write.version.max(expected.next());
        Ok(Write { expected, version, ..write })
    }

    /// Says that all was written, and writes it later.
    fn later(&self, writes: Vec<Write>) -> Vec<Outcome> {
        let outcomes = writes.iter().map(|write| Outcome::Written(write.version)).collect();
        let inner = self.inner.clone();
        self.world.tasks.spawn(async move {
            tokio::time::sleep(LAZY).await;
            // Nobody is told if it cannot.
            let _ = inner.commit(writes).await;
        });
        outcomes
    }

    /// Says that all was written, and leaves some out.
    async fn forgetful(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::new();
        for write in writes {
            if self.dice.chance(50) {
                outcomes.push(Outcome::Written(write.version));
            } else {
                outcomes.extend(self.inner.commit(vec![write]).await?);
            }
        }
        Ok(outcomes)
    }

    fn remember(&self, found: &[Stored], keys: &[Key]) {
        let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, stored) in keys.iter().zip(found) {
            old.entry(key.clone()).or_insert_with(|| stored.clone());
        }
    }

    fn recall(&self, key: &Key) -> Option<Stored> {
        self.old.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

#[async_trait]
impl Store for Broken {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        let mut found = self.inner.get(keys).await?;
        for (key, stored) in keys.iter().zip(&mut found) {
            let Some(now) = stored.clone() else { continue };
            self.remember(std::slice::from_ref(&now), std::slice::from_ref(key));
            match self.how {
                Variant::StaleReads if self.dice.chance(200) => *stored = self.recall(key),
                // An old list of assignments under the newest number.
                Variant::RolledBackIntent if self.dice.chance(60) => {
                    let old = self.recall(key).filter(|_| key.table == Table::Intent);
                    *stored = old.map(|old| Stored { version: now.version, ..old }).or(Some(now));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    async fn commit(&self, mut writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        match self.how {
            Variant::NoFencing => {
                for write in &mut writes {
                    *write = self.unfenced(write.clone()).await?;
                }
                self.inner.commit(writes).await
            }
            Variant::AckBeforePersist => Ok(self.later(writes)),
            Variant::LostCommits | Variant::ForgetfulLedger => self.forgetful(writes).await,
            Variant::NoOutbox => {
                writes.iter_mut().for_each(|write| write.events = Bytes::new());
                self.inner.commit(writes).await
            }
            _ => self.inner.commit(writes).await,
        }
    }

    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        self.inner.settle(settled).await
    }

    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        self.inner.unsettled(table, shard).await
    }

    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        self.inner.scan(table, shard, cursor).await
    }

    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.inner.put_blob(hash, body).await
    }

    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        let found = self.inner.get_blob(hash).await?;
        // Another config's body, as of a store that mixes up what it holds.
        Ok(found.map(|body| match self.how {
            Variant::WrongBodies if self.dice.chance(200) => Bytes::new(),
            _ => body,
        }))
    }

    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        self.inner.put_presence(holder, seen).await
    }

    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        self.inner.get_presence(asked).await
    }

    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        self.inner.drop_presence(told).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }

    fn generations(&self) -> Generations {
        self.inner.generations()
    }
}
