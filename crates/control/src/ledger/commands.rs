//! Commands in the ledger: a command is one value, or several parts of which the first is written
//! last and deleted first.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use model::Timestamp;
use model::command::{CommandId, Order, Target};
use store::tables::commands::{PART_TARGETS_MAX, Part, decode, encode, key};
use store::{Cursor, Key, Outcome, SHARDS, Stored, Table, Version, Write};

use super::Ledger;
use crate::Error;

/// A command with what is needed to write its parts back.
#[derive(Debug, Clone)]
pub(crate) struct Filed {
    pub(crate) order: Order,
    pub(crate) parts: Vec<Leaf>,
}

/// A part of a command.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) version: Version,
    unknown: Bytes,
    pub(crate) targets: Vec<Target>,
}

/// All commands there are.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) commands: Vec<Filed>,
    /// Parts of commands that have no first part: since when.
    pub(crate) orphans: Vec<(Key, Version, Timestamp)>,
}

impl Filed {
    /// One that is not in the ledger yet.
    pub(crate) fn new(order: Order, targets: &[Target]) -> Self {
        let leaf = |targets: &[Target]| Leaf {
            version: Version::ABSENT,
            unknown: Bytes::new(),
            targets: targets.to_vec(),
        };
        Self { order, parts: targets.chunks(PART_TARGETS_MAX).map(leaf).collect() }
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.parts.iter().flat_map(|leaf| &leaf.targets)
    }

    /// Whether nothing more is waited for.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        self.targets().all(|target| target.is_settled(&self.order, now))
    }

    /// When something last changed.
    pub(crate) fn changed(&self) -> Timestamp {
        self.targets().map(|target| target.changed).max().unwrap_or(self.order.created)
    }

    /// The key of a part.
    pub(crate) fn key(&self, part: usize) -> Key {
        key(&self.order.id, number(part))
    }

    /// The bytes of a part as it is now.
    pub(crate) fn value(&self, part: usize) -> Bytes {
        let (leaf, order) = (&self.parts[part], &self.order);
        let value = Part {
            id: order.id,
            number: number(part),
            created: order.created,
            order: (part == 0).then(|| order.clone()),
            targets: leaf.targets.clone(),
        };
        encode(&value, &leaf.unknown)
    }
}

fn number(part: usize) -> u16 {
    u16::try_from(part).expect("a command has few parts")
}

impl Ledger {
    /// What to write so that a part becomes what it is now.
    pub(crate) fn command_write(&self, filed: &Filed, part: usize) -> Write {
        self.next(filed.key(part), filed.parts[part].version, filed.value(part))
    }

    /// Writes parts of commands; says which were written.
    pub(crate) async fn write_commands(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        self.within(self.store.commit(writes)).await
    }

    /// What is stored under these keys.
    pub(crate) async fn stored(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        self.within(self.store.get(keys)).await
    }

    /// One command.
    pub(crate) async fn command(&self, id: &CommandId) -> Result<Option<Filed>, Error> {
        let first = key(id, 0);
        let stored = self.read(&first).await?.filter(|stored| !stored.value.is_empty());
        let Some(stored) = stored else { return Ok(None) };
        let (order, leaf) = leaf(&first, &stored)?;
        let order = order.ok_or_else(|| missing(id, "its order"))?;
        let count = (order.targets as usize).div_ceil(PART_TARGETS_MAX);
        let mut filed = Filed { order, parts: vec![leaf] };
        let keys: Vec<Key> = (1..count).map(|part| key(id, number(part))).collect();
        if keys.is_empty() {
            return Ok(Some(filed));
        }
        for (key, stored) in keys.iter().zip(self.stored(&keys).await?) {
            let stored = stored.ok_or_else(|| missing(id, "one of its parts"))?;
            filed.parts.push(self::leaf(key, &stored)?.1);
        }
        Ok(Some(filed))
    }

