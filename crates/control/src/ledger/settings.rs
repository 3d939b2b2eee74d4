//! Connection settings: their revisions in the clear but for what is secret, their content sealed.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::Random;
use model::assign::{Assignment, Content};
use model::connection::{Certificate, HASH_PURPOSE, Kept, KeptRevision, SEAL_PURPOSE, Settings};
use model::settings::{Class, SettingsHash, SettingsRef};
use store::tables::settings::{self as table, Sealed};
use store::{Table, Version};

use super::{Held, Ledger, Which};
use crate::Error;
use crate::actor::Actor;

/// Settings that were checked.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) class: Class,
    pub(crate) settings: Settings,
    pub(crate) certificate: Option<Certificate>,
}

impl Ledger {
    /// Adds a revision with these settings, unless the newest one has the same.
    pub(crate) async fn apply_settings(
        &self,
        name: &str,
        checked: &Checked,
        actor: &Actor,
        random: &dyn Random,
    ) -> Result<(Class, KeptRevision), Error> {
        let vault = self.vault()?;
        let canonical = checked.settings.canonical(&checked.class);
        let hash = SettingsHash(vault.mac(HASH_PURPOSE, &canonical));
        let plain = checked.settings.encode();
        let sealed = vault.seal(SEAL_PURPOSE, &plain, |nonce| random.fill(nonce));
        for _ in 0..self.limits.write_tries {
            let held = self.held_settings(name, &checked.class).await?;
            let mut kept = held.value;
            if kept.class != checked.class {
                let reason = format!("{name} is of class {}, which never changes", kept.class);
                return Err(Error::invalid("class", reason));
            }
            if let Some(latest) = kept.latest().filter(|latest| latest.hash == hash) {
                return Ok((kept.class.clone(), latest.clone()));
            }
            if kept.revisions.len() >= self.limits.revisions_max {
                let most = self.limits.revisions_max;
                let reason = format!("has {most} revisions, which is the most");
                return Err(Error::invalid("name", reason));
            }
            // The content first: a revision without one could be assigned.
            self.put_sealed(name, Sealed { hash, sealed: sealed.clone().into() }).await?;
            let revision = KeptRevision {
                number: kept.latest().map_or(1, |latest| latest.number + 1),
                hash,
                created: self.clock.now(),
                actor: actor.name(),
                shown: checked.settings.clone().shown().encode(),
                certificate: checked.certificate.clone(),
            };
            kept.revisions.push(revision.clone());
            let value = table::encode(&kept, &held.unknown);
            if self.write(table::key(name), held.version, value).await?.is_some() {
                return Ok((kept.class, revision));
            }
        }
        Err(Error::Aborted(full(name)))
    }

    /// Settings with their revisions.
    pub(crate) async fn kept_settings(&self, name: &str) -> Result<Kept, Error> {
        let held = self.held_settings(name, &Class::OpAmp).await?;
        match held.version {
            Version::ABSENT => Err(Error::NotFound(full(name))),
            _ => Ok(held.value),
        }
    }

    /// One revision of connection settings.
    pub(crate) async fn settings(&self, name: &str, which: Which) -> Result<SettingsRef, Error> {
        let kept = self.kept_settings(name).await?;
        let (found, text) = match which {
            Which::Latest => (kept.latest(), "latest".to_owned()),
            Which::Number(number) => (kept.revision(number), number.to_string()),
        };
        let missing = || Error::NotFound(format!("{}/revisions/{text}", full(name)));
        Ok(kept.pin(found.ok_or_else(missing)?))
    }

    /// All settings, by name.
    pub(crate) async fn all_settings(&self) -> Result<BTreeMap<String, Kept>, Error> {
        let mut all = BTreeMap::new();
        for (key, stored) in self.entries(Table::Settings).await? {
            if table::is_sealed(&key) {
                continue;
            }
            match table::decode(&key, &stored.value) {
                Ok(read) => {
                    all.insert(read.value.name.clone(), read.value);
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(all)
    }

    /// Deletes settings that no assignment names, and their content with them.
    pub(crate) async fn delete_settings(&self, name: &str) -> Result<(), Error> {
        let held = self.held_settings(name, &Class::OpAmp).await?;
        if held.version == Version::ABSENT {
            return Err(Error::NotFound(full(name)));
        }
        let (assignments, _) = self.assignments().await?;
        if let Some(found) = assignments.list.iter().find(|it| names(it, name)) {
            let reason =
                format!("assignments/{} names {}: remove it first", found.name, full(name));
            return Err(Error::Precondition(reason));
        }
        if self.write(table::key(name), held.version, Bytes::new()).await?.is_none() {
            return Err(Error::Aborted(full(name)));
        }
        for revision in &held.value.revisions {
            let key = table::sealed_key(name, &revision.hash);
            if let Some(stored) = self.read(&key).await? {
                self.write(key, stored.version, Bytes::new()).await?;
            }
        }
        Ok(())
    }

    /// Seals with the key in use what an older key sealed; returns how many there were. What does
    /// not open stays as it is and is named.
    pub(crate) async fn reseal_settings(&self, random: &dyn Random) -> Result<usize, Error> {
        let (vault, mut done) = (self.vault()?, 0);
        for (key, stored) in self.entries(Table::Settings).await? {
            if !table::is_sealed(&key) {
                continue;
            }
            let Ok(read) = table::decode_sealed(&key, &stored.value) else { continue };
            if vault.is_current(&read.value.sealed) {
                continue;
            }
            let plain = match vault.open(SEAL_PURPOSE, &read.value.sealed) {
                Ok(plain) => plain,
                Err(error) => {
                    tracing::error!(%key, %error, "connection settings that cannot be offered");
                    continue;
                }
            };
            let sealed = vault.seal(SEAL_PURPOSE, plain.reveal(), |nonce| random.fill(nonce));
            let value = Sealed { sealed: sealed.into(), ..read.value };
            let value = table::encode_sealed(&value, &read.unknown);
            done += usize::from(self.write(key, stored.version, value).await?.is_some());
        }
        Ok(done)
    }

    async fn put_sealed(&self, name: &str, sealed: Sealed) -> Result<(), Error> {
        let key = table::sealed_key(name, &sealed.hash);
        let there = self.read(&key).await?;
        let expected = there.map_or(Version::ABSENT, |stored| stored.version);
        // If somebody else was first, it is the same content.
        self.write(key, expected, table::encode_sealed(&sealed, &Bytes::new())).await.map(drop)
    }

    async fn held_settings(&self, name: &str, class: &Class) -> Result<Held<Kept>, Error> {
        let key = table::key(name);
        let Some(stored) = self.read(&key).await? else {
            let (name, class, revisions) = (name.to_owned(), class.clone(), Vec::new());
            let value = Kept { name, class, revisions };
            return Ok(Held { value, unknown: Bytes::new(), version: Version::ABSENT });
        };
        let loaded = table::decode(&key, &stored.value)?;
        Ok(Held { value: loaded.value, unknown: loaded.unknown, version: stored.version })
    }
}

fn full(name: &str) -> String {
    format!("connectionSettings/{name}")
}

fn names(assignment: &Assignment, name: &str) -> bool {
    matches!(&assignment.content, Content::Settings(settings) if settings.settings == name)
}
