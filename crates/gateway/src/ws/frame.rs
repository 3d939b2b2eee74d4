//! One frame on its way out: a small head of its own and a body that many frames may share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use opamp::InstanceUid;
use opamp::ws::{self, HEADER_BYTES_MAX, Opcode};
use tokio::sync::oneshot;

use super::Parts;
use crate::reply;
use crate::trace::NOBODY;

/// The OpAMP header, which is 0.
const OPAMP_HEADER: u8 = 0;
/// `ServerToAgent.instance_uid`: key, length, 16 bytes.
const UID_FIELD_BYTES: usize = 18;
const UID_KEY: u8 = 0x0a;
const UID_BYTES: u8 = 16;
const HEAD_BYTES_MAX: usize = HEADER_BYTES_MAX + 1 + UID_FIELD_BYTES;
/// What a waiting frame takes beside its bytes, so that many small ones are bounded too.
const OVERHEAD_BYTES: usize = 96;

/// A frame to be written.
#[derive(Debug)]
pub(crate) struct Frame {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    body: Bytes,
    kind: Kind,
    ticket: Option<Ticket>,
}

/// What a frame is, as far as newer ones may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing takes its place.
    Unique,
    Pong,
    /// The gateway's own answer to a heartbeat.
    Heartbeat(InstanceUid),
    /// A worker's answer with nothing in it but flags.
    Acknowledgement(InstanceUid),
    /// A worker's answer with these offers in it, and nothing else.
    Offering(InstanceUid, Parts),
    /// Offers that answer nothing.
    Offer(InstanceUid, Parts),
    /// An error.
    Error(InstanceUid),
}

/// Somebody waits for the frame to be flushed.
#[derive(Debug)]
pub(crate) struct Ticket {
    fate: Arc<AtomicU8>,
    flushed: oneshot::Sender<()>,
}

/// The waiting side of a ticket.
#[derive(Debug)]
pub(crate) struct Stub {
    fate: Arc<AtomicU8>,
    pub(crate) flushed: oneshot::Receiver<()>,
}

const QUEUED: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;
const SUPERSEDED: u8 = 3;

impl Frame {
    /// A ServerToAgent as it is.
    pub(crate) fn message(body: Bytes, kind: Kind) -> Self {
        Self::binary(body, None, kind)
    }

    /// A ServerToAgent without a uid, for one agent. Protobuf fields may be concatenated, so its
    /// uid goes in front and the body stays as it is.
    pub(crate) fn addressed(uid: &InstanceUid, body: Bytes, kind: Kind) -> Self {
        Self::binary(body, Some(uid), kind)
    }

    /// Size that a message will have for its receiver, OpAMP header included.
    pub(crate) fn message_bytes(body: &Bytes, addressed: bool) -> usize {
        1 + body.len() + if addressed { UID_FIELD_BYTES } else { 0 }
    }

    /// A ping that carries a number to be found again in its pong.
    pub(crate) fn ping(number: u64) -> Self {
        Self::control(|out| ws::ping(out, &number.to_be_bytes(), None), Kind::Unique)
    }

    /// The answer to a ping.
    pub(crate) fn pong(payload: &[u8]) -> Self {
        Self::control(|out| ws::pong(out, payload, None), Kind::Pong)
    }

    /// A close, or the answer to one.
    pub(crate) fn close(code: Option<u16>, reason: &str) -> Self {
        Self::control(|out| ws::close(out, code, reason, None), Kind::Unique)
    }

