//! Operators' intent in the ledger: configs and connection settings with their revisions, and the
//! assignments.

mod brake;
mod commands;
pub(crate) mod credentials;
pub(crate) mod enrollment;
pub(crate) mod labels;
pub(crate) mod packages;
pub(crate) mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::assign::{Assignment, Assignments};
use model::{Clock, Config, ConfigHash, Revision};
use opamp::v1::{AgentConfigFile, AgentConfigMap};
use prost::Message as _;
use store::quarantine::Quarantine;
use store::{Cursor, Key, Outcome, SHARDS, Store, Stored, Table, Version, Write, tables};
use trust::Vault;

use crate::actor::Actor;
use crate::error::within;
use crate::{Error, Limits};
pub(crate) use brake::Advance;
pub(crate) use commands::{Filed, Shelf};
pub(crate) use labels::Relabel;

/// Its name in errors.
const LEDGER: &str = "the ledger";

/// The ledger, as operators use it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) limits: Limits,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) vault: Option<Arc<Vault>>,
}

/// Which revision of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Latest,
    Number(u64),
}

/// A value with what is needed to write it back.
struct Held<T> {
    value: T,
    unknown: Bytes,
    version: Version,
}

impl Ledger {
    /// What seals secrets, or why there are none to be had.
    pub(crate) fn vault(&self) -> Result<&Vault, Error> {
        self.vault.as_deref().ok_or_else(|| {
            let reason = "secrets are not stored in the clear: give control and workers one key, \
                          with --secrets-key FILE";
            Error::Precondition(reason.to_owned())
        })
    }

    /// Adds a revision with these files, unless the newest one has the same.
    pub(crate) async fn apply_config(
        &self,
        name: &str,
        files: BTreeMap<String, AgentConfigFile>,
        actor: &Actor,
    ) -> Result<Revision, Error> {
        let hash = ConfigHash::of(&files);
        let keys: Vec<String> = files.keys().cloned().collect();
        let size_bytes = files.values().map(|file| file.body.len() as u64).sum();
        let body = AgentConfigMap { config_map: files }.encode_to_vec();
        let mut body = Some(Bytes::from(body));
        for _ in 0..self.limits.write_tries {
            let held = self.held_config(name).await?;
            if let Some(latest) = held.value.latest().filter(|latest| latest.hash == hash) {
                return Ok(latest.clone());
            }
            if held.value.revisions.len() >= self.limits.revisions_max {
                let reason =
                    format!("has {} revisions, which is the most", self.limits.revisions_max);
                return Err(Error::invalid("name", reason));
            }
            // The body first: a revision that names a body which is not there could be assigned.
            if let Some(body) = body.take() {
                let limit = self.body_timeout(body.len() as u64);
                within(limit, LEDGER, self.store.put_blob(&hash, body)).await?;
            }
            let revision = Revision {
                number: held.value.latest().map_or(1, |latest| latest.number + 1),
                hash,
                created: self.clock.now(),
                size_bytes,
                keys: keys.clone(),
                actor: actor.name(),
            };
            let mut config = held.value;
            config.revisions.push(revision.clone());
            let value = tables::configs::encode(&config, &held.unknown);
            if self.write(Key::config(name), held.version, value).await?.is_some() {
                return Ok(revision);
            }
        }
        Err(Error::Aborted(format!("configs/{name}")))
    }

    /// A config with its revisions.
    pub(crate) async fn config(&self, name: &str) -> Result<Config, Error> {
        let held = self.held_config(name).await?;
        match held.version {
            Version::ABSENT => Err(Error::NotFound(format!("configs/{name}"))),
            _ => Ok(held.value),
        }
    }

