//! Table `enrollment_tokens`: name → a token that enrolls agents, known by its digest.

use bytes::Bytes;
use model::Timestamp;
use model::enrollment::{Approval, EnrollmentToken, TokenDigest};

use super::{Loaded, corrupt, read, write};
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.EnrollmentToken`.
const FIELDS: u32 = 13;

/// The bytes of a token.
pub fn encode(token: &EnrollmentToken, unknown: &Bytes) -> Bytes {
    let (revoked, revoked_by) = token.revoked.clone().unwrap_or_default();
    let message = v1::EnrollmentToken {
        format: FORMAT,
        name: token.name.clone(),
        digest: token.digest.0.to_vec(),
        labels: token.labels.clone(),
        manual: token.approval == Approval::Manual,
        expires_unix_ms: token.expires.map_or(0, |at| at.0),
        uses_max: token.uses_max.unwrap_or(0),
        uses: token.uses,
        arrived: token.arrived,
        created_unix_ms: token.created.0,
        actor: token.actor.clone(),
        revoked_unix_ms: revoked.0,
        revoked_by,
    };
    write(&message, unknown)
}

/// The token in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<EnrollmentToken>, Error> {
    let format = |message: &v1::EnrollmentToken| message.format;
    let (message, unknown) = read(key, bytes, FIELDS, format, FORMAT)?;
    let digest = <[u8; 32]>::try_from(&message.digest[..]);
    let digest = digest.map_err(|_| corrupt(key, &"a digest is 32 bytes"))?;
    let given = |number: u64| (number != 0).then_some(number);
    let revoked = given(message.revoked_unix_ms);
    let value = EnrollmentToken {
        name: message.name,
        digest: TokenDigest(digest),
        labels: message.labels,
        approval: if message.manual { Approval::Manual } else { Approval::Automatic },
        expires: given(message.expires_unix_ms).map(Timestamp),
        uses_max: given(message.uses_max),
        uses: message.uses,
        arrived: message.arrived,
        created: Timestamp(message.created_unix_ms),
        actor: message.actor,
        revoked: revoked.map(|at| (Timestamp(at), message.revoked_by)),
    };
    Ok(Loaded { value, unknown })
}
