//! Whether a backup is whole: every value can be read, and everything that is named is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use bytes::Bytes;
use model::assign::{Assignments, Content};
use model::settings::SettingsHash;
use model::{ConfigHash, Timestamp};
use opamp::v1::AgentConfigMap;
use prost::Message as _;

use super::frame::{Reader, damaged};
use super::{BackupError, FORMAT, Summary, TABLES};
use crate::port::{Key, Table};
use crate::tables;
use crate::v1::backup_part::{Body, Part, Value};

/// Reads a backup from end to end and says what is in it.
pub fn check(input: impl Read) -> Result<Summary, BackupError> {
    let (mut contents, mut parts) = (Contents::default(), Parts::new(input)?);
    while let Some((part, at)) = parts.next()? {
        contents.add(&part, at)?;
    }
    contents.finish(parts.size())
}

/// The parts of a file, from the start to the checksum.
pub(super) struct Parts<R> {
    reader: Reader<R>,
    ended: bool,
}

impl<R: Read> Parts<R> {
    pub(super) fn new(input: R) -> Result<Self, BackupError> {
        Ok(Self { reader: Reader::new(input)?, ended: false })
    }

    /// The next one and where it lies; none once the checksum was compared.
    pub(super) fn next(&mut self) -> Result<Option<(Part, u64)>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        let (at, before) = (self.reader.at, self.reader.parts);
        let part = self.reader.part()?;
        match (&part, before) {
            (Part::Start(start), 0) if start.format > FORMAT => {
                return Err(BackupError::Newer(start.format));
            }
            (Part::Start(_), 0) => {}
            (Part::Start(_), _) | (_, 0) => return Err(damaged(at, "it does not start here")),
            (Part::End(end), _) if end.parts != before => {
                let reason = format!("{} parts were written, {before} are there", end.parts);
                return Err(damaged(at, &reason));
            }
            (Part::End(_), _) => {
                self.reader.finish()?;
                self.ended = true;
            }
            _ => {}
        }
        Ok(Some((part, at)))
    }

    /// Bytes read.
    pub(super) fn size(&self) -> u64 {
        self.reader.at
    }
}

/// The key of a value.
pub(super) fn key(value: &Value, at: u64) -> Result<Key, BackupError> {
    let table = TABLES.into_iter().find(|table| table.name() == value.table);
    let table = table.ok_or_else(|| damaged(at, &format!("table {:?} is unknown", value.table)))?;
    Ok(Key { table, id: Bytes::copy_from_slice(&value.id) })
}

/// What came so far.
#[derive(Default)]
pub(super) struct Contents {
    summary: Summary,
    bodies: BTreeSet<ConfigHash>,
    /// Hash of each revision, by config and number.
    revisions: BTreeMap<(String, u64), ConfigHash>,
    assignments: Assignments,
    settings: Settings,
    /// Packages and versions.
    packages: BTreeSet<(String, String)>,
    /// Sets by name, with their revisions' numbers.
    sets: BTreeSet<(String, u64)>,
}

/// Connection settings that came so far.
#[derive(Default)]
struct Settings {
    /// Hash of each revision, by name and number.
    revisions: BTreeMap<(String, u64), SettingsHash>,
    /// Keys of sealed content that has to be there, and of that which is.
    named: BTreeSet<Key>,
    sealed: BTreeSet<Key>,
}

impl Contents {
    pub(super) fn add(&mut self, part: &Part, at: u64) -> Result<(), BackupError> {
        match part {
            Part::Start(start) => {
                self.summary.created = Timestamp(start.created_unix_ms);
                self.summary.version.clone_from(&start.version);
                self.summary.fleet.clone_from(&start.fleet);
                Ok(())
            }
            Part::Body(body) => self.body(body, at),
            Part::Value(value) => self.value(value, at),
            Part::End(_) => Ok(()),
        }
    }

    fn body(&mut self, part: &Body, at: u64) -> Result<(), BackupError> {
        let map = AgentConfigMap::decode(&part.body[..]).map_err(|error| damaged(at, &error))?;
        let hash = ConfigHash::of(&map.config_map);
        if hash.0 != part.hash[..] {
            return Err(damaged(at, &format!("a body is of {hash}, not of the hash it is under")));
        }
        self.bodies.insert(hash);
        Ok(())
    }

