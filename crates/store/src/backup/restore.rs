//! From a file into a ledger. The file is read three times: to see that it is whole, to write what
//! is in it, and to compare.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use bytes::Bytes;
use model::ConfigHash;
use model::assign::Hold;

use super::check::{Parts, check, key};
use super::frame::damaged;
use super::take::all;
use super::{BackupError, Summary, TABLES};
use crate::port::{Cursor, Key, Outcome, SHARDS, Store, Table, Version, Write};
use crate::tables;
use crate::v1::backup_part::{Body, Part, Value};

/// How a backup is put back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// Least version of every value. Above all that records carry, or agents would take what is
    /// decided from now on for older than what they have.
    pub at_least: Version,
    /// Puts offers on hold, unless they are.
    pub hold: Option<Hold>,
    /// Replaces what is in the ledger, all of it.
    pub replace: bool,
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was in the file.
    pub summary: Summary,
    /// The decision's number from now on; 0 if there is none.
    pub decision: u64,
}

/// Why a ledger is not empty, if it is not.
async fn is_empty(ledger: &dyn Store) -> Result<(), BackupError> {
    let mut found = Vec::new();
    for table in TABLES {
        let there = all(ledger, table).await?.len();
        if there > 0 {
            found.push(format!("{there} in {}", table.name()));
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(BackupError::NotEmpty(found.join(", "))),
    }
}

/// The newest decision that agents' records know of. Records that cannot be read know of none.
pub async fn newest_decision(records: &dyn Store) -> Result<u64, BackupError> {
    let mut newest = 0;
    for shard in 0..SHARDS {
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let page = records.scan(Table::Agents, shard, from).await?;
            for (key, stored) in page.entries {
                if let Ok(loaded) = tables::agents::decode(&key, &stored.value) {
                    let record = loaded.value;
                    let others = record.packages.decision.max(record.settings.decision);
                    newest = newest.max(record.offered.decision).max(others);
                }
            }
            cursor = page.next;
        }
    }
    Ok(newest)
}

/// Puts a backup back: nothing is written unless all of it is whole.
pub async fn restore(
    ledger: &dyn Store,
    mut file: impl Read + Seek,
    how: &Restore,
) -> Result<Restored, BackupError> {
    file.rewind()?;
    let summary = check(&mut file)?;
    if !how.replace {
        is_empty(ledger).await?;
    }
    let mut left_over = BTreeSet::new();
    for table in TABLES {
        left_over.extend(all(ledger, table).await?.into_keys());
    }
    file.rewind()?;
    let (mut parts, mut decision) = (Parts::new(&mut file)?, 0);
    while let Some((part, at)) = parts.next()? {
        match part {
            Part::Body(body) => ledger.put_blob(&hash(&body, at)?, body.body.into()).await?,
            Part::Value(value) => {
                let (key, value) = prepared(&value, at, how)?;
                if key.table == Table::Packages {
                    tell_again(ledger, &key, &value).await?;
                }
                left_over.remove(&key);
                let is_intent = key.table == Table::Intent;
                let version = put(ledger, key, value, how.at_least).await?;
                decision = if is_intent { version.0 } else { decision };
            }
            Part::Start(_) | Part::End(_) => {}
        }
    }
    for key in left_over {
        put(ledger, key, Bytes::new(), Version::ABSENT).await?;
    }
    compare(ledger, file, how).await?;
    Ok(Restored { summary, decision })
}

/// What agents are told of a version's files lies apart, and follows from it.
async fn tell_again(ledger: &dyn Store, key: &Key, value: &Bytes) -> Result<(), BackupError> {
    let version = tables::packages::decode(key, value)?.value;
    for (hash, body) in version.told() {
        ledger.put_blob(&ConfigHash(hash.0), body.into()).await?;
    }
    Ok(())
}

/// Compares a ledger with the backup that was put back.
async fn compare(
    ledger: &dyn Store,
    mut file: impl Read + Seek,
    how: &Restore,
) -> Result<(), BackupError> {
    let differs = |what: &dyn std::fmt::Display| {
        BackupError::Failed(format!("{what} is not in the ledger as it is in the backup"))
    };
    file.rewind()?;
    let mut parts = Parts::new(file)?;
    while let Some((part, at)) = parts.next()? {
        match part {
            Part::Body(body) => {
                let hash = hash(&body, at)?;
                let there = ledger.get_blob(&hash).await?;
                if there.is_none_or(|there| there != body.body[..]) {
                    return Err(differs(&hash));
                }
            }
            Part::Value(value) => {
                let (key, value) = prepared(&value, at, how)?;
                let there = ledger.get(std::slice::from_ref(&key)).await?.pop().flatten();
                if there.is_none_or(|there| there.value != value || there.version < how.at_least) {
                    return Err(differs(&key));
                }
            }
            Part::Start(_) | Part::End(_) => {}
        }
    }
    Ok(())
}

/// Writes a value over whatever is there; an empty one deletes.
async fn put(
    ledger: &dyn Store,
    key: Key,
    value: Bytes,
    at_least: Version,
) -> Result<Version, BackupError> {
    let there = ledger.get(std::slice::from_ref(&key)).await?.pop().flatten();
    let expected = there.map_or(Version::ABSENT, |there| there.version);
    let version = at_least.max(expected.next());
    let name = key.to_string();
    let write = Write { key, expected, version, value, events: Bytes::new() };
    match ledger.commit(vec![write]).await?.pop() {
        Some(Outcome::Written(version)) => Ok(version),
        Some(Outcome::Conflict) | None => Err(BackupError::Failed(format!(
            "{name} was written by somebody else meanwhile: stop control first"
        ))),
    }
}

/// A value as it is to be put back.
fn prepared(value: &Value, at: u64, how: &Restore) -> Result<(Key, Bytes), BackupError> {
    let (key, bytes) = (key(value, at)?, Bytes::copy_from_slice(&value.value));
    if key.table == Table::Commands {
        let bytes = not_sent_again(&key, &bytes)?;
        return Ok((key, bytes));
    }
    if key.table != Table::Intent || how.hold.is_none() {
        return Ok((key, bytes));
    }
    let mut loaded = tables::intent::decode(&key, &bytes)?;
    if loaded.value.hold.is_none() {
        loaded.value.hold.clone_from(&how.hold);
    }
    let bytes = tables::intent::encode(&loaded.value, &loaded.unknown);
    Ok((key, bytes))
}

/// Whoever took the backup may have gone on with the command: nothing of it is done on the word of
/// a file.
fn not_sent_again(key: &Key, bytes: &Bytes) -> Result<Bytes, BackupError> {
    let mut loaded = tables::commands::decode(key, bytes)?;
    for target in &mut loaded.value.targets {
        target.restored(target.changed);
    }
    Ok(tables::commands::encode(&loaded.value, &loaded.unknown))
}

fn hash(body: &Body, at: u64) -> Result<ConfigHash, BackupError> {
    ConfigHash::from_slice(&body.hash).ok_or_else(|| damaged(at, "a hash is 32 bytes"))
}
