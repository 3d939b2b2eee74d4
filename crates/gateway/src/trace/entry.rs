//! One entry: a head of fixed size and the beginning of what was said. Pure.

use bus::v1::Transport;
use bus::v1::tap_reply::fact::Kind as Fact;
use model::Timestamp;
use opamp::InstanceUid;

/// Bytes kept of one message.
pub(super) const KEPT_BYTES_MAX: u32 = 16 << 10;
/// Bytes of a head.
pub(super) const HEADER_BYTES: usize = 56;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An AgentToServer, or what came in its place.
    In,
    /// A ServerToAgent.
    Out,
    /// Something happened to the connection.
    Fact(Fact),
}

/// What is known of an entry beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) uid: InstanceUid,
    pub(super) position: u64,
    pub(super) at: Timestamp,
    pub(super) epoch: u64,
    /// Bytes that there were.
    pub(super) size: u32,
    /// Bytes that are kept.
    pub(super) kept: u32,
    pub(super) retry_after_seconds: u32,
    /// Of a close frame, or of an HTTP response.
    pub(super) code: u16,
    pub(super) what: What,
    pub(super) transport: Transport,
}

impl Header {
    pub(super) fn new(uid: InstanceUid, what: What, transport: Transport, at: Timestamp) -> Self {
        Self {
            uid,
            position: 0,
            at,
            epoch: 0,
            size: 0,
            kept: 0,
            retry_after_seconds: 0,
            code: 0,
            what,
            transport,
        }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let kind = match self.what {
            What::In => -2,
            What::Out => -1,
            What::Fact(fact) => i32::from(fact),
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(self.uid.as_bytes());
        for (at, number) in [(16, self.position), (24, self.at.0), (32, self.epoch)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [(40, self.size), (44, self.kept), (48, self.retry_after_seconds)] {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes[52..54].copy_from_slice(&self.code.to_le_bytes());
        bytes[54] = kind.to_le_bytes()[0];
        bytes[55] = i32::from(self.transport).to_le_bytes()[0];
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let long = |at| u64::from_le_bytes(array(bytes, at));
        let int = |at| u32::from_le_bytes(array(bytes, at));
        let what = match i8::from_le_bytes([bytes[54]]) {
            -2 => What::In,
            -1 => What::Out,
            kind => What::Fact(Fact::try_from(i32::from(kind)).unwrap_or_default()),
        };
        Self {
            uid: InstanceUid::from_bytes(array(bytes, 0)),
            position: long(16),
            at: Timestamp(long(24)),
            epoch: long(32),
            size: int(40),
            kept: int(44),
            retry_after_seconds: int(48),
            code: u16::from_le_bytes(array(bytes, 52)),
            what,
            transport: Transport::try_from(i32::from(bytes[55])).unwrap_or_default(),
        }
    }
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has this length")
}

/// An entry out of the ring, or waiting in a tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) header: Header,
    pub(super) bytes: Box<[u8]>,
}

impl Kept {
    /// As much as is kept of what stands in two parts.
    pub(super) fn of(header: &Header, parts: [&[u8]; 2]) -> Self {
        let mut bytes = Vec::with_capacity(header.kept as usize);
        for part in kept(header, parts) {
            bytes.extend_from_slice(part);
        }
        Self { header: *header, bytes: bytes.into() }
    }

    /// What it takes in memory.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// The parts, as far as they are kept.
pub(super) fn kept<'a>(header: &Header, parts: [&'a [u8]; 2]) -> [&'a [u8]; 2] {
    let room = header.kept as usize;
    let first = &parts[0][..parts[0].len().min(room)];
    [first, &parts[1][..parts[1].len().min(room - first.len())]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_were_written() {
        let all = [What::In, What::Out, What::Fact(Fact::Superseded)];
        for (what, transport) in all.into_iter().zip([Transport::Http, Transport::WebSocket]) {
            let uid = InstanceUid::from_bytes([9; 16]);
            let mut header = Header::new(uid, what, transport, Timestamp(7));
            (header.position, header.epoch, header.size, header.kept) = (1, 2, 70_000, 4);
            (header.code, header.retry_after_seconds) = (4_001, 31);
            assert_eq!(Header::decode(&header.encode()), header);
        }
    }
}
