//! Messages larger than one bus payload. The sender keeps the body and sends a handle; the
//! receiver fetches it in chunks from the sender's own subject. (Chunks sent to a queue group
//! would reach different workers.)

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::limits::HELD_BYTES_MAX;
use crate::v1::{FetchParcel, ParcelChunk};

/// Bodies held for fetching.
#[derive(Debug, Default)]
pub(crate) struct Parcels {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bodies: BTreeMap<u64, Body>,
    bytes: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Body {
    data: Bytes,
    expires_unix_ms: u64,
}

impl Parcels {
    /// Holds a body until `expires_unix_ms` and returns its id, or `None` if too much is held.
    pub(crate) fn hold(&self, data: Bytes, now_unix_ms: u64, expires_unix_ms: u64) -> Option<u64> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.drop_expired(now_unix_ms);
        if held.bytes + data.len() > HELD_BYTES_MAX {
            return None;
        }
        let id = held.next_id;
        held.next_id += 1;
        held.bytes += data.len();
        held.bodies.insert(id, Body { data, expires_unix_ms });
        Some(id)
    }

    /// Lets go of a body.
    pub(crate) fn release(&self, id: u64) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Answers one fetch.
    pub(crate) fn chunk(&self, fetch: &FetchParcel) -> ParcelChunk {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = held.bodies.get(&fetch.id) else {
            return ParcelChunk::default();
        };
        let start = usize::try_from(fetch.offset).unwrap_or(usize::MAX).min(body.data.len());
        let end = start.saturating_add(fetch.length as usize).min(body.data.len());
        ParcelChunk { found: true, data: body.data.slice(start..end) }
    }
}

impl Held {
    fn remove(&mut self, id: u64) {
        if let Some(body) = self.bodies.remove(&id) {
            self.bytes -= body.data.len();
        }
    }

    fn drop_expired(&mut self, now_unix_ms: u64) {
        let expired: Vec<u64> = self
            .bodies
            .iter()
            .filter(|(_, body)| body.expires_unix_ms < now_unix_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_in_chunks_and_is_gone_once_released() {
        let parcels = Parcels::default();
        let id = parcels.hold(Bytes::from_static(b"abcdef"), 0, 10).unwrap();
        let fetch = |offset, length| parcels.chunk(&FetchParcel { id, offset, length });
        assert_eq!(&fetch(0, 4).data[..], b"abcd");
        assert_eq!(&fetch(4, 4).data[..], b"ef");
        assert!(fetch(99, 4).found && fetch(99, 4).data.is_empty());
        parcels.release(id);
        assert!(!fetch(0, 4).found);
    }

    #[test]
    fn what_is_held_is_bounded_and_expires() {
        let parcels = Parcels::default();
        let big = Bytes::from(vec![0; HELD_BYTES_MAX]);
        assert!(parcels.hold(big, 0, 10).is_some());
        assert!(parcels.hold(Bytes::from_static(b"x"), 5, 10).is_none());
        assert!(parcels.hold(Bytes::from_static(b"x"), 11, 20).is_some());
    }
}
