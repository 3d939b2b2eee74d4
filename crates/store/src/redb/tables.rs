//! The tables of the file, and what reads and writes them inside a transaction. No thread, no
//! queue.

use std::collections::BTreeMap;

use ::redb::{
    Error as Fault, ReadTransaction, ReadableTable as _, Table as Open, TableDefinition,
    WriteTransaction,
};
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;

use crate::layout;
use crate::limits::PRESENCE_TTL;
use crate::{Generation, Key, Outcome, Presence, Table, Version, Write};

/// A shard and an id in it, so that a shard is a range.
pub(super) type Place = (u8, &'static [u8]);
type Values = TableDefinition<'static, Place, &'static [u8]>;
/// A holder and the uid it speaks of.
type Seen = (&'static str, &'static [u8; 16]);

/// Layout of this file. A binary that does not know it must not touch it.
const LAYOUT: u64 = 1;
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// Bodies by hash.
pub(super) const BLOBS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("blobs");
/// Presence by holder and uid.
pub(super) const PRESENCE: TableDefinition<'static, Seen, &[u8]> = TableDefinition::new("presence");

/// Values of a table, each behind its version.
pub(super) const fn values(table: Table) -> Values {
    TableDefinition::new(table.name())
}

/// Events of a table that are not settled, each behind the version they came with. Apart from the
/// values, so that a sweep reads nothing else.
pub(super) const fn outbox(table: Table) -> Values {
    TableDefinition::new(match table {
        Table::Agents => "agents.outbox",
        Table::Configs => "configs.outbox",
        Table::Intent => "intent.outbox",
        Table::Labels => "labels.outbox",
        Table::Leases => "leases.outbox",
        Table::Quarantine => "quarantine.outbox",
        Table::Commands => "commands.outbox",
        Table::Components => "components.outbox",
        Table::Settings => "settings.outbox",
        Table::EnrollmentTokens => "enrollment_tokens.outbox",
        Table::Credentials => "credentials.outbox",
        Table::Revocations => "revocations.outbox",
        Table::Authority => "authority.outbox",
        Table::Packages => "packages.outbox",
        Table::PackageSets => "package_sets.outbox",
    })
}

/// Where a key lies.
pub(super) fn place(key: &Key) -> (u8, &[u8]) {
    (key.shard(), &key.id)
}

/// Makes a new file ours and an old one current, and says when it began; `Err` inside names a
/// layout that is not known.
pub(super) fn prepare(
    transaction: &WriteTransaction,
    now: Generation,
) -> Result<Result<Generation, u64>, Fault> {
    let mut meta = transaction.open_table(META)?;
    let found = meta.get("layout")?.map(|layout| layout.value());
    match found {
        Some(LAYOUT) => {}
        Some(other) => return Ok(Err(other)),
        None => {
            meta.insert("layout", LAYOUT)?;
        }
    }
    let begun = meta.get("generation")?.map(|begun| begun.value());
    let generation = begun.map_or(now, Generation);
    meta.insert("generation", generation.0)?;
    let mut tables = Tables::open(transaction)?;
    tables.forget_old_presence()?;
    Ok(Ok(generation))
}

/// Every table, open for writing.
pub(super) struct Tables<'t> {
    versioned: BTreeMap<Table, Versioned<'t>>,
    blobs: Open<'t, &'static [u8; 32], &'static [u8]>,
    presence: Open<'t, Seen, &'static [u8]>,
}

/// A table of the port: its values and what of them is not settled.
struct Versioned<'t> {
    values: Open<'t, Place, &'static [u8]>,
    outbox: Open<'t, Place, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            let open = Versioned {
                values: transaction.open_table(values(table))?,
                outbox: transaction.open_table(outbox(table))?,
            };
            tables.insert(table, open);
        }
        Ok(Self {
            versioned: tables,
            blobs: transaction.open_table(BLOBS)?,
            presence: transaction.open_table(PRESENCE)?,
        })
    }

    pub(super) fn write(&mut self, write: &Write) -> Result<Outcome, Fault> {
        let Versioned { values, outbox } = self.of(write.key.table);
        let place = place(&write.key);
        let found = values.get(place)?;
        let version = found
            .and_then(|found| Some(layout::split(found.value())?.0))
            .unwrap_or(Version::ABSENT);
        if version != write.expected {
            return Ok(Outcome::Conflict);
        }
        let version = write.version;
        if write.value.is_empty() && write.events.is_empty() {
            values.remove(place)?;
        } else {
            values.insert(place, &layout::join(version, &write.value)[..])?;
        }
        if write.events.is_empty() {
            outbox.remove(place)?;
        } else {
            outbox.insert(place, &layout::join(version, &write.events)[..])?;
        }
        Ok(Outcome::Written(version))
    }

    pub(super) fn settle(&mut self, key: &Key, version: Version) -> Result<(), Fault> {
        let Versioned { values, outbox } = self.of(key.table);
        let place = place(key);
        let found = outbox.get(place)?;
        let found = found.and_then(|found| Some(layout::split(found.value())?.0));
        if found == Some(version) {
            outbox.remove(place)?;
            let deleted = values.get(place)?.is_some_and(|value| layout::is_deleted(value.value()));
            if deleted {
                values.remove(place)?;
            }
        }
        Ok(())
    }

    pub(super) fn put_blob(&mut self, hash: &ConfigHash, body: &[u8]) -> Result<(), Fault> {
        self.blobs.insert(&hash.0, body)?;
        Ok(())
    }

    pub(super) fn put_presence(&mut self, holder: &str, entry: &Presence) -> Result<(), Fault> {
        let key = (holder, entry.instance_uid.as_bytes());
        self.presence.insert(key, &layout::presence(entry)[..])?;
        Ok(())
    }

    pub(super) fn drop_presence(&mut self, told: &[(String, InstanceUid)]) -> Result<(), Fault> {
        for (holder, uid) in told {
            self.presence.remove((holder.as_str(), uid.as_bytes()))?;
        }
        Ok(())
    }

    /// Drops what is much older than the newest entry. Gateways take a new name at each start, so
    /// without it the file would grow with every restart.
    fn forget_old_presence(&mut self) -> Result<(), Fault> {
        let seen = |bytes: &[u8]| bytes.get(16..).and_then(layout::split).map_or(0, |(v, _)| v.0);
        let mut newest = 0;
        for entry in self.presence.iter()? {
            newest = newest.max(seen(entry?.1.value()));
        }
        let ttl = u64::try_from(PRESENCE_TTL.as_millis()).unwrap_or(u64::MAX);
        let oldest = newest.saturating_sub(ttl);
        self.presence.retain(|_, bytes| seen(bytes) >= oldest)?;
        Ok(())
    }

    fn of(&mut self, table: Table) -> &mut Versioned<'t> {
        self.versioned.get_mut(&table).expect("every table is opened")
    }
}

/// A body, read in a snapshot.
pub(super) fn blob(snapshot: &ReadTransaction, hash: &ConfigHash) -> Result<Option<Bytes>, Fault> {
    let found = snapshot.open_table(BLOBS)?.get(&hash.0)?;
    Ok(found.map(|body| Bytes::copy_from_slice(body.value())))
}
