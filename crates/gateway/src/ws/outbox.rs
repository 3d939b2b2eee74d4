//! Frames waiting for a connection's task, bounded in bytes: newer ones take the place of older
//! ones that they make pointless. Empty, it owns no heap memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use opamp::InstanceUid;

use super::{Frame, Kind, Parts};

/// What is to be written to one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// From half of this on, newer frames take the place of older ones.
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    /// Cost of the frames here and of those the writer has taken and not written.
    bytes: usize,
    /// The socket takes nothing.
    stalled: bool,
    sealed: bool,
}

/// Why a frame was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Too much is waiting.
    Full,
    /// The last frame is queued: the connection closes.
    Closing,
    /// An offer of a newer decision was taken before.
    Outdated,
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    /// Queues a frame unless `bytes_max` are waiting already. One frame of any size is taken, so
    /// that large ones travel at all. Older frames that it makes pointless go.
    pub(crate) fn push(&self, frame: Frame, bytes_max: usize) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.sealed {
            return Err(NotTaken::Closing);
        }
        let crowded = state.stalled || state.bytes > self.bytes_max / 2;
        state.make_way(frame.kind(), crowded);
        if state.bytes > bytes_max {
            return Err(NotTaken::Full);
        }
        state.bytes += frame.cost();
        state.frames.push_back(frame);
        Ok(())
    }

    /// Queues the last frame.
    pub(crate) fn push_last(&self, frame: Frame) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.sealed, true) {
            state.bytes += frame.cost();
            state.frames.push_back(frame);
        }
    }

    /// The next frames, `count` at most, to be written. What is done with is to be released.
    pub(crate) fn take(&self, count: usize) -> VecDeque<Frame> {
        let mut state = self.state();
        if state.frames.len() <= count {
            return std::mem::take(&mut state.frames);
        }
        state.frames.drain(..count).collect()
    }

    /// The socket takes nothing now: what was taken comes back, so that newer frames may take its
    /// place.
    pub(crate) fn stalled(&self, taken: impl DoubleEndedIterator<Item = Frame>) {
        let mut state = self.state();
        state.stalled = true;
        taken.rev().for_each(|frame| state.frames.push_front(frame));
    }

    /// The socket has taken everything.
    pub(crate) fn flows(&self) {
        self.state().stalled = false;
    }

    /// A taken frame is written or gone.
    pub(crate) fn release(&self, cost: usize) {
        self.state().bytes -= cost;
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.state().frames.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// The connection is over: nothing more is taken, and who waits for a frame learns it.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.sealed = true;
        state.frames = VecDeque::new();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops frames that a newer one makes pointless. An offer replaces older ones whatever the
    /// socket does; answers do so only where it is behind, since each message gets its own
    /// otherwise.
    fn make_way(&mut self, newer: Kind, crowded: bool) {
        if let Kind::Offer(uid, parts) | Kind::Offering(uid, parts) = newer {
            self.drop_offers(uid, parts);
        }
        if !crowded {
            return;
        }
        match newer {
            Kind::Pong => self.drop_all(|kind| kind == Kind::Pong),
            Kind::Heartbeat(uid) => self.drop_all(|kind| kind == Kind::Heartbeat(uid)),
            // It says all that an earlier one said: flags are repeated until they are obeyed.
            Kind::Acknowledgement(uid) | Kind::Offering(uid, _) => self.drop_all(|kind| {
                kind == Kind::Heartbeat(uid) || kind == Kind::Acknowledgement(uid)
            }),
            // Between two errors an answer may say that a message was taken.
            Kind::Error(uid) => {
                if self.frames.back().is_some_and(|last| last.kind() == Kind::Error(uid)) {
                    let last = self.frames.pop_back();
                    last.into_iter().for_each(|last| self.superseded(last));
                }
            }
            Kind::Offer(..) | Kind::Unique => {}
        }
    }

    fn drop_all(&mut self, pointless: impl Fn(Kind) -> bool) {
        if !self.frames.iter().any(|frame| pointless(frame.kind())) {
            return;
        }
        for frame in std::mem::take(&mut self.frames) {
            if pointless(frame.kind()) {
                self.superseded(frame);
            } else {
                self.frames.push_back(frame);
            }
        }
    }

    /// Takes offers of these kinds out of everything that waits for an agent.
    fn drop_offers(&mut self, to: InstanceUid, parts: Parts) {
        let outdated = |frame: &Frame| match frame.kind() {
            Kind::Offer(uid, older) | Kind::Offering(uid, older) if uid == to => older.and(parts),
            _ => Parts::NONE,
        };
        if self.frames.iter().all(|frame| outdated(frame).is_empty()) {
            return;
        }
        for frame in std::mem::take(&mut self.frames) {
            let (gone, before) = (outdated(&frame), frame.cost());
            if gone.is_empty() {
                self.frames.push_back(frame);
                continue;
            }
            match frame.without(gone) {
                Ok(rest) => {
                    self.bytes = self.bytes - before + rest.cost();
                    self.frames.push_back(rest);
                    metrics::counter!("muster_gateway_coalesced_total").increment(1);
                }
                Err(frame) => self.superseded(frame),
            }
        }
    }

    fn superseded(&mut self, frame: Frame) {
        self.bytes -= frame.cost();
        frame.supersede();
        metrics::counter!("muster_gateway_coalesced_total").increment(1);
    }
}

#[cfg(test)]
mod tests {
    use opamp::Message as _;
    use opamp::v1::{AgentRemoteConfig, ServerToAgent};

    use super::*;
    use crate::ws::Stub;

    const UID: InstanceUid = InstanceUid::from_bytes([1; 16]);
    const OTHER: InstanceUid = InstanceUid::from_bytes([2; 16]);
    const ROOM: usize = 1 << 20;

