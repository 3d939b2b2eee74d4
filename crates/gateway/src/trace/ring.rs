//! The last entries of all agents in one fixed number of bytes: a new one takes the place of the
//! oldest. In shards by agent, so that few wait for each other and who reads one agent's entries
//! holds up few.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use opamp::InstanceUid;

use super::entry::{HEADER_BYTES, Header, Kept, kept};

const SHARDS: usize = 8;
/// Room of a shard below which nothing is kept: two entries of the largest size.
const SHARD_BYTES_MIN: usize = 32 << 10;

/// All shards.
#[derive(Debug)]
pub(super) struct Ring {
    shards: [Mutex<Shard>; SHARDS],
}

/// Entries of some agents, oldest first, in a circle of bytes.
#[derive(Debug)]
pub(super) struct Shard {
    bytes: Box<[u8]>,
    /// Where the oldest begins.
    first: usize,
    used: usize,
}

impl Ring {
    /// A ring of so many bytes; none if they are too few to be of use.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let each = bytes / SHARDS;
        // Zeroed memory is the system's until it is written to.
        let shard = |_| Mutex::new(Shard::new(each));
        (each >= SHARD_BYTES_MIN).then(|| Self { shards: std::array::from_fn(shard) })
    }

    /// Where an agent's entries are.
    pub(super) fn shard(&self, uid: &InstanceUid) -> MutexGuard<'_, Shard> {
        let mixed = uid.as_bytes().iter().fold(0, |mixed, byte| mixed ^ byte);
        let shard = &self.shards[usize::from(mixed) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes].into(), first: 0, used: 0 }
    }

    /// Takes an entry in, and drops as many of the oldest as it needs room.
    pub(super) fn push(&mut self, header: &Header, parts: [&[u8]; 2]) {
        let need = HEADER_BYTES + header.kept as usize;
        while self.bytes.len() - self.used < need {
            let oldest = self.header(0);
            let gone = HEADER_BYTES + oldest.kept as usize;
            self.first = (self.first + gone) % self.bytes.len();
            self.used -= gone;
        }
        self.append(&header.encode());
        kept(header, parts).into_iter().for_each(|part| self.append(part));
    }

    /// The last entries after a position that are wanted, oldest first: so many, and no more bytes
    /// than that.
    pub(super) fn last(
        &self,
        after: u64,
        count: usize,
        bytes_max: usize,
        wanted: impl Fn(&Header) -> bool,
    ) -> Vec<Kept> {
        let (mut found, mut bytes, mut at) = (VecDeque::new(), 0, 0);
        while at < self.used {
            let header = self.header(at);
            let entry_bytes = HEADER_BYTES + header.kept as usize;
            if header.position > after && wanted(&header) {
                found.push_back((at, header));
                bytes += entry_bytes;
                while found.len() > count || bytes > bytes_max {
                    let Some((_, gone)) = found.pop_front() else { break };
                    bytes -= HEADER_BYTES + gone.kept as usize;
                }
            }
            at += entry_bytes;
        }
        found.into_iter().map(|(at, header)| self.kept(at, header)).collect()
    }

    fn kept(&self, at: usize, header: Header) -> Kept {
        let mut bytes = vec![0; header.kept as usize];
        self.copy(at + HEADER_BYTES, &mut bytes);
        Kept { header, bytes: bytes.into() }
    }

    fn header(&self, at: usize) -> Header {
        let mut bytes = [0; HEADER_BYTES];
        self.copy(at, &mut bytes);
        Header::decode(&bytes)
    }

    /// Copies out what lies so far behind the oldest entry's beginning.
    fn copy(&self, at: usize, out: &mut [u8]) {
        let begin = (self.first + at) % self.bytes.len();
        let straight = out.len().min(self.bytes.len() - begin);
        out[..straight].copy_from_slice(&self.bytes[begin..begin + straight]);
        let rest = out.len() - straight;
        out[straight..].copy_from_slice(&self.bytes[..rest]);
    }

    fn append(&mut self, part: &[u8]) {
        let begin = (self.first + self.used) % self.bytes.len();
        let straight = part.len().min(self.bytes.len() - begin);
        self.bytes[begin..begin + straight].copy_from_slice(&part[..straight]);
        let rest = part.len() - straight;
        self.bytes[..rest].copy_from_slice(&part[straight..]);
        self.used += part.len();
    }
}

#[cfg(test)]
mod tests {
    use bus::v1::Transport;
    use model::Timestamp;

    use super::super::entry::{KEPT_BYTES_MAX, What};
    use super::*;

    fn header(uid: u8, position: u64, bytes: usize) -> Header {
        let uid = InstanceUid::from_bytes([uid; 16]);
        let mut header = Header::new(uid, What::In, Transport::Http, Timestamp(position));
        header.size = u32::try_from(bytes).unwrap();
        header.kept = header.size.min(KEPT_BYTES_MAX);
        header.position = position;
        header
    }

    fn payload(position: u64, bytes: usize) -> Vec<u8> {
        vec![u8::try_from(position % 251).unwrap(); bytes]
    }

    fn positions(entries: &[Kept]) -> Vec<u64> {
        entries.iter().map(|entry| entry.header.position).collect()
    }

    #[test]
    fn the_newest_stay_whatever_their_sizes() {
        let mut shard = Shard::new(SHARD_BYTES_MIN);
        for position in 1..=5_000 {
            let bytes = usize::try_from(position * 37 % 20_000).unwrap();
            let whole = payload(position, bytes);
            let (head, body) = whole.split_at(bytes / 3);
            shard.push(&header(1, position, bytes), [head, body]);
            assert!(shard.used <= shard.bytes.len());
            let all = shard.last(0, usize::MAX, usize::MAX, |_| true);
            assert_eq!(positions(&all).last(), Some(&position));
            assert!(positions(&all).is_sorted_by(|a, b| a + 1 == *b));
            for entry in all {
                let expected = payload(entry.header.position, entry.header.kept as usize);
                assert_eq!(*entry.bytes, *expected);
            }
        }
    }

    #[test]
    fn one_agents_last_are_found_among_others() {
        let mut shard = Shard::new(SHARD_BYTES_MIN);
        for position in 1..=300 {
            let uid = u8::try_from(position % 3).unwrap();
            shard.push(&header(uid, position, 10), [&payload(position, 10), &[]]);
        }
        let one = InstanceUid::from_bytes([1; 16]);
        let own = |header: &Header| header.uid == one;
        assert_eq!(positions(&shard.last(0, 3, usize::MAX, own)), [292, 295, 298]);
        assert_eq!(positions(&shard.last(295, 3, usize::MAX, own)), [298]);
        assert_eq!(positions(&shard.last(0, 100, 140, own)), [295, 298], "bytes are bounded too");
        assert!(shard.last(0, 0, usize::MAX, own).is_empty());
    }

    #[test]
    fn too_small_a_ring_is_none() {
        assert!(Ring::new(0).is_none());
        assert!(Ring::new(SHARDS * SHARD_BYTES_MIN - 1).is_none());
        assert!(Ring::new(SHARDS * SHARD_BYTES_MIN).is_some());
    }
}