    fn value(&mut self, value: &Value, at: u64) -> Result<(), BackupError> {
        let (key, bytes) = (key(value, at)?, Bytes::copy_from_slice(&value.value));
        let unreadable = |error: crate::Error| damaged(at, &error);
        match key.table {
            Table::Configs => {
                let config = tables::configs::decode(&key, &bytes).map_err(unreadable)?.value;
                self.summary.configs += 1;
                for revision in config.revisions {
                    if !self.bodies.contains(&revision.hash) {
                        let (name, number) = (&config.name, revision.number);
                        return Err(damaged(
                            at,
                            &format!("the body of {name}@{number} is missing"),
                        ));
                    }
                    let place = (config.name.clone(), revision.number);
                    self.revisions.insert(place, revision.hash);
                }
            }
            Table::Settings => self.settings(&key, &bytes).map_err(unreadable)?,
            Table::Packages => {
                let version = tables::packages::decode(&key, &bytes).map_err(unreadable)?.value;
                self.packages.insert((version.package, version.version));
            }
            Table::PackageSets => {
                let set = tables::packages::decode_set(&key, &bytes).map_err(unreadable)?.value;
                for revision in set.revisions {
                    let named = revision.packages.iter();
                    if let Some((package, version)) =
                        named.clone().find(|named| !self.packages.contains(*named))
                    {
                        let reason = format!("{}: {package} {version} is missing", set.name);
                        return Err(damaged(at, &reason));
                    }
                    self.sets.insert((set.name.clone(), revision.number));
                }
            }
            Table::Labels => {
                tables::labels::decode(&key, &bytes).map_err(unreadable)?;
                self.summary.labelled += 1;
            }
            Table::Commands => {
                let part = tables::commands::decode(&key, &bytes).map_err(unreadable)?.value;
                self.summary.commands += u64::from(part.order.is_some());
            }
            Table::Intent => {
                self.assignments = tables::intent::decode(&key, &bytes).map_err(unreadable)?.value;
                self.summary.decision = value.version;
            }
            // A backup must not bring back what was revoked since.
            Table::EnrollmentTokens
            | Table::Credentials
            | Table::Revocations
            | Table::Authority
            | Table::Agents
            | Table::Leases
            | Table::Quarantine
            | Table::Components => {
                return Err(damaged(at, "a table that is not part of a backup"));
            }
        }
        Ok(())
    }

    /// Sealed content is a vault's to open: that it is there under its name is all that is checked.
    fn settings(&mut self, key: &Key, bytes: &Bytes) -> Result<(), crate::Error> {
        if tables::settings::is_sealed(key) {
            tables::settings::decode_sealed(key, bytes)?;
            self.settings.sealed.insert(key.clone());
            return Ok(());
        }
        let kept = tables::settings::decode(key, bytes)?.value;
        self.summary.settings += 1;
        for revision in kept.revisions {
            self.settings.named.insert(tables::settings::sealed_key(&kept.name, &revision.hash));
            let place = (kept.name.clone(), revision.number);
            self.settings.revisions.insert(place, revision.hash);
        }
        Ok(())
    }

    /// What is in it, once all of it was seen.
    pub(super) fn finish(mut self, bytes: u64) -> Result<Summary, BackupError> {
        if let Some(missing) = self.settings.named.difference(&self.settings.sealed).next() {
            return Err(damaged(bytes, &format!("{missing} is missing")));
        }
        for assignment in &self.assignments.list {
            let (place, there) = match &assignment.content {
                Content::Config(it) => {
                    let place = (it.config.clone(), it.revision);
                    let there = self.revisions.get(&place) == Some(&it.hash);
                    (place, there)
                }
                Content::Settings(it) => {
                    let place = (it.settings.clone(), it.revision);
                    let there = self.settings.revisions.get(&place) == Some(&it.hash);
                    (place, there)
                }
                Content::Packages(it) => {
                    let place = (it.set.clone(), it.revision);
                    let there = self.sets.contains(&place);
                    (place, there)
                }
            };
            if !there {
                let (name, (what, number)) = (&assignment.name, place);
                let reason = format!("{name} assigns {what}@{number}, which is missing");
                return Err(damaged(bytes, &reason));
            }
        }
        self.summary.packages = self.packages.len() as u64;
        self.summary.revisions = self.revisions.len() as u64;
        self.summary.assignments = self.assignments.list.len() as u64;
        self.summary.held = self.assignments.hold.is_some();
        self.summary.bytes = bytes;
        Ok(self.summary)
    }
}
