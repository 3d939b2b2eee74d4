//! How versions, values, events and presence look in bytes, in every backend that stores bytes.
//! Stored: never changed without a new layout number in the names of tables and keys.

use bytes::Bytes;
use model::Timestamp;
use opamp::InstanceUid;

use crate::{Presence, Stored, Version};

/// Bytes of a version.
const VERSION: usize = 8;

/// A version's bytes: big-endian, so that they compare as the number does.
pub(crate) const fn version(version: Version) -> [u8; VERSION] {
    version.0.to_be_bytes()
}

/// A payload behind its version.
pub(crate) fn join(at: Version, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(VERSION + payload.len());
    out.extend_from_slice(&version(at));
    out.extend_from_slice(payload);
    out
}

/// The version in front of these bytes, and what follows it.
pub(crate) fn split(bytes: &[u8]) -> Option<(Version, &[u8])> {
    let (version, payload) = bytes.split_first_chunk()?;
    Some((Version(u64::from_be_bytes(*version)), payload))
}

/// Whether a stored value is nothing but a version: its key was deleted, and its events wait.
pub(crate) fn is_deleted(stored: &[u8]) -> bool {
    stored.len() == VERSION
}

/// A stored value and its outbox, read one after the other. Events of another version than the
/// value's were written in between: whoever builds on this value conflicts, so they are not its
/// business.
///
/// What is too short for a version has none, and is written over as if it were not there. It is no
/// error here: one broken value must not fail those that are read with it.
pub(crate) fn stored(value: &[u8], outbox: Option<&[u8]>) -> Stored {
    let (version, value) = split(value).unwrap_or((Version::ABSENT, value));
    let events = outbox
        .and_then(split)
        .filter(|(of, _)| *of == version)
        .map_or(Bytes::new(), |(_, events)| Bytes::copy_from_slice(events));
    Stored { version, value: Bytes::copy_from_slice(value), events }
}

/// A presence entry without the uid: epoch, sequence number, time.
pub(crate) fn presence(entry: &Presence) -> [u8; 24] {
    let mut out = [0; 24];
    out[..8].copy_from_slice(&entry.epoch.to_be_bytes());
    out[8..16].copy_from_slice(&entry.sequence_num.to_be_bytes());
    out[16..].copy_from_slice(&entry.seen.0.to_be_bytes());
    out
}

/// The entry in these bytes. What cannot be read is as good as not there: presence only saves a
/// full report.
pub(crate) fn presence_of(instance_uid: InstanceUid, bytes: &[u8]) -> Option<Presence> {
    let (epoch, rest) = split(bytes)?;
    let (sequence_num, rest) = split(rest)?;
    let (seen, _) = split(rest)?;
    Some(Presence {
        instance_uid,
        epoch: epoch.0,
        sequence_num: sequence_num.0,
        seen: Timestamp(seen.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_keep_all_their_bits_and_their_order() {
        for number in [0, 1, 1 << 53, (1 << 53) + 1, u64::MAX] {
            let bytes = join(Version(number), b"value");
            assert_eq!(split(&bytes), Some((Version(number), &b"value"[..])));
        }
        assert!(version(Version(255)) < version(Version(256)));
        assert_eq!(split(&[0; 7]), None);
    }

    #[test]
    fn presence_round_trips() {
        let entry = Presence {
            instance_uid: InstanceUid::from_bytes([3; 16]),
            epoch: 1,
            sequence_num: u64::MAX,
            seen: Timestamp(7),
        };
        let bytes = presence(&entry);
        assert_eq!(presence_of(entry.instance_uid, &bytes), Some(entry));
        assert_eq!(presence_of(entry.instance_uid, &bytes[..23]), None);
    }

    #[test]
    fn events_of_another_version_are_left_out() {
        let value = join(Version(5), b"v");
        let of = |version| join(Version(version), b"e");
        let events = |outbox: &[u8]| stored(&value, Some(outbox)).events;
        assert_eq!(events(&of(5)), "e");
        assert_eq!(events(&of(6)), "");
        let short = stored(b"short", Some(&of(5)));
        let value = Bytes::from_static(b"short");
        assert_eq!(short, Stored { version: Version::ABSENT, value, events: Bytes::new() });
    }
}
