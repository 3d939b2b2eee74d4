//! The catalogue of packages: versions that never change, and sets of them in revisions.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::ConfigHash;
use model::assign::{Assignment, Content};
use model::catalogue::{PackageSet, PackageVersion, SetRevision};
use model::packages::PackageSetRef;
use store::tables::packages::{decode, decode_set, encode, encode_set, key, set_key};
use store::{Table, Version};

use super::{Held, Ledger, Which};
use crate::Error;
use crate::actor::Actor;

impl Ledger {
    /// Adds a version, unless it is there and says the same.
    pub(crate) async fn create_package_version(
        &self,
        version: PackageVersion,
    ) -> Result<PackageVersion, Error> {
        let place = key(&version.package, &version.version);
        // What agents are told first: a version without that could be assigned.
        for (hash, told) in version.told() {
            self.within(self.store.put_blob(&ConfigHash(hash.0), told.into())).await?;
        }
        let value = encode(&version, &Bytes::new());
        if self.write(place, Version::ABSENT, value).await?.is_some() {
            return Ok(version);
        }
        let there = self.package_version(&version.package, &version.version).await?;
        match there.is_same(&version) {
            true => Ok(there),
            false => {
                let full = full(&version.package, &version.version);
                let reason = "is there with other content and never changes: take a new version";
                Err(Error::Precondition(format!("{full} {reason}")))
            }
        }
    }

    /// A version.
    pub(crate) async fn package_version(
        &self,
        package: &str,
        version: &str,
    ) -> Result<PackageVersion, Error> {
        let place = key(package, version);
        let stored = self.read(&place).await?;
        let stored = stored.ok_or_else(|| Error::NotFound(full(package, version)))?;
        Ok(decode(&place, &stored.value)?.value)
    }

    /// Every version, by package and version, as `collector@0.141.0`.
    pub(crate) async fn package_versions(&self) -> Result<BTreeMap<String, PackageVersion>, Error> {
        let mut all = BTreeMap::new();
        for (key, stored) in self.entries(Table::Packages).await? {
            match decode(&key, &stored.value) {
                Ok(read) => {
                    let PackageVersion { package, version, .. } = &read.value;
                    all.insert(format!("{package}@{version}"), read.value);
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(all)
    }

    /// Deletes a version that no set names.
    pub(crate) async fn delete_package_version(
        &self,
        package: &str,
        version: &str,
    ) -> Result<(), Error> {
        let place = key(package, version);
        let stored = self.read(&place).await?;
        let stored = stored.ok_or_else(|| Error::NotFound(full(package, version)))?;
        let named = (package.to_owned(), version.to_owned());
        let names = |set: &&PackageSet| {
            set.revisions.iter().any(|revision| revision.packages.contains(&named))
        };
        if let Some(set) = self.package_sets().await?.values().find(names) {
            let reason = format!("packageSets/{} names it: delete that first", set.name);
            return Err(Error::Precondition(format!("{}: {reason}", full(package, version))));
        }
        match self.write(place, stored.version, Bytes::new()).await? {
            Some(_) => Ok(()),
            None => Err(Error::Aborted(full(package, version))),
        }
    }

    /// Adds a revision of a set with these packages, unless the newest one has the same.
    pub(crate) async fn apply_package_set(
        &self,
        name: &str,
        packages: Vec<(String, String)>,
        actor: &Actor,
    ) -> Result<SetRevision, Error> {
        for (package, version) in &packages {
            self.package_version(package, version).await?;
        }
        for _ in 0..self.limits.write_tries {
            let held = self.held_package_set(name).await?;
            let mut set = held.value;
            if let Some(latest) = set.latest().filter(|latest| latest.packages == packages) {
                return Ok(latest.clone());
            }
            if set.revisions.len() >= self.limits.revisions_max {
                let most = self.limits.revisions_max;
                let reason = format!("has {most} revisions, which is the most");
                return Err(Error::invalid("name", reason));
            }
            let revision = SetRevision {
                number: set.latest().map_or(1, |latest| latest.number + 1),
                packages: packages.clone(),
                created: self.clock.now(),
                actor: actor.name(),
            };
            set.revisions.push(revision.clone());
            let value = encode_set(&set, &held.unknown);
            if self.write(set_key(name), held.version, value).await?.is_some() {
                return Ok(revision);
            }
        }
        Err(Error::Aborted(set_name(name)))
    }

    /// A set with its revisions.
    pub(crate) async fn package_set(&self, name: &str) -> Result<PackageSet, Error> {
        let held = self.held_package_set(name).await?;
        match held.version {
            Version::ABSENT => Err(Error::NotFound(set_name(name))),
            _ => Ok(held.value),
        }
    }

    /// Every set, by name.
    pub(crate) async fn package_sets(&self) -> Result<BTreeMap<String, PackageSet>, Error> {
        let mut all = BTreeMap::new();
        for (key, stored) in self.entries(Table::PackageSets).await? {
            match decode_set(&key, &stored.value) {
                Ok(read) => {
                    all.insert(read.value.name.clone(), read.value);
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(all)
    }

    /// One revision of a set, with what its packages come to.
    pub(crate) async fn pinned_package_set(
        &self,
        name: &str,
        which: Which,
    ) -> Result<PackageSetRef, Error> {
        let set = self.package_set(name).await?;
        let (found, text) = match which {
            Which::Latest => (set.latest(), "latest".to_owned()),
            Which::Number(number) => (set.revision(number), number.to_string()),
        };
        let missing = || Error::NotFound(format!("{}/revisions/{text}", set_name(name)));
        let found = found.ok_or_else(missing)?;
        let mut versions = Vec::with_capacity(found.packages.len());
        for (package, version) in &found.packages {
            versions.push(self.package_version(package, version).await?);
        }
        Ok(set.pin(found.number, &versions))
    }

    /// Deletes a set that no assignment names.
    pub(crate) async fn delete_package_set(&self, name: &str) -> Result<(), Error> {
        let held = self.held_package_set(name).await?;
        if held.version == Version::ABSENT {
            return Err(Error::NotFound(set_name(name)));
        }
        let (assignments, _) = self.assignments().await?;
        let names =
            |it: &&Assignment| matches!(&it.content, Content::Packages(set) if set.set == name);
        if let Some(found) = assignments.list.iter().find(names) {
            let reason =
                format!("assignments/{} names {}: remove it first", found.name, set_name(name));
            return Err(Error::Precondition(reason));
        }
        match self.write(set_key(name), held.version, Bytes::new()).await? {
            Some(_) => Ok(()),
            None => Err(Error::Aborted(set_name(name))),
        }
    }

    async fn held_package_set(&self, name: &str) -> Result<Held<PackageSet>, Error> {
        let key = set_key(name);
        match self.read(&key).await? {
            None => {
                let value = PackageSet { name: name.to_owned(), revisions: Vec::new() };
                Ok(Held { value, unknown: Bytes::new(), version: Version::ABSENT })
            }
            Some(stored) => {
                let loaded = decode_set(&key, &stored.value)?;
                let (value, unknown) = (loaded.value, loaded.unknown);
                Ok(Held { value, unknown, version: stored.version })
            }
        }
    }
}

/// The resource name of a version.
pub(crate) fn full(package: &str, version: &str) -> String {
    format!("packages/{package}/versions/{version}")
}

fn set_name(name: &str) -> String {
    format!("packageSets/{name}")
}
