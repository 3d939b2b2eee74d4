//! Table `leases`: name → who holds it. Its version is its fencing token, and counts as a beat of
//! its holder's heart.

use bytes::Bytes;

use super::{Loaded, read, write};
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.Lease`.
const FIELDS: u32 = 2;

/// The bytes of a lease held by a process.
pub fn encode(holder: &str, unknown: &Bytes) -> Bytes {
    write(&v1::Lease { format: FORMAT, holder: holder.to_owned() }, unknown)
}

/// Who holds the lease in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<String>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::Lease| m.format, FORMAT)?;
    Ok(Loaded { value: message.holder, unknown })
}
