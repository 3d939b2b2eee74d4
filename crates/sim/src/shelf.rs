//! A store as one process reaches it: calls take time and fail, before or after they acted. What
//! the store says it wrote goes down in history.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;
use store::{
    Cursor, Error, Generations, Key, Outcome, Page, Presence, Store, Stored, Table, Version, Write,
};
use tokio::time::sleep;

use crate::dice::Dice;
use crate::process::Process;
use crate::world::World;

/// Which of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Records,
    Ledger,
}

/// One process's way to a store.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    pub(crate) which: Which,
    pub(crate) dice: Dice,
    pub(crate) inner: Arc<dyn Store>,
}

/// How long a client waits for a store that is away, in milliseconds.
const AWAY_MS: (u64, u64) = (20, 1_000);

impl Shelf {
    fn is_away(&self) -> bool {
        let weather = self.world.sky.now();
        match self.which {
            Which::Records => weather.records_away,
            Which::Ledger => weather.ledger_away,
        }
    }

    async fn pause(&self) {
        // A store is nearer than the bus.
        let most = self.world.sky.now().delay_ms.max(1) * 500;
        sleep(Duration::from_micros(self.dice.between(50, most))).await;
    }

    /// The way there.
    async fn reach(&self) -> Result<(), Error> {
        self.process.pass().await;
        self.pause().await;
        let away = self.is_away();
        if away {
            sleep(Duration::from_millis(self.dice.between(AWAY_MS.0, AWAY_MS.1))).await;
        }
        if away || self.dice.chance(self.world.sky.now().errors) {
            self.process.pass().await;
            return Err(Error::Unavailable("the store is away".to_owned()));
        }
        Ok(())
    }

    /// The way back.
    async fn back<T>(&self, answer: T) -> Result<T, Error> {
        self.pause().await;
        self.process.pass().await;
        if self.is_away() || self.dice.chance(self.world.sky.now().errors) {
            return Err(Error::Unavailable("the store went away".to_owned()));
        }
        Ok(answer)
    }
}

#[async_trait]
impl Store for Shelf {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        self.reach().await?;
        let found = self.inner.get(keys).await?;
        self.back(found).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        let known = self.inner.generations();
        self.reach().await?;
        // What the others have noticed meanwhile, a client of another process has not.
        if self.inner.generations() != known {
            return self.back(vec![Outcome::Conflict; writes.len()]).await;
        }
        let outcomes = self.inner.commit(writes.clone()).await?;
        for (write, outcome) in writes.iter().zip(&outcomes) {
            let (name, key) = (&self.process.name, &write.key);
            match outcome {
                Outcome::Written(version) => {
                    let now = self.world.now_ms();
                    let said = self.world.history().committed(now, self.which, name, write);
                    self.world.note(format_args!("commit {name} {key} {} {said}", version.0));
                }
                Outcome::Conflict => self.world.note(format_args!("conflict {name} {key}")),
            }
        }
        self.back(outcomes).await
    }

    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        self.reach().await?;
        self.inner.settle(settled).await?;
        self.back(()).await
    }

    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        // The sweep asks for 64 of them on end: each a moment would only cost the simulation time.
        self.process.pass().await;
        if self.is_away() {
            self.reach().await?;
        }
        self.inner.unsettled(table, shard).await
    }

    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        self.process.pass().await;
        if self.is_away() || shard.is_multiple_of(16) {
            self.reach().await?;
        }
        self.inner.scan(table, shard, cursor).await
    }

    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.reach().await?;
        self.inner.put_blob(hash, body).await?;
        self.back(()).await
    }

    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        self.reach().await?;
        let found = self.inner.get_blob(hash).await?;
        self.back(found).await
    }

    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        self.reach().await?;
        self.world.history().present(self.world.now_ms(), holder, seen);
        self.inner.put_presence(holder, seen).await?;
        self.back(()).await
    }

    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        self.reach().await?;
        let found = self.inner.get_presence(asked).await?;
        self.back(found).await
    }

    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        self.reach().await?;
        self.inner.drop_presence(told).await?;
        self.back(()).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.reach().await?;
        self.inner.ready().await?;
        self.back(()).await
    }

    fn generations(&self) -> Generations {
        self.inner.generations()
    }
}
