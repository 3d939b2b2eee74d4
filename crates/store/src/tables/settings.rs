//! Table `settings`: name → connection settings with their revisions, without what is secret; and
//! name with hash → the sealed content.

use bytes::Bytes;
use model::Timestamp;
use model::connection::{Certificate, Kept, KeptRevision};
use model::settings::{Class, SettingsHash};

use super::tracks::digest;
use super::{Loaded, corrupt, read, write};
use crate::port::Table;
use crate::v1::connection_settings as wire;
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.ConnectionSettings`.
const FIELDS: u32 = 4;
/// Highest field number of `muster.state.v1.SealedSettings`.
const SEALED_FIELDS: u32 = 3;
/// Stands between name and hash; no name has it.
const MARK: u8 = b'@';

/// Sealed content under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Names it.
    pub hash: SettingsHash,
    /// Of use to a vault alone.
    pub sealed: Bytes,
}

/// The key of connection settings.
pub fn key(name: &str) -> Key {
    Key { table: Table::Settings, id: Bytes::copy_from_slice(name.as_bytes()) }
}

/// The key of sealed content of these settings.
pub fn sealed_key(name: &str, hash: &SettingsHash) -> Key {
    Key { table: Table::Settings, id: format!("{name}@{hash}").into() }
}

/// Whether a key of this table is one of sealed content.
pub fn is_sealed(key: &Key) -> bool {
    key.id.contains(&MARK)
}

/// The bytes of connection settings.
pub fn encode(kept: &Kept, unknown: &Bytes) -> Bytes {
    let certificate = |it: &Certificate| wire::Certificate {
        subject: it.subject.clone(),
        not_before_unix: it.not_before,
        not_after_unix: it.not_after,
        sha256: it.sha256.to_vec(),
        key_sha256: it.key_sha256.to_vec(),
    };
    let revision = |revision: &KeptRevision| wire::Revision {
        number: revision.number,
        hash: revision.hash.0.to_vec(),
        created_unix_ms: revision.created.0,
        actor: revision.actor.clone(),
        shown: revision.shown.clone(),
        certificate: revision.certificate.as_ref().map(certificate),
    };
    let message = v1::ConnectionSettings {
        format: FORMAT,
        name: kept.name.clone(),
        class: kept.class.to_string(),
        revisions: kept.revisions.iter().map(revision).collect(),
    };
    write(&message, unknown)
}

/// The connection settings in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<Kept>, Error> {
    let format = |message: &v1::ConnectionSettings| message.format;
    let (message, unknown) = read(key, bytes, FIELDS, format, FORMAT)?;
    let class = Class::parse(&message.class);
    let class = class.ok_or_else(|| corrupt(key, &format!("class {:?}", message.class)))?;
    let revisions: Result<Vec<KeptRevision>, String> =
        message.revisions.into_iter().map(revision).collect();
    let revisions = revisions.map_err(|reason| corrupt(key, &reason))?;
    Ok(Loaded { value: Kept { name: message.name, class, revisions }, unknown })
}

fn revision(message: wire::Revision) -> Result<KeptRevision, String> {
    Ok(KeptRevision {
        number: message.number,
        hash: SettingsHash(digest(&message.hash)?),
        created: Timestamp(message.created_unix_ms),
        actor: message.actor,
        shown: message.shown,
        certificate: message.certificate.map(certificate).transpose()?,
    })
}

fn certificate(message: wire::Certificate) -> Result<Certificate, String> {
    Ok(Certificate {
        subject: message.subject,
        not_before: message.not_before_unix,
        not_after: message.not_after_unix,
        sha256: digest(&message.sha256)?,
        key_sha256: digest(&message.key_sha256)?,
    })
}

/// The bytes of sealed content.
pub fn encode_sealed(value: &Sealed, unknown: &Bytes) -> Bytes {
    let (hash, sealed) = (value.hash.0.to_vec(), value.sealed.to_vec());
    write(&v1::SealedSettings { format: FORMAT, hash, sealed }, unknown)
}

/// The sealed content in these bytes.
pub fn decode_sealed(key: &Key, bytes: &Bytes) -> Result<Loaded<Sealed>, Error> {
    let format = |message: &v1::SealedSettings| message.format;
    let (message, unknown) = read(key, bytes, SEALED_FIELDS, format, FORMAT)?;
    let hash = digest(&message.hash).map_err(|reason| corrupt(key, &reason))?;
    let value = Sealed { hash: SettingsHash(hash), sealed: message.sealed.into() };
    match key.id.ends_with(value.hash.to_string().as_bytes()) {
        true => Ok(Loaded { value, unknown }),
        false => Err(corrupt(key, &"it is of another hash")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_content_is_read_under_its_own_name_alone() {
        let value = Sealed { hash: SettingsHash([7; 32]), sealed: Bytes::from_static(b"sealed") };
        let (bytes, named) = (encode_sealed(&value, &Bytes::new()), sealed_key("a", &value.hash));
        assert_eq!(decode_sealed(&named, &bytes).unwrap().value, value);
        assert!(is_sealed(&named) && !is_sealed(&key("a")));
        let other = sealed_key("a", &SettingsHash([8; 32]));
        assert!(decode_sealed(&other, &bytes).is_err());
    }
}
