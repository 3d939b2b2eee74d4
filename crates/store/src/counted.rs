//! Counts what a store is asked, for metrics and for tests of what must cost nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;

use crate::Error;
use crate::port::{
    Cursor, Generations, Key, Outcome, Page, Presence, Store, Stored, Table, Version, Write,
};

/// A call of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// [`Store::get`].
    Get,
    /// [`Store::commit`].
    Commit,
    /// [`Store::settle`].
    Settle,
    /// [`Store::unsettled`].
    Unsettled,
    /// [`Store::scan`].
    Scan,
    /// [`Store::put_blob`].
    PutBlob,
    /// [`Store::get_blob`].
    GetBlob,
    /// [`Store::put_presence`].
    PutPresence,
    /// [`Store::get_presence`].
    GetPresence,
    /// [`Store::drop_presence`].
    DropPresence,
    /// [`Store::ready`].
    Ready,
}

impl Op {
    const COUNT: usize = Op::Ready as usize + 1;

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Commit => "commit",
            Self::Settle => "settle",
            Self::Unsettled => "unsettled",
            Self::Scan => "scan",
            Self::PutBlob => "put_blob",
            Self::GetBlob => "get_blob",
            Self::PutPresence => "put_presence",
            Self::GetPresence => "get_presence",
            Self::DropPresence => "drop_presence",
            Self::Ready => "ready",
        }
    }
}

/// How often what was done, since the store was wrapped.
#[derive(Debug, Default)]
pub struct Counts {
    commands: [AtomicU64; Op::COUNT],
    written: [AtomicU64; Table::ALL.len()],
}

impl Counts {
    /// Calls of one kind, failed ones included.
    pub fn commands(&self, op: Op) -> u64 {
        self.commands[op as usize].load(Ordering::Relaxed)
    }

    /// Values written to a table; conflicts do not count.
    pub fn written(&self, table: Table) -> u64 {
        self.written[table as usize].load(Ordering::Relaxed)
    }
}

/// A store that counts.
#[derive(Debug, Clone)]
pub struct Counted {
    inner: Arc<dyn Store>,
    counts: Arc<Counts>,
}

impl Counted {
    /// Counts what this store is asked from now on.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// The numbers so far; they go on counting.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    fn command(&self, op: Op) -> &dyn Store {
        self.counts.commands[op as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!("muster_store_commands_total", "op" => op.name()).increment(1);
        &*self.inner
    }

    fn written(&self, table: Table) {
        self.counts.written[table as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!("muster_store_records_written_total", "table" => table.name())
            .increment(1);
    }
}

#[async_trait]
impl Store for Counted {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        self.command(Op::Get).get(keys).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        let tables: Vec<Table> = writes.iter().map(|write| write.key.table).collect();
        let outcomes = self.command(Op::Commit).commit(writes).await?;
        for (table, outcome) in tables.into_iter().zip(&outcomes) {
            if matches!(outcome, Outcome::Written(_)) {
                self.written(table);
            }
        }
        Ok(outcomes)
    }

    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        self.command(Op::Settle).settle(settled).await
    }

    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        self.command(Op::Unsettled).unsettled(table, shard).await
    }

    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        self.command(Op::Scan).scan(table, shard, cursor).await
    }

    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.command(Op::PutBlob).put_blob(hash, body).await
    }

    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        self.command(Op::GetBlob).get_blob(hash).await
    }

    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        self.command(Op::PutPresence).put_presence(holder, seen).await
    }

    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        self.command(Op::GetPresence).get_presence(asked).await
    }

    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        self.command(Op::DropPresence).drop_presence(told).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.command(Op::Ready).ready().await
    }

    fn generations(&self) -> Generations {
        self.inner.generations()
    }
}
