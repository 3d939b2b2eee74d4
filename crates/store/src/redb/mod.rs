//! The embedded backend: one file, one writer thread, readers in snapshots.
//!
//! A commit is on disk when it is answered. Presence and settled events follow within a second:
//! losing them costs a full report or a repeated event.

mod tables;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::{
    Builder, Database, DatabaseError, Error as Fault, ReadTransaction, ReadableDatabase as _,
};
use async_trait::async_trait;
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;

use self::writer::{Work, Writer};
use crate::Error;
use crate::layout;
use crate::limits::{CACHE_BYTES, PAGE_BYTES, PAGE_ENTRIES};
use crate::port::{
    Cursor, Generation, Generations, Key, Outcome, Page, Presence, SHARDS, Store, Stored, Table,
    Version, Write,
};

/// A store in one file. Held by one process at a time.
pub struct Redb {
    path: PathBuf,
    // Before the database: its thread ends, and with it the last flush, before the file closes.
    writer: Writer,
    database: Arc<Database>,
    generation: Generation,
}

impl Redb {
    /// Opens the file, or makes it. A file that was not closed is repaired first, which reads
    /// all of it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let named = |reason: String| unavailable(&format_args!("{}: {reason}", path.display()));
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| named(opening(&error)))?;
        let generation = prepare(&database).map_err(named)?;
        let database = Arc::new(database);
        let writer = Writer::start(database.clone())?;
        Ok(Self { path: path.to_owned(), writer, database, generation })
    }

    /// Reads in a snapshot. On a thread that may block: a page that is not cached is a read from
    /// disk, and a slow disk must not stop sockets.
    async fn read<T, F>(&self, f: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction) -> Result<T, Fault> + Send + 'static,
    {
        let database = self.database.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let snapshot = database.begin_read().map_err(Fault::from)?;
            f(&snapshot)
        });
        let read = reading.await.map_err(|error| unavailable(&error))?;
        read.map_err(|fault| unavailable(&fault))
    }
}

#[async_trait]
impl Store for Redb {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        let keys = keys.to_vec();
        self.read(move |snapshot| keys.iter().map(|key| get(snapshot, key)).collect()).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        self.writer.write(Work::Commit(writes)).await
    }

    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        let work = Work::Settle(settled.to_vec());
        self.writer.write(work).await.map(drop)
    }

    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        self.read(move |snapshot| unsettled(snapshot, table, shard)).await
    }

    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        self.read(move |snapshot| scan(snapshot, table, shard, &cursor)).await
    }

    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.writer.write(Work::Blob(*hash, body)).await.map(drop)
    }

    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        let hash = *hash;
        self.read(move |snapshot| tables::blob(snapshot, &hash)).await
    }

    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        let work = Work::Presence(holder.to_owned(), seen.to_vec());
        self.writer.write(work).await.map(drop)
    }

    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        let asked = asked.to_vec();
        self.read(move |snapshot| presence(snapshot, &asked)).await
    }

    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        self.writer.write(Work::DropPresence(told.to_vec())).await.map(drop)
    }

    async fn ready(&self) -> Result<(), Error> {
        self.writer.write(Work::Probe).await.map(drop)
    }

    /// The file cannot be changed under a process that has it open.
    fn generations(&self) -> Generations {
        [self.generation; SHARDS as usize]
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").field("path", &self.path).finish_non_exhaustive()
    }
}

fn prepare(database: &Database) -> Result<Generation, String> {
    let prepared = (|| {
        let transaction = database.begin_write()?;
        let known = tables::prepare(&transaction, Generation::of_now())?;
        if known.is_ok() {
            transaction.commit()?;
        }
        Ok::<_, Fault>(known)
    })();
    prepared
        .map_err(|fault| fault.to_string())?
        .map_err(|layout| format!("layout {layout} is unknown: a newer muster wrote this file"))
}

fn get(snapshot: &ReadTransaction, key: &Key) -> Result<Option<Stored>, Fault> {
    let place = tables::place(key);
    let Some(value) = snapshot.open_table(tables::values(key.table))?.get(place)? else {
        return Ok(None);
    };
    let events = snapshot.open_table(tables::outbox(key.table))?.get(place)?;
    let events = events.as_ref().map(|events| events.value());
    Ok(Some(layout::stored(value.value(), events)))
}

fn unsettled(
    snapshot: &ReadTransaction,
    table: Table,
    shard: u8,
) -> Result<Vec<(Key, Version)>, Fault> {
    let outbox = snapshot.open_table(tables::outbox(table))?;
    let mut found = Vec::new();
    for entry in outbox.range((shard, &[][..])..(shard + 1, &[][..]))? {
        let (place, events) = entry?;
        if let Some((version, _)) = layout::split(events.value()) {
            let id = Bytes::copy_from_slice(place.value().1);
            found.push((Key { table, id }, version));
        }
    }
    Ok(found)
}

fn scan(
    snapshot: &ReadTransaction,
    table: Table,
    shard: u8,
    cursor: &Cursor,
) -> Result<Page, Fault> {
    let values = snapshot.open_table(tables::values(table))?;
    let outbox = snapshot.open_table(tables::outbox(table))?;
    let (mut page, mut bytes) = (Page::default(), 0);
    for entry in values.range((shard, &cursor.0[..])..(shard + 1, &[][..]))? {
        let (place, value) = entry?;
        let id = Bytes::copy_from_slice(place.value().1);
        if !cursor.0.is_empty() && id == cursor.0 {
            continue;
        }
        if page.entries.len() == PAGE_ENTRIES || bytes >= PAGE_BYTES {
            page.next = page.entries.last().map(|(key, _)| Cursor(key.id.clone()));
            break;
        }
        if layout::is_deleted(value.value()) {
            continue;
        }
        let key = Key { table, id };
        let events = outbox.get(place.value())?;
        let events = events.as_ref().map(|events| events.value());
        bytes += value.value().len();
        page.entries.push((key, layout::stored(value.value(), events)));
    }
    Ok(page)
}

fn presence(
    snapshot: &ReadTransaction,
    asked: &[(String, InstanceUid)],
) -> Result<Vec<Option<Presence>>, Fault> {
    let table = snapshot.open_table(tables::PRESENCE)?;
    let entry = |(holder, uid): &(String, InstanceUid)| {
        let found = table.get((holder.as_str(), uid.as_bytes()))?;
        Ok(found.and_then(|bytes| layout::presence_of(*uid, bytes.value())))
    };
    asked.iter().map(entry).collect()
}

fn opening(error: &DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            "in use by another process: one muster at a time may have this file open".to_owned()
        }
        other => other.to_string(),
    }
}

fn unavailable(reason: &dyn fmt::Display) -> Error {
    Error::Unavailable(reason.to_string())
}