    /// Changes a command until nobody else changed it meanwhile. `change` says which parts it
    /// changed; without any, nothing is written.
    pub(crate) async fn change_command(
        &self,
        id: &CommandId,
        mut change: impl FnMut(&mut Filed) -> Vec<usize>,
    ) -> Result<Filed, Error> {
        for _ in 0..self.limits.write_tries {
            let filed = self.command(id).await?;
            let mut filed = filed.ok_or_else(|| Error::NotFound(format!("commands/{id}")))?;
            let changed = change(&mut filed);
            let writes = changed.iter().map(|part| self.command_write(&filed, *part)).collect();
            let outcomes = self.write_commands(writes).await?;
            let mut all = true;
            for (part, outcome) in changed.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Written(version) => filed.parts[part].version = version,
                    Outcome::Conflict => all = false,
                }
            }
            if all {
                return Ok(filed);
            }
        }
        Err(Error::Aborted(format!("commands/{id}")))
    }

    /// Every command there is. What cannot be read hides nothing but itself.
    pub(crate) async fn commands(&self) -> Result<Shelf, Error> {
        let shards: Vec<Vec<(Key, Stored)>> = stream::iter(0..SHARDS)
            .map(|shard| self.command_shard(shard))
            .buffered(self.limits.scans_max)
            .try_collect()
            .await?;
        let mut parts: BTreeMap<Key, (Option<Order>, Leaf, Timestamp)> = BTreeMap::new();
        for (key, stored) in shards.into_iter().flatten() {
            match decode(&key, &stored.value) {
                Ok(read) => {
                    let (order, created) = (read.value.order, read.value.created);
                    let targets = read.value.targets;
                    let leaf = Leaf { version: stored.version, unknown: read.unknown, targets };
                    parts.insert(key, (order, leaf, created));
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(sorted(parts))
    }

    async fn command_shard(&self, shard: u8) -> Result<Vec<(Key, Stored)>, Error> {
        let (mut found, mut cursor) = (Vec::new(), Some(Cursor::default()));
        while let Some(from) = cursor {
            let page = self.within(self.store.scan(Table::Commands, shard, from)).await?;
            found.extend(page.entries);
            cursor = page.next;
        }
        Ok(found)
    }

    /// Forgets values, each only if it still is as it was.
    pub(crate) async fn drop_parts(&self, parts: &[(Key, Version)]) -> Result<(), Error> {
        let gone =
            |(key, version): &(Key, Version)| Write::next(key.clone(), *version, Bytes::new());
        for batch in parts.chunks(self.limits.reassess_max) {
            self.write_commands(batch.iter().map(gone).collect()).await?;
        }
        Ok(())
    }
}

/// Parts put together: the keys of a command's parts follow each other.
fn sorted(parts: BTreeMap<Key, (Option<Order>, Leaf, Timestamp)>) -> Shelf {
    let mut shelf = Shelf::default();
    for (at, (order, leaf, created)) in parts {
        let last = shelf.commands.last_mut();
        match (order, last) {
            (Some(order), _) => shelf.commands.push(Filed { order, parts: vec![leaf] }),
            (None, Some(last)) if last.key(last.parts.len()) == at && lacks_parts(last) => {
                last.parts.push(leaf);
            }
            (None, _) => shelf.orphans.push((at, leaf.version, created)),
        }
    }
    shelf.commands.retain(|filed| !lacks_parts(filed));
    shelf
}

fn lacks_parts(filed: &Filed) -> bool {
    filed.parts.len() < (filed.order.targets as usize).div_ceil(PART_TARGETS_MAX)
}

fn leaf(key: &Key, stored: &Stored) -> Result<(Option<Order>, Leaf), Error> {
    let read = decode(key, &stored.value)?;
    let (version, unknown) = (stored.version, read.unknown);
    Ok((read.value.order, Leaf { version, unknown, targets: read.value.targets }))
}

fn missing(id: &CommandId, what: &str) -> Error {
    Error::Corrupt(format!("commands/{id}: {what} is missing"))
}
