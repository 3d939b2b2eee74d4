//! Messages larger than one bus payload. The sender keeps the body and sends a handle; the
//! receiver fetches it in chunks from the sender's own subject. (Chunks sent to a queue group
//! would reach different workers.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::limits::HELD_BYTES_MAX;
use crate::v1::{FetchParcel, ParcelChunk};

/// Bodies held for fetching.
#[derive(Debug)]
pub(crate) struct Parcels {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    bodies: BTreeMap<u64, Body>,
    bytes: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Body {
    data: Bytes,
    expires_unix_ms: u64,
    readers: Readers,
}

/// How many are to fetch a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// One: who has the last chunk has all, and the body goes.
    One,
    /// Nobody knows how many.
    Any,
}

/// A body's stay. It is let go of with this value, unless it is to stay until it expires.
#[derive(Debug)]
pub(crate) struct Stay {
    parcels: Arc<Parcels>,
    pub(crate) id: u64,
    until_expiry: bool,
}

impl Stay {
    /// Leaves the body until it expires or its one reader has it.
    pub(crate) fn until_expiry(mut self) {
        self.until_expiry = true;
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if !self.until_expiry {
            self.parcels.lock().remove(self.id);
        }
    }
}

impl Parcels {
    /// Ids go on from `first_id`, which must be beyond those of an earlier life of this process:
    /// a late fetch must not get another body.
    pub(crate) fn new(first_id: u64) -> Self {
        let held = Held { bodies: BTreeMap::new(), bytes: 0, next_id: first_id };
        Self { held: Mutex::new(held) }
    }

    /// Holds a body until `expires_unix_ms` at most, or `None` if too much is held.
    pub(crate) fn hold(
        self: &Arc<Self>,
        data: Bytes,
        readers: Readers,
        now_unix_ms: u64,
        expires_unix_ms: u64,
    ) -> Option<Stay> {
        let mut held = self.lock();
        held.drop_expired(now_unix_ms);
        if held.bytes + data.len() > HELD_BYTES_MAX {
            return None;
        }
        let id = held.next_id;
        held.next_id += 1;
        held.bytes += data.len();
        held.bodies.insert(id, Body { data, expires_unix_ms, readers });
        Some(Stay { parcels: self.clone(), id, until_expiry: false })
    }

    /// Answers one fetch.
    pub(crate) fn chunk(&self, fetch: &FetchParcel) -> ParcelChunk {
        let mut held = self.lock();
        let Some(body) = held.bodies.get(&fetch.id) else {
            return ParcelChunk::default();
        };
        let size = body.data.len();
        let start = usize::try_from(fetch.offset).unwrap_or(usize::MAX).min(size);
        let end = start.saturating_add(fetch.length as usize).min(size);
        let data = body.data.slice(start..end);
        if end == size && body.readers == Readers::One {
            held.remove(fetch.id);
        }
        ParcelChunk { found: true, data }
    }

    /// Lets go of bodies that nobody came for.
    pub(crate) fn drop_expired(&self, now_unix_ms: u64) {
        self.lock().drop_expired(now_unix_ms);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn parcels() -> Arc<Parcels> {
        Arc::new(Parcels::new(7))
    }

    fn hold(parcels: &Arc<Parcels>, data: &'static [u8], readers: Readers) -> Stay {
        parcels.hold(Bytes::from_static(data), readers, 0, 10).unwrap()
    }

    #[test]
    fn a_body_comes_back_in_chunks_and_is_gone_with_its_stay() {
        let parcels = parcels();
        let stay = hold(&parcels, b"abcdef", Readers::Any);
        let id = stay.id;
        let fetch = |offset, length| parcels.chunk(&FetchParcel { id, offset, length });
        assert_eq!(&fetch(0, 4).data[..], b"abcd");
        assert_eq!(&fetch(4, 4).data[..], b"ef");
        assert!(fetch(99, 4).found && fetch(99, 4).data.is_empty());
        drop(stay);
        assert!(!fetch(0, 4).found);
        assert_eq!(parcels.bytes(), 0);
    }

    #[test]
    fn a_body_for_one_is_gone_once_it_has_all() {
        let parcels = parcels();
        let stay = hold(&parcels, b"abcdef", Readers::One);
        let id = stay.id;
        stay.until_expiry();
        let fetch = |offset| parcels.chunk(&FetchParcel { id, offset, length: 3 });
        assert_eq!(&fetch(0).data[..], b"abc");
        assert_eq!(&fetch(3).data[..], b"def");
        assert_eq!(parcels.bytes(), 0);
    }

    #[test]
    fn what_is_held_is_bounded_and_expires() {
        let parcels = parcels();
        let big = Bytes::from(vec![0; HELD_BYTES_MAX]);
        parcels.hold(big, Readers::Any, 0, 10).unwrap().until_expiry();
        let small = |now| parcels.hold(Bytes::from_static(b"x"), Readers::Any, now, 20);
        assert!(small(5).is_none());
        assert!(small(11).is_some());
        assert_eq!(parcels.bytes(), 0);
    }
}
