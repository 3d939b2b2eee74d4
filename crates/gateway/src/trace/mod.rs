//! What agents and this gateway said to each other lately, for who wants to look: one ring of
//! bytes for all agents, and taps on single ones.
//!
//! ```text
//!   sockets, polls ── note ─► ring ─────────► answer ─► redacted ─► bus
//!                      └────► taps (if any) ───┘
//! ```
//!
//! Noting a message costs a short lock and a copy, and allocates nothing unless its agent is
//! tapped. It never waits: who does not fetch in time loses entries and is told how many. What may
//! not enter: a message that leaves without having been redacted.

mod answer;
mod entry;
mod ring;
mod taps;

use std::sync::atomic::{AtomicU64, Ordering};

use bus::v1::Transport;
use bus::v1::tap_reply::fact::Kind as Fact;
use model::Timestamp;
use opamp::InstanceUid;

pub(crate) use answer::answer;
use entry::{Header, KEPT_BYTES_MAX, What};
use ring::Ring;
use taps::Taps;

use crate::Limits;
use crate::connection::Connection;
use crate::incoming::Incoming;
use crate::shared::Shared;
use crate::ws::Frame;

/// Positions of one millisecond: more than can happen in it. They begin at the time of day, so that
/// they rise over restarts.
const POSITIONS_PER_MS: u64 = 1 << 16;

/// Who nobody is: what is said by none or to none.
pub(crate) const NOBODY: InstanceUid = InstanceUid::from_bytes([0; 16]);

/// What was said lately, and who listens.
#[derive(Debug)]
pub(crate) struct Trace {
    ring: Option<Ring>,
    taps: Taps,
    next: AtomicU64,
}

impl Trace {
    pub(crate) fn new(limits: &Limits, now: Timestamp) -> Self {
        Self {
            ring: Ring::new(limits.trace_ring_bytes),
            taps: Taps::new(limits),
            next: AtomicU64::new(now.0.saturating_mul(POSITIONS_PER_MS).max(1)),
        }
    }

    /// Whether anything is to be noted at all.
    fn listens(&self) -> bool {
        self.ring.is_some() || self.taps.any()
    }

    fn note(&self, mut header: Header, parts: [&[u8]; 2]) {
        let bytes = parts[0].len() + parts[1].len();
        header.size = u32::try_from(bytes).unwrap_or(u32::MAX);
        header.kept = header.size.min(KEPT_BYTES_MAX);
        // Held to the end, so that the ring and the taps have an agent's entries in one order.
        let mut shard = self.ring.as_ref().map(|ring| ring.shard(&header.uid));
        header.position = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(shard) = &mut shard {
            shard.push(&header, parts);
        }
        if self.taps.any() {
            self.taps.offer(&header, parts);
        }
    }

    /// Forgets taps that nobody asks for any more.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.taps.sweep(now_ms);
    }
}

impl Shared {
    fn header(&self, uid: InstanceUid, what: What, transport: Transport) -> Header {
        Header::new(uid, what, transport, self.clock.now())
    }

    /// An agent said something on a WebSocket.
    pub(crate) fn note_heard(&self, connection: &Connection, incoming: &Incoming) {
        if !self.trace.listens() {
            return;
        }
        let uid = incoming.uid;
        if connection.is_new(&uid) {
            let peer = connection.peer.to_string();
            let opened = What::Fact(Fact::Opened);
            let header = self.header(uid, opened, Transport::WebSocket);
            self.trace.note(header, [peer.as_bytes(), &[]]);
        }
        self.note_in(uid, Transport::WebSocket, &incoming.body);
    }

    /// Something was said by this agent, or by somebody who claims to be it.
    pub(crate) fn note_in(&self, uid: InstanceUid, transport: Transport, body: &[u8]) {
        if self.trace.listens() {
            self.trace.note(self.header(uid, What::In, transport), [body, &[]]);
        }
    }

    /// A frame was given to the socket, whole.
    pub(crate) fn note_sent(&self, frame: &Frame) {
        if self.trace.listens()
            && let Some((uid, parts)) = frame.message_parts()
        {
            self.trace.note(self.header(uid, What::Out, Transport::WebSocket), parts);
        }
    }

    /// A poll is answered with a message.
    pub(crate) fn note_response(
        &self,
        uid: InstanceUid,
        status: u16,
        retry_after_seconds: u32,
        message: &[u8],
    ) {
        if self.trace.listens() {
            let mut header = self.header(uid, What::Out, Transport::Http);
            (header.code, header.retry_after_seconds) = (status, retry_after_seconds);
            self.trace.note(header, [message, &[]]);
        }
    }

    /// Something happened to an agent's connection.
    pub(crate) fn note_fact(&self, uid: InstanceUid, fact: Fact, epoch: u64, close_code: u16) {
        if self.trace.listens() {
            let mut header = self.header(uid, What::Fact(fact), Transport::WebSocket);
            (header.epoch, header.code) = (epoch, close_code);
            self.trace.note(header, [&[], &[]]);
        }
    }
}
