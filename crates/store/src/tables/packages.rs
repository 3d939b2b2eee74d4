//! Table `packages`: package and version → what agents are told of it. Table `package_sets`: name →
//! a set with its revisions.

use bytes::Bytes;
use model::Timestamp;
use model::catalogue::{PackageFile, PackageKind, PackageSet, PackageVersion, SetRevision};
use model::selector::Selector;

use super::tracks::digest;
use super::{Loaded, corrupt, read, write};
use crate::port::Table;
use crate::{Error, Key, v1};

/// Newest format understood, of both.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.PackageVersion`.
const FIELDS: u32 = 7;
/// Highest field number of `muster.state.v1.PackageSet`.
const SET_FIELDS: u32 = 3;

/// The key of a version. No name has the mark between the two, and no version.
pub fn key(package: &str, version: &str) -> Key {
    Key { table: Table::Packages, id: format!("{package}@{version}").into() }
}

/// The key of a set.
pub fn set_key(name: &str) -> Key {
    Key { table: Table::PackageSets, id: Bytes::copy_from_slice(name.as_bytes()) }
}

/// The bytes of a version.
pub fn encode(version: &PackageVersion, unknown: &Bytes) -> Bytes {
    let file = |file: &PackageFile| v1::package_version::File {
        selector: file.selector.as_str().to_owned(),
        download_url: file.url.clone(),
        content_hash: file.sha256.to_vec(),
        signature: file.signature.clone(),
    };
    let message = v1::PackageVersion {
        format: FORMAT,
        package: version.package.clone(),
        version: version.version.clone(),
        addon: version.kind == PackageKind::Addon,
        files: version.files.iter().map(file).collect(),
        created_unix_ms: version.created.0,
        actor: version.actor.clone(),
    };
    write(&message, unknown)
}

/// The version in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<PackageVersion>, Error> {
    let format = |message: &v1::PackageVersion| message.format;
    let (message, unknown) = read(key, bytes, FIELDS, format, FORMAT)?;
    let files: Result<Vec<PackageFile>, String> = message.files.into_iter().map(file).collect();
    let value = PackageVersion {
        files: files.map_err(|reason| corrupt(key, &reason))?,
        package: message.package,
        version: message.version,
        kind: if message.addon { PackageKind::Addon } else { PackageKind::TopLevel },
        created: Timestamp(message.created_unix_ms),
        actor: message.actor,
    };
    match *key == self::key(&value.package, &value.version) {
        true => Ok(Loaded { value, unknown }),
        false => Err(corrupt(key, &"it is another version")),
    }
}

fn file(message: v1::package_version::File) -> Result<PackageFile, String> {
    Ok(PackageFile {
        selector: Selector::parse(&message.selector).map_err(|error| error.to_string())?,
        url: message.download_url,
        sha256: digest(&message.content_hash)?,
        signature: message.signature,
    })
}

/// The bytes of a set.
pub fn encode_set(set: &PackageSet, unknown: &Bytes) -> Bytes {
    let package = |(package, version): &(String, String)| v1::package_set::Package {
        package: package.clone(),
        version: version.clone(),
    };
    let revision = |revision: &SetRevision| v1::package_set::Revision {
        number: revision.number,
        packages: revision.packages.iter().map(package).collect(),
        created_unix_ms: revision.created.0,
        actor: revision.actor.clone(),
    };
    let message = v1::PackageSet {
        format: FORMAT,
        name: set.name.clone(),
        revisions: set.revisions.iter().map(revision).collect(),
    };
    write(&message, unknown)
}

/// The set in these bytes.
pub fn decode_set(key: &Key, bytes: &Bytes) -> Result<Loaded<PackageSet>, Error> {
    let format = |message: &v1::PackageSet| message.format;
    let (message, unknown) = read(key, bytes, SET_FIELDS, format, FORMAT)?;
    let package = |package: v1::package_set::Package| (package.package, package.version);
    let revision = |revision: v1::package_set::Revision| SetRevision {
        number: revision.number,
        packages: revision.packages.into_iter().map(package).collect(),
        created: Timestamp(revision.created_unix_ms),
        actor: revision.actor,
    };
    let revisions = message.revisions.into_iter().map(revision).collect();
    Ok(Loaded { value: PackageSet { name: message.name, revisions }, unknown })
}