    /// Every config, by name.
    pub(crate) async fn configs(&self) -> Result<BTreeMap<String, Config>, Error> {
        let mut configs = BTreeMap::new();
        for (key, stored) in self.entries(Table::Configs).await? {
            match tables::configs::decode(&key, &stored.value) {
                Ok(read) => {
                    configs.insert(read.value.name.clone(), read.value);
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(configs)
    }

    /// One revision of a config.
    pub(crate) async fn revision(&self, name: &str, which: Which) -> Result<Revision, Error> {
        let config = self.config(name).await?;
        let (found, text) = match which {
            Which::Latest => (config.latest(), "latest".to_owned()),
            Which::Number(number) => (config.revision(number), number.to_string()),
        };
        found.cloned().ok_or_else(|| Error::NotFound(format!("configs/{name}/revisions/{text}")))
    }

    /// The files of a revision.
    pub(crate) async fn files(
        &self,
        revision: &Revision,
    ) -> Result<BTreeMap<String, AgentConfigFile>, Error> {
        let limit = self.body_timeout(revision.size_bytes);
        let body = within(limit, LEDGER, self.store.get_blob(&revision.hash)).await?;
        let body = body.ok_or_else(|| Error::Corrupt(format!("no body for {}", revision.hash)))?;
        let map = AgentConfigMap::decode(body)
            .map_err(|error| Error::Corrupt(format!("body of {}: {error}", revision.hash)))?;
        Ok(map.config_map)
    }

    /// The assignments and the number of the decision that made them.
    pub(crate) async fn assignments(&self) -> Result<(Assignments, u64), Error> {
        let held = self.held_assignments().await?;
        Ok((held.value, held.version.0))
    }

    /// The assignments as they are, and as they would be with another one created or replaced.
    /// Its brake is on; whoever counts the agents lets the first ones through.
    pub(crate) fn with_assignment(
        &self,
        before: &Assignments,
        assignment: Assignment,
    ) -> Result<Assignments, Error> {
        if let Some(other) = before.conflict(&assignment) {
            let reason = format!(
                "{} is also the priority of assignment {:?}, whose selector {:?} may select the \
                 same agents; give one of them another priority",
                assignment.priority,
                other.name,
                other.selector.as_str()
            );
            return Err(Error::invalid("assignment.priority", reason));
        }
        let mut after = before.clone();
        after.list.retain(|other| other.name != assignment.name);
        after.list.push(assignment);
        if after.list.len() > self.limits.assignments_max {
            let reason = format!("there are {} already", self.limits.assignments_max);
            return Err(Error::invalid("assignment", reason));
        }
        Ok(after)
    }

    /// Writes the assignments that `decide` makes of those that are there, and what else it found.
    /// Returns that with the decision's number.
    pub(crate) async fn decide<T>(
        &self,
        decide: impl Fn(&Assignments) -> Result<(Assignments, T), Error>,
    ) -> Result<(Assignments, u64, T), Error> {
        for _ in 0..self.limits.write_tries {
            let mut held = self.held_assignments().await?;
            let (after, found) = decide(&held.value)?;
            held.value = after.clone();
            if let Some(decision) = self.write_assignments(held).await? {
                return Ok((after, decision, found));
            }
        }
        Err(Error::Aborted("the list of assignments".to_owned()))
    }

    /// Removes an assignment. Returns the decision's number.
    pub(crate) async fn delete_assignment(&self, name: &str) -> Result<u64, Error> {
        for _ in 0..self.limits.write_tries {
            let mut held = self.held_assignments().await?;
            let before = held.value.list.len();
            held.value.list.retain(|assignment| assignment.name != name);
            if held.value.list.len() == before {
                return Err(Error::NotFound(format!("assignments/{name}")));
            }
            if let Some(decision) = self.write_assignments(held).await? {
                return Ok(decision);
            }
        }
        Err(Error::Aborted("the list of assignments".to_owned()))
    }

    async fn held_config(&self, name: &str) -> Result<Held<Config>, Error> {
        let key = Key::config(name);
        match self.read(&key).await? {
            None => {
                let value = Config { name: name.to_owned(), revisions: Vec::new() };
                Ok(Held { value, unknown: Bytes::new(), version: Version::ABSENT })
            }
            Some(stored) => {
                let loaded = tables::configs::decode(&key, &stored.value)?;
                let (value, unknown) = (loaded.value, loaded.unknown);
                Ok(Held { value, unknown, version: stored.version })
            }
        }
    }

    async fn held_assignments(&self) -> Result<Held<Assignments>, Error> {
        let key = Key::intent();
        match self.read(&key).await? {
            None => Ok(Held {
                value: Assignments::default(),
                unknown: Bytes::new(),
                version: Version::ABSENT,
            }),
            Some(stored) => {
                let loaded = tables::intent::decode(&key, &stored.value)?;
                let (value, unknown) = (loaded.value, loaded.unknown);
                Ok(Held { value, unknown, version: stored.version })
            }
        }
    }

    async fn write_assignments(&self, held: Held<Assignments>) -> Result<Option<u64>, Error> {
        let value = tables::intent::encode(&held.value, &held.unknown);
        let written = self.write(Key::intent(), held.version, value).await?;
        Ok(written.map(|version| version.0))
    }

    /// Every value of a table.
    async fn entries(&self, table: Table) -> Result<Vec<(Key, Stored)>, Error> {
        let mut all = Vec::new();
        for shard in 0..SHARDS {
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                let page = self.within(self.store.scan(table, shard, from)).await?;
                all.extend(page.entries);
                cursor = page.next;
            }
        }
        Ok(all)
    }

    async fn read(&self, key: &Key) -> Result<Option<Stored>, Error> {
        Ok(self.within(self.store.get(std::slice::from_ref(key))).await?.pop().flatten())
    }

    /// Writes one value; `None` if somebody else was first.
    async fn write(
        &self,
        key: Key,
        expected: Version,
        value: Bytes,
    ) -> Result<Option<Version>, Error> {
        let write = self.next(key, expected, value);
        let outcome = self.within(self.store.commit(vec![write])).await?.pop();
        Ok(match outcome {
            Some(Outcome::Written(version)) => Some(version),
            Some(Outcome::Conflict) | None => None,
        })
    }

    /// One value that cannot be read does not hide the others.
    async fn set_aside(&self, key: &Key, stored: &Stored, error: &store::Error) {
        self.quarantine.keep(&*self.store, key, stored, error, self.clock.now()).await;
    }

    /// The next write of a value. What was never there begins at the time of day: a ledger that was
    /// lost must not count up to numbers that agents have seen before.
    fn next(&self, key: Key, expected: Version, value: Bytes) -> Write {
        let version = match expected {
            Version::ABSENT => Version(self.clock.now().0.max(1)),
            known => known.next(),
        };
        Write { version, ..Write::next(key, expected, value) }
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, Error> {
        within(self.limits.store_timeout, LEDGER, call).await
    }

    fn body_timeout(&self, bytes: u64) -> Duration {
        let more = bytes.saturating_mul(1000) / self.limits.body_bytes_per_second;
        self.limits.store_timeout + Duration::from_millis(more)
    }
}
