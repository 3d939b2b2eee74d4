//! Table `credentials`: instance uid → what was issued to an agent. Table `revocations`: instance
//! uid → what of it is good no more, apart from the others, since it is read often and is short.
//! Table `authority`: what the fleet signs with.

use bytes::Bytes;
use model::Timestamp;
use model::credential::{AgentCredential, Revocation};
use opamp::InstanceUid;

use super::{Loaded, corrupt, read, write};
use crate::{Error, Key, v1};

/// Newest format understood, of each of them.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.AgentCredential`.
const FIELDS: u32 = 13;
/// The same of `Revocation`.
const REVOCATION_FIELDS: u32 = 5;
/// The same of `FleetKey`.
const KEY_FIELDS: u32 = 4;

/// What the fleet signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetKey {
    /// Of use to a vault alone.
    pub sealed_seed: Bytes,
    /// What is signed is looked at with it.
    pub public_key: [u8; 32],
    /// When it was made.
    pub created: Timestamp,
}

/// The bytes of what was issued.
pub fn encode(credential: &AgentCredential, unknown: &Bytes) -> Bytes {
    let (revoked, revoked_by) = credential.revoked.clone().unwrap_or_default();
    let message = v1::AgentCredential {
        format: FORMAT,
        instance_uid: credential.uid.as_bytes().to_vec(),
        serial: credential.serial,
        below: credential.below,
        expires_unix: credential.expires_unix,
        issued_unix_ms: credential.issued.0,
        issued_by: credential.issued_by.clone(),
        revoked_unix_ms: revoked.0,
        revoked_by,
        enrollment: credential.enrollment.clone(),
        asked_unix_ms: credential.asked.0,
        proven: credential.proven,
        older_unix: credential.older_unix,
    };
    write(&message, unknown)
}

/// What was issued, by these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<AgentCredential>, Error> {
    let format = |message: &v1::AgentCredential| message.format;
    let (message, unknown) = read(key, bytes, FIELDS, format, FORMAT)?;
    let revoked = (message.revoked_unix_ms != 0).then_some(message.revoked_unix_ms);
    let value = AgentCredential {
        uid: uid(key, &message.instance_uid)?,
        enrollment: message.enrollment,
        asked: Timestamp(message.asked_unix_ms),
        proven: message.proven,
        older_unix: message.older_unix,
        serial: message.serial,
        below: message.below,
        expires_unix: message.expires_unix,
        issued: Timestamp(message.issued_unix_ms),
        issued_by: message.issued_by,
        revoked: revoked.map(|at| (Timestamp(at), message.revoked_by)),
    };
    Ok(Loaded { value, unknown })
}

/// The bytes of what is good no more.
pub fn encode_revocation(revocation: &Revocation, unknown: &Bytes) -> Bytes {
    let message = v1::Revocation {
        format: FORMAT,
        instance_uid: revocation.uid.as_bytes().to_vec(),
        below: revocation.below,
        until_unix: revocation.until_unix,
        refused: revocation.refused,
    };
    write(&message, unknown)
}

/// What is good no more, by these bytes.
pub fn decode_revocation(key: &Key, bytes: &Bytes) -> Result<Loaded<Revocation>, Error> {
    let format = |message: &v1::Revocation| message.format;
    let (message, unknown) = read(key, bytes, REVOCATION_FIELDS, format, FORMAT)?;
    let uid = uid(key, &message.instance_uid)?;
    let v1::Revocation { below, until_unix, refused, .. } = message;
    let value = Revocation { uid, below, until_unix, refused };
    Ok(Loaded { value, unknown })
}

/// The bytes of the fleet's key.
pub fn encode_key(fleet: &FleetKey, unknown: &Bytes) -> Bytes {
    let message = v1::FleetKey {
        format: FORMAT,
        sealed_seed: fleet.sealed_seed.to_vec(),
        public_key: fleet.public_key.to_vec(),
        created_unix_ms: fleet.created.0,
    };
    write(&message, unknown)
}

/// The fleet's key in these bytes.
pub fn decode_key(key: &Key, bytes: &Bytes) -> Result<Loaded<FleetKey>, Error> {
    let format = |message: &v1::FleetKey| message.format;
    let (message, unknown) = read(key, bytes, KEY_FIELDS, format, FORMAT)?;
    let public_key = <[u8; 32]>::try_from(&message.public_key[..]);
    let value = FleetKey {
        sealed_seed: message.sealed_seed.into(),
        public_key: public_key.map_err(|_| corrupt(key, &"a public key is 32 bytes"))?,
        created: Timestamp(message.created_unix_ms),
    };
    Ok(Loaded { value, unknown })
}

/// The uid in a value, which is the one that it lies under.
fn uid(key: &Key, bytes: &[u8]) -> Result<InstanceUid, Error> {
    let uid = InstanceUid::try_from(bytes).map_err(|error| corrupt(key, &error))?;
    match key.id == uid.as_bytes()[..] {
        true => Ok(uid),
        false => Err(corrupt(key, &"it is another agent's")),
    }
}