    fn message(kind: Kind) -> Frame {
        Frame::message(vec![0; 50].into(), kind)
    }

    fn offer(uid: InstanceUid) -> (Frame, Stub) {
        Frame::addressed(&uid, vec![0; 50].into(), Kind::Offer(uid, Parts::CONFIG)).with_ticket()
    }

    fn kinds(outbox: &Outbox) -> Vec<Kind> {
        outbox.take(usize::MAX).iter().map(Frame::kind).collect()
    }

    #[test]
    fn is_bounded_until_frames_are_written() {
        let outbox = Outbox::new(ROOM);
        assert_eq!(outbox.push(message(Kind::Unique), 100), Ok(()));
        assert_eq!(outbox.push(Frame::ping(1), 100), Err(NotTaken::Full));
        let taken = outbox.take(usize::MAX);
        assert_eq!(outbox.push(Frame::ping(1), 100), Err(NotTaken::Full), "taken is not written");
        taken.iter().for_each(|frame| outbox.release(frame.cost()));
        assert_eq!(outbox.push(Frame::ping(1), 100), Ok(()));
    }

    #[test]
    fn takes_nothing_after_the_last_frame() {
        let outbox = Outbox::new(ROOM);
        outbox.push_last(Frame::close(None, ""));
        outbox.push_last(Frame::close(None, ""));
        assert_eq!(outbox.push(Frame::ping(1), 1000), Err(NotTaken::Closing));
        assert_eq!(outbox.take(usize::MAX).len(), 1);
    }

    #[test]
    fn a_newer_offer_takes_the_place_of_an_older_one_and_says_so() {
        let outbox = Outbox::new(ROOM);
        let ((older, superseded), (others, kept), (newer, waits)) =
            (offer(UID), offer(OTHER), offer(UID));
        let room = older.cost() * 2;
        for frame in [older, others, newer] {
            outbox.push(frame, room).unwrap();
        }
        assert_eq!(outbox.bytes(), room, "the oldest is gone");
        assert!(superseded.is_superseded() && !superseded.withdraw());
        assert!(!kept.is_superseded() && !waits.is_superseded());
        let kind = |uid| Kind::Offer(uid, Parts::CONFIG);
        assert_eq!(kinds(&outbox), [kind(OTHER), kind(UID)]);
    }

    #[test]
    fn an_answer_keeps_its_flags_when_its_offer_is_out_of_date() {
        let outbox = Outbox::new(ROOM);
        let reply = ServerToAgent {
            instance_uid: UID.as_bytes().to_vec(),
            flags: 1,
            remote_config: Some(AgentRemoteConfig { config_hash: vec![7; 900], config: None }),
            ..Default::default()
        };
        let kind = Kind::Offering(UID, Parts::CONFIG);
        let answer = Frame::message(reply.encode_to_vec().into(), kind);
        outbox.push(answer, ROOM).unwrap();
        let before = outbox.bytes();
        outbox.push(offer(UID).0, ROOM).unwrap();
        assert!(outbox.bytes() < before - 700);
        let frames = outbox.take(usize::MAX);
        let bytes = frames[0].parts(0).concat();
        let left = opamp::envelope::decode::<ServerToAgent>(&bytes[2..]).unwrap();
        assert_eq!((left.flags, left.remote_config), (1, None));
        frames.iter().for_each(|frame| outbox.release(frame.cost()));
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn a_socket_that_is_behind_gets_the_latest_of_each_kind() {
        let outbox = Outbox::new(ROOM);
        let burst = [
            Kind::Pong,
            Kind::Heartbeat(UID),
            Kind::Acknowledgement(UID),
            Kind::Error(UID),
            Kind::Error(UID),
            Kind::Heartbeat(OTHER),
        ];
        let all = || [Frame::pong(b"x")].into_iter().chain(burst[1..].iter().copied().map(message));
        for frame in all().chain(all()) {
            outbox.push(frame, ROOM).unwrap();
        }
        assert_eq!(kinds(&outbox).len(), 12, "each message has its answer");
        outbox.stalled(std::iter::empty());
        for frame in all().chain(all()) {
            outbox.push(frame, ROOM).unwrap();
        }
        let kept = [
            Kind::Error(UID),
            Kind::Pong,
            Kind::Acknowledgement(UID),
            Kind::Error(UID),
            Kind::Heartbeat(OTHER),
        ];
        assert_eq!(kinds(&outbox), kept, "no answer hides an error before it");
        outbox.flows();
        all().for_each(|frame| outbox.push(frame, ROOM).unwrap());
        assert_eq!(kinds(&outbox).len(), 6);
    }

    #[test]
    fn what_is_never_written_stays_within_the_bound() {
        let outbox = Outbox::new(64 << 10);
        for _ in 0..10_000 {
            outbox.push(message(Kind::Heartbeat(UID)), usize::MAX).unwrap();
            outbox.push(Frame::pong(b"12345678"), usize::MAX).unwrap();
        }
        assert!(outbox.bytes() <= 33 << 10, "{}", outbox.bytes());
    }

    #[test]
    fn what_the_socket_did_not_take_is_replaced_too() {
        let outbox = Outbox::new(ROOM);
        let ((older, superseded), (newer, _)) = (offer(UID), offer(UID));
        outbox.push(older, ROOM).unwrap();
        let taken = outbox.take(16);
        outbox.stalled(taken.into_iter());
        outbox.push(newer, ROOM).unwrap();
        assert!(superseded.is_superseded());
        assert_eq!(kinds(&outbox), [Kind::Offer(UID, Parts::CONFIG)]);
    }
}
