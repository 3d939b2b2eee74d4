//! From the ledger into a file, while others may write. The assignments are read first and written
//! last: the revisions they name are older than they are, and no revision ever goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use model::{ConfigHash, Timestamp};

use super::check::Contents;
use super::frame::Writer;
use super::{BackupError, FORMAT, Summary};
use crate::port::{Cursor, Key, SHARDS, Store, Stored, Table};
use crate::tables;
use crate::v1::backup_part::{Body, End, Part, Start, Value};

/// Writes a backup, and what is in it.
pub async fn take(
    ledger: &dyn Store,
    fleet: &str,
    binary: &str,
    now: Timestamp,
    out: impl Write,
) -> Result<Summary, BackupError> {
    let intent = ledger.get(&[Key::intent()]).await?.pop().flatten();
    let configs = all(ledger, Table::Configs).await?;
    let mut sink = Sink { writer: Writer::new(out)?, contents: Contents::default() };
    let (version, fleet) = (binary.to_owned(), fleet.to_owned());
    sink.part(Part::Start(Start { format: FORMAT, created_unix_ms: now.0, version, fleet }))?;
    for hash in hashes(&configs)? {
        let missing = || crate::Error::Corrupt {
            key: format!("body {hash}"),
            reason: "it is not there".to_owned(),
        };
        let body = ledger.get_blob(&hash).await?.ok_or_else(missing)?.to_vec();
        sink.part(Part::Body(Body { hash: hash.0.to_vec(), body }))?;
    }
    for (key, stored) in &configs {
        sink.value(key, stored)?;
    }
    // Packages before the sets that name them.
    let others =
        [Table::Settings, Table::Packages, Table::PackageSets, Table::Labels, Table::Commands];
    for table in others {
        for (key, stored) in all(ledger, table).await? {
            sink.value(&key, &stored)?;
        }
    }
    if let Some(stored) = intent.filter(|stored| !stored.value.is_empty()) {
        sink.value(&Key::intent(), &stored)?;
    }
    let parts = sink.writer.parts;
    sink.part(Part::End(End { parts }))?;
    let bytes = sink.writer.finish()?;
    Ok(Summary { bytes, ..sink.contents.finish(bytes)? })
}

/// What is written is checked on its way: a backup that could not be put back is none.
struct Sink<W> {
    writer: Writer<W>,
    contents: Contents,
}

impl<W: Write> Sink<W> {
    fn part(&mut self, part: Part) -> Result<(), BackupError> {
        self.contents.add(&part, self.writer.bytes)?;
        self.writer.part(part)
    }

    fn value(&mut self, key: &Key, stored: &Stored) -> Result<(), BackupError> {
        self.part(Part::Value(Value {
            table: key.table.name().to_owned(),
            id: key.id.to_vec(),
            version: stored.version.0,
            value: stored.value.to_vec(),
        }))
    }
}

/// All values of a table, each once.
pub(super) async fn all(
    ledger: &dyn Store,
    table: Table,
) -> Result<BTreeMap<Key, Stored>, BackupError> {
    let mut found = BTreeMap::new();
    for shard in 0..SHARDS {
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let page = ledger.scan(table, shard, from).await?;
            found.extend(page.entries);
            cursor = page.next;
        }
    }
    Ok(found)
}

fn hashes(configs: &BTreeMap<Key, Stored>) -> Result<BTreeSet<ConfigHash>, BackupError> {
    let mut hashes = BTreeSet::new();
    for (key, stored) in configs {
        let config = tables::configs::decode(key, &stored.value)?.value;
        hashes.extend(config.revisions.iter().map(|revision| revision.hash));
    }
    Ok(hashes)
}
