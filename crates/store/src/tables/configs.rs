//! Table `configs`: name → the config's revisions, without their bodies.

use bytes::Bytes;
use model::{Config, Revision, Timestamp};

use super::agents::hash;
use super::{Loaded, corrupt, read, write};
use crate::v1::config as wire;
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.Config`.
const FIELDS: u32 = 3;

/// The bytes of a config.
pub fn encode(config: &Config, unknown: &Bytes) -> Bytes {
    let revision = |revision: &Revision| wire::Revision {
        number: revision.number,
        hash: revision.hash.0.to_vec(),
        created_unix_ms: revision.created.0,
        size_bytes: revision.size_bytes,
        keys: revision.keys.clone(),
        actor: revision.actor.clone(),
    };
    let message = v1::Config {
        format: FORMAT,
        name: config.name.clone(),
        revisions: config.revisions.iter().map(revision).collect(),
    };
    write(&message, unknown)
}

/// The config in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<Config>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::Config| m.format, FORMAT)?;
    let revision = |revision: wire::Revision| {
        Ok(Revision {
            number: revision.number,
            hash: hash(&revision.hash)?,
            created: Timestamp(revision.created_unix_ms),
            size_bytes: revision.size_bytes,
            keys: revision.keys,
            actor: revision.actor,
        })
    };
    let revisions: Result<Vec<Revision>, String> =
        message.revisions.into_iter().map(revision).collect();
    let revisions = revisions.map_err(|reason| corrupt(key, &reason))?;
    Ok(Loaded { value: Config { name: message.name, revisions }, unknown })
}

#[cfg(test)]
mod tests {
    use model::ConfigHash;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_newer_fields_stay() {
        let revision = Revision {
            number: 1,
            hash: ConfigHash([3; 32]),
            created: Timestamp(5),
            size_bytes: 6,
            actor: "alice".to_owned(),
            keys: vec![String::new(), "a".to_owned()],
        };
        let value = Config { name: "c".to_owned(), revisions: vec![revision] };
        let unknown = Bytes::from_static(&[0xa8, 0x06, 5]);
        let loaded = decode(&Key::config("c"), &encode(&value, &unknown)).unwrap();
        assert_eq!(loaded, Loaded { value, unknown });
    }
}
