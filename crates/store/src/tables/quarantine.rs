//! Table `quarantine`: a place → a value of another table that could not be read.

use bytes::Bytes;
use model::Timestamp;

use super::{Loaded, read, write};
use crate::{Error, Key, Version, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.Quarantined`.
const FIELDS: u32 = 8;

/// A value that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Name of its table.
    pub table: String,
    /// Its id there.
    pub id: Bytes,
    /// The version it had.
    pub version: Version,
    /// When it was found.
    pub found: Timestamp,
    /// What is wrong with it.
    pub reason: String,
    /// Bytes of the whole value.
    pub size: u64,
    /// As much of it as is kept.
    pub value: Bytes,
}

/// The bytes of a quarantined value.
pub fn encode(quarantined: &Quarantined, unknown: &Bytes) -> Bytes {
    let message = v1::Quarantined {
        format: FORMAT,
        table: quarantined.table.clone(),
        id: quarantined.id.to_vec(),
        version: quarantined.version.0,
        found_unix_ms: quarantined.found.0,
        reason: quarantined.reason.clone(),
        size: quarantined.size,
        value: quarantined.value.to_vec(),
    };
    write(&message, unknown)
}

/// The quarantined value in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<Quarantined>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::Quarantined| m.format, FORMAT)?;
    let value = Quarantined {
        table: message.table,
        id: message.id.into(),
        version: Version(message.version),
        found: Timestamp(message.found_unix_ms),
        reason: message.reason,
        size: message.size,
        value: message.value.into(),
    };
    Ok(Loaded { value, unknown })
}