    /// Gives the frame a ticket, and the caller its stub.
    pub(crate) fn with_ticket(mut self) -> (Self, Stub) {
        let fate = Arc::new(AtomicU8::new(QUEUED));
        let (sender, receiver) = oneshot::channel();
        self.ticket = Some(Ticket { fate: fate.clone(), flushed: sender });
        let stub = Stub { fate, flushed: receiver };
        (self, stub)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The offers in it.
    pub(crate) fn offers(&self) -> Parts {
        match self.kind {
            Kind::Offering(_, parts) | Kind::Offer(_, parts) => parts,
            _ => Parts::NONE,
        }
    }

    /// Says who waits that a newer frame takes the place of this one. Nothing of it was written.
    pub(crate) fn supersede(self) {
        if let Some(ticket) = &self.ticket {
            // Withdrawn, nobody waits.
            let queued = |fate| (fate == QUEUED).then_some(SUPERSEDED);
            let _ = ticket.fate.fetch_update(Ordering::AcqRel, Ordering::Acquire, queued);
        }
    }

    /// The frame without these offers, which are out of date; `Err` if nothing is left of it.
    pub(crate) fn without(self, outdated: Parts) -> Result<Self, Self> {
        let body = |frame: &Self| outdated.strip(&frame.body);
        let stripped = match self.kind {
            Kind::Offering(uid, parts) if parts.without(outdated).is_empty() => {
                Self::message(body(&self), Kind::Acknowledgement(uid))
            }
            Kind::Offering(uid, parts) => {
                Self::message(body(&self), Kind::Offering(uid, parts.without(outdated)))
            }
            Kind::Offer(_, parts) if parts.without(outdated).is_empty() => return Err(self),
            Kind::Offer(uid, parts) => {
                let kind = Kind::Offer(uid, parts.without(outdated));
                Self::addressed(&uid, body(&self), kind)
            }
            _ => return Ok(self),
        };
        Ok(Self { ticket: self.ticket, ..stripped })
    }

    /// Marks the frame as one that is being written; false if it was withdrawn.
    pub(crate) fn begin(&self) -> bool {
        let Some(ticket) = &self.ticket else {
            return true;
        };
        let begun = |fate| (fate != WITHDRAWN).then_some(BEGUN);
        ticket.fate.fetch_update(Ordering::AcqRel, Ordering::Acquire, begun).is_ok()
    }

    /// Nothing of it was written after all: it may be withdrawn again.
    pub(crate) fn put_back(&self) {
        if let Some(ticket) = &self.ticket {
            // Only the writer leaves this state, so there is nothing to compare with.
            ticket.fate.store(QUEUED, Ordering::Release);
        }
    }

    /// The ServerToAgent in it and who it is for; none in a control frame.
    pub(crate) fn message_parts(&self) -> Option<(InstanceUid, [&[u8]; 2])> {
        if self.head_bytes == 0 {
            return None;
        }
        let length = match self.head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let field = &self.head[3 + length..usize::from(self.head_bytes)];
        let uid = match self.kind {
            Kind::Heartbeat(uid)
            | Kind::Acknowledgement(uid)
            | Kind::Offering(uid, _)
            | Kind::Offer(uid, _)
            | Kind::Error(uid) => uid,
            Kind::Unique | Kind::Pong => {
                let uid = field.get(2..).filter(|uid| !uid.is_empty());
                let salvaged = uid.map_or_else(|| reply::salvage_uid(&self.body), <[u8]>::to_vec);
                InstanceUid::try_from(&salvaged[..]).unwrap_or(NOBODY)
            }
        };
        Some((uid, [field, &self.body]))
    }

    /// The bytes still to be written after the first `offset`.
    pub(crate) fn parts(&self, offset: usize) -> [&[u8]; 2] {
        let head = &self.head[..usize::from(self.head_bytes)];
        match offset.checked_sub(head.len()) {
            None => [&head[offset..], &self.body],
            Some(offset) => [&[], &self.body[offset..]],
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.head_bytes) + self.body.len()
    }

    /// What it counts for in a queue.
    pub(crate) fn cost(&self) -> usize {
        self.bytes() + OVERHEAD_BYTES
    }

    pub(crate) fn into_ticket(self) -> Option<Ticket> {
        self.ticket
    }

    fn binary(body: Bytes, uid: Option<&InstanceUid>, kind: Kind) -> Self {
        let message_bytes = Self::message_bytes(&body, uid.is_some());
        let (header, header_bytes) = ws::header(Opcode::Binary, message_bytes);
        let mut head = [0; HEAD_BYTES_MAX];
        head[..header_bytes].copy_from_slice(&header[..header_bytes]);
        head[header_bytes] = OPAMP_HEADER;
        let mut head_bytes = header_bytes + 1;
        if let Some(uid) = uid {
            let field = &mut head[head_bytes..head_bytes + UID_FIELD_BYTES];
            field[..2].copy_from_slice(&[UID_KEY, UID_BYTES]);
            field[2..].copy_from_slice(uid.as_bytes());
            head_bytes += UID_FIELD_BYTES;
        }
        Self {
            head,
            head_bytes: u8::try_from(head_bytes).expect("a head is shorter than 30 bytes"),
            body,
            kind,
            ticket: None,
        }
    }

    fn control(write: impl FnOnce(&mut Vec<u8>), kind: Kind) -> Self {
        let mut body = Vec::new();
        write(&mut body);
        Self { head: [0; HEAD_BYTES_MAX], head_bytes: 0, body: body.into(), kind, ticket: None }
    }
}

impl Ticket {
    /// Tells who waits.
    pub(crate) fn flushed(self) {
        // Who waited may have given up.
        let _ = self.flushed.send(());
    }
}

impl Stub {
    /// Takes the frame back. False if it is being written already.
    pub(crate) fn withdraw(&self) -> bool {
        self.fate.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether a newer frame took its place.
    pub(crate) fn is_superseded(&self) -> bool {
        self.fate.load(Ordering::Acquire) == SUPERSEDED
    }
}

#[cfg(test)]
mod tests {
    use opamp::v1::ServerToAgent;
    use opamp::ws::{Decoder, Event, Role};
    use opamp::{Message as _, envelope};

    use super::*;

    fn written(frame: &Frame, offset: usize) -> Vec<u8> {
        frame.parts(offset).concat()
    }

    #[test]
    fn an_addressed_frame_is_the_shared_body_with_the_agent_s_uid() {
        let body = ServerToAgent { flags: 1, ..Default::default() };
        let uid = InstanceUid::from_bytes([7; 16]);
        let frame = Frame::addressed(&uid, body.encode_to_vec().into(), Kind::Unique);
        let bytes = written(&frame, 0);
        assert_eq!(bytes.len(), frame.bytes());
        let event = Decoder::new(Role::Client, 100).feed(&mut &bytes[..]);
        let Ok(Some(Event::Binary(message))) = event else {
            panic!("not one whole message: {event:?}");
        };
        let message: ServerToAgent = envelope::decode(&message).unwrap();
        assert_eq!((&message.instance_uid[..], message.flags), (&[7; 16][..], 1));
    }

    #[test]
    fn writing_may_go_on_anywhere() {
        let frame = Frame::message(vec![1; 300].into(), Kind::Unique);
        let whole = written(&frame, 0);
        for offset in [0, 1, 4, 5, 6, 304, 305] {
            assert_eq!(written(&frame, offset), whole[offset..]);
        }
    }

    #[test]
    fn a_frame_is_withdrawn_or_written_never_both() {
        let (frame, stub) = Frame::ping(1).with_ticket();
        assert!(stub.withdraw());
        assert!(!frame.begin());
        let (frame, stub) = Frame::ping(1).with_ticket();
        assert!(frame.begin());
        assert!(frame.begin(), "the rest of it");
        assert!(!stub.withdraw());
        frame.put_back();
        assert!(stub.withdraw());
    }
}
