//! One agent's life on one connection: what the gateway answers itself and how it numbers what it
//! asks. Pure. One report is in flight at a time, and the answered number moves on answers alone,
//! never on sending.

use std::collections::VecDeque;

use model::SessionId;
use opamp::InstanceUid;

use crate::bucket::{Bucket, Rate};
use crate::incoming::Incoming;
use crate::ws::{Decisions, Parts};

/// An agent's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) uid: InstanceUid,
    id: SessionId,
    /// 0 until a worker has granted one.
    epoch: u64,
    /// The epoch held before that was lost; 0 if none was. What is claimed next is above it.
    floor: u64,
    standing: Standing,
    /// Reports begun in this epoch.
    n: u64,
    /// Last number answered: locally, or by a worker that has stored it.
    answered: Option<u64>,
    /// What the agent last said it can do.
    capabilities: u64,
    /// The newest decisions whose offers were sent, or are about to be.
    offered: Decisions,
    /// The uid that it was given in place of its own, if it was.
    renamed: Option<Box<InstanceUid>>,
    /// What it may still say.
    messages: Bucket,
    /// A report is on its way, or its turn is being waited for.
    busy: bool,
    /// Messages behind the one in flight.
    waiting: VecDeque<Incoming>,
}

/// Whether the record is known to say what the agent said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is.
    Sure,
    /// The gateway was silent for so long that the agent may have been taken from it.
    Doubted,
    /// Something the agent said is not stored, or is stored no more: it is to report its full
    /// state. Until then its heartbeats are answered and teach nobody anything.
    Dirty {
        /// How often it was asked, and when last, in milliseconds of the process's life.
        asked: u32,
        at: u64,
    },
}

/// How one report names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) session: SessionId,
    pub(crate) epoch: u64,
    pub(crate) floor: u64,
    pub(crate) n: u64,
    pub(crate) answered: Option<u64>,
    /// Something was missing already when it began.
    dirty: bool,
}

/// What a worker says of a session that was doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    /// It is, and its record is to be reported again.
    ButLacking,
    No,
}

/// A session that held an agent and does no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) uid: InstanceUid,
    pub(crate) session: SessionId,
    pub(crate) epoch: u64,
    pub(crate) answered: Option<u64>,
}

impl Session {
    pub(crate) fn new(uid: InstanceUid, id: SessionId) -> Self {
        Self {
            uid,
            id,
            epoch: 0,
            floor: 0,
            standing: Standing::Sure,
            n: 0,
            answered: None,
            capabilities: 0,
            offered: Decisions::default(),
            renamed: None,
            messages: Bucket::default(),
            busy: false,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether one more message is not too much.
    pub(crate) fn may_speak(&mut self, now_ms: u64, rate: Rate) -> bool {
        self.messages.take(now_ms, rate).is_ok()
    }

    /// Answers a message here if nothing can be learnt from it: the agent is held, nothing of it
    /// is in flight, and the number is the next one. Says under which epoch the agent counts as
    /// heard; 0 if its number must not be told.
    pub(crate) fn answers(&mut self, message: &Incoming) -> Option<u64> {
        let says_nothing = message.bare
            && (message.capabilities == 0 || message.capabilities == self.capabilities);
        if self.busy || !says_nothing {
            return None;
        }
        if self.is_dirty() && self.epoch.max(self.floor) != 0 {
            // Its number would cover what is not stored.
            return Some(0);
        }
        let next = self.answered.map(|answered| answered.wrapping_add(1));
        if self.epoch == 0 || next != Some(message.sequence_num) {
            return None;
        }
        self.answered = next;
        Some(self.epoch)
    }

    /// Whether something of the agent is not stored.
    pub(crate) fn is_dirty(&self) -> bool {
        matches!(self.standing, Standing::Dirty { .. })
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Nobody has heard of this gateway for long.
    pub(crate) fn doubt(&mut self) {
        if self.epoch != 0 && self.standing == Standing::Sure {
            self.standing = Standing::Doubted;
        }
    }

    /// The agent's record is lost, or lacks something.
    pub(crate) fn soil(&mut self) {
        if !self.is_dirty() {
            self.standing = Standing::Dirty { asked: 0, at: 0 };
        }
    }

    /// A worker knows whose the agent is.
    pub(crate) fn resumed(&mut self, epoch: u64, held: Held, fresh: SessionId) {
        if self.standing != Standing::Doubted || self.epoch != epoch {
            return;
        }
        self.standing = Standing::Sure;
        match held {
            Held::Yes => {}
            Held::ButLacking => self.soil(),
            Held::No => {
                self.forget(fresh);
                self.soil();
            }
        }
    }

    /// The agent is asked for its full state now, unless it was in vain so often that its next
    /// message is to show what is missing.
    pub(crate) fn asks(&mut self, now: u64, times_max: u32) -> bool {
        let Standing::Dirty { asked, .. } = self.standing else { return false };
        if asked >= times_max {
            self.standing = Standing::Sure;
            return false;
        }
        self.standing = Standing::Dirty { asked: asked + 1, at: now };
        true
    }

    /// Its agent is told to go by another uid.
    pub(crate) fn rename(&mut self, to: InstanceUid) {
        self.renamed = Some(Box::new(to));
    }

    /// Whether its agent goes by this uid from now on.
    pub(crate) fn is_renamed_to(&self, uid: &InstanceUid) -> bool {
        self.renamed.as_deref() == Some(uid)
    }

    /// Queues a message for the workers. True if nobody is working the queue yet.
    pub(crate) fn queue(&mut self, message: Incoming) -> bool {
        self.waiting.push_back(message);
        !std::mem::replace(&mut self.busy, true)
    }

    /// The next message to ask about; with `None` nobody works the queue any more.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.busy = false;
            self.waiting = VecDeque::new();
        }
        next
    }

    /// How many messages wait behind the one in flight.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Names the next report. A repeat of it keeps the name. The full report that was asked for
    /// here follows no number.
    pub(crate) fn begin(&mut self, describes: bool) -> Name {
        self.n += 1;
        let asked = matches!(self.standing, Standing::Dirty { asked: 1.., .. });
        let follows = self.epoch != 0 && !(asked && describes);
        Name {
            session: self.id,
            epoch: self.epoch,
            floor: self.floor,
            n: self.n,
            answered: self.answered.filter(|_| follows),
            dirty: self.is_dirty(),
        }
    }

    /// How it names itself, apart from a report.
    pub(crate) fn name(&self) -> Name {
        let (session, epoch, floor, n) = (self.id, self.epoch, self.floor, self.n);
        Name { session, epoch, floor, n, answered: self.answered, dirty: self.is_dirty() }
    }

    /// A worker answered a report. False if the session was superseded meanwhile, which makes
    /// the answer void.
    pub(crate) fn accept(&mut self, name: &Name, epoch: u64, of: &Incoming, refused: bool) -> bool {
        if name.session != self.id {
            return false;
        }
        // Epoch 0 is the answer to an agent that gets another uid: nothing of it was stored.
        if epoch == 0 {
            return true;
        }
        self.epoch = epoch;
        self.floor = 0;
        // If something is still missing, the worker has seen it by the numbers; but it knows
        // nothing of what was lost since it was asked.
        if name.dirty {
            self.standing = Standing::Sure;
        }
        if !refused {
            self.answered = Some(of.sequence_num);
            if of.capabilities != 0 {
                self.capabilities = of.capabilities;
            }
        }
        true
    }

    /// A report's fate is unknown. The answered number stands still, so that the next report shows
    /// the gap. A claim that may have been granted is not repeated with other
    /// contents: the next one is a new session's.
    pub(crate) fn fail(&mut self, name: &Name, fresh: SessionId) {
        if name.session != self.id {
            return;
        }
        if name.epoch == 0 {
            self.forget(fresh);
        }
        self.soil();
    }

    /// Offers of these decisions are about to be sent. Returns those that must not be, since newer
    /// ones were (rule G8).
    pub(crate) fn offers(&mut self, parts: Parts, decisions: Decisions) -> Parts {
        self.offered.outdate(parts, decisions)
    }

    /// The agent is held elsewhere, or its goodbye is taken: what is said next claims it anew.
    pub(crate) fn forget(&mut self, fresh: SessionId) {
        self.id = fresh;
        self.floor = self.floor.max(self.epoch);
        self.standing = Standing::Sure;
        self.epoch = 0;
        self.n = 0;
        self.answered = None;
        self.offered = Decisions::default();
    }

    /// What workers are told of its end; `None` if it held nothing.
    pub(crate) fn end(&self) -> Option<Ended> {
        (self.epoch != 0).then_some(Ended {
            uid: self.uid,
            session: self.id,
            epoch: self.epoch,
            answered: self.answered,
        })
    }
}

#[cfg(test)]
mod tests {
    use opamp::Message as _;
    use opamp::v1::AgentToServer;

    use super::*;
    use crate::Limits;
    use crate::budget::Budget;

    fn message(sequence_num: u64, capabilities: u64, flags: u64) -> Incoming {
        let message = AgentToServer {
            instance_uid: vec![1; 16],
            sequence_num,
            capabilities,
            flags,
            ..Default::default()
        };
        let charge = Budget::new(1).open();
        Incoming::read(message.encode_to_vec().into(), charge, &Limits::default()).unwrap()
    }

    fn claimed() -> Session {
        let mut session = Session::new(InstanceUid::from_bytes([1; 16]), SessionId([1; 16]));
        assert_eq!(session.answers(&message(0, 7, 0)), None, "claims come first");
        assert!(session.queue(message(0, 7, 0)));
        let first = session.next().unwrap();
        let name = session.begin(false);
        assert_eq!((name.epoch, name.n, name.answered), (0, 1, None));
        assert!(session.accept(&name, 5, &first, false));
        assert!(session.next().is_none());
        session
    }

    #[test]
    fn answers_bare_messages_with_the_next_number() {
        let mut session = claimed();
        assert_eq!(session.answers(&message(1, 7, 0)), Some(5));
        assert_eq!(session.answers(&message(2, 0, 0)), Some(5), "omitted capabilities");
        assert_eq!(session.answers(&message(2, 7, 0)), None, "repeated number");
        assert_eq!(session.answers(&message(4, 7, 0)), None, "gap");
        assert_eq!(session.answers(&message(3, 8, 0)), None, "other capabilities");
        assert_eq!(session.answers(&message(3, 7, 1)), None, "a flag");
        assert_eq!(session.answers(&message(3, 7, 0)), Some(5));
        assert_eq!(session.end().unwrap().answered, Some(3));
    }

    #[test]
    fn answers_nothing_behind_a_report_in_flight() {
        let mut session = claimed();
        assert!(session.queue(message(1, 7, 1)));
        assert_eq!(session.answers(&message(2, 7, 0)), None);
        assert_eq!(session.answers(&message(1, 7, 0)), None, "its number again");
        assert!(!session.queue(message(2, 7, 0)), "one works the queue");
        assert_eq!(session.next().unwrap().sequence_num, 1);
        assert_eq!(session.begin(false).answered, Some(0));
        assert_eq!(session.next().unwrap().sequence_num, 2);
    }

    #[test]
    fn an_unknown_fate_leaves_the_answered_number() {
        let mut session = claimed();
        let name = session.begin(false);
        session.fail(&name, SessionId([9; 16]));
        assert_eq!(session.answers(&message(2, 7, 0)), Some(0), "heartbeats teach nothing");
        let next = session.begin(true);
        assert_eq!((next.epoch, next.n, next.answered), (5, name.n + 1, Some(0)));
        assert_eq!(next.session, name.session);
    }

    #[test]
    fn a_full_report_that_was_asked_for_follows_no_number_and_clears_the_doubt() {
        let mut session = claimed();
        let name = session.begin(false);
        session.fail(&name, SessionId([9; 16]));
        assert!(session.asks(1, 2));
        assert_eq!(session.begin(false).answered, Some(0), "a sparse one shows the gap");
        let full = session.begin(true);
        assert_eq!((full.epoch, full.answered), (5, None));
        assert!(session.accept(&full, 5, &message(9, 7, 0), false));
        assert_eq!(session.answers(&message(10, 7, 0)), Some(5));
        assert!(!session.asks(2, 2), "nothing is missing");
    }

    #[test]
    fn what_is_lost_behind_a_report_in_flight_stays_missing() {
        let mut session = claimed();
        let name = session.begin(true);
        session.soil();
        assert!(session.accept(&name, 5, &message(1, 7, 0), false));
        assert!(session.is_dirty());
    }

    #[test]
    fn an_agent_that_never_reports_in_full_is_left_to_its_numbers() {
        let mut session = claimed();
        session.soil();
        assert!(session.asks(1, 2) && session.asks(2, 2) && !session.asks(3, 2));
        assert_eq!(session.answers(&message(4, 7, 0)), None, "the gap goes to a worker");
    }

    #[test]
    fn a_doubted_session_is_held_lacking_or_lost() {
        let fresh = SessionId([9; 16]);
        let doubted = |held| {
            let mut session = claimed();
            session.doubt();
            assert_eq!(session.answers(&message(1, 7, 0)), Some(5), "it goes on meanwhile");
            session.resumed(5, held, fresh);
            session
        };
        assert_eq!(doubted(Held::Yes).standing(), Standing::Sure);
        let mut lacking = doubted(Held::ButLacking);
        assert_eq!(lacking.standing(), Standing::Dirty { asked: 0, at: 0 });
        assert_eq!(lacking.begin(false).epoch, 5);
        let mut lost = doubted(Held::No);
        let claim = lost.begin(true);
        assert_eq!((claim.epoch, claim.floor, claim.session), (0, 5, fresh));
        assert!(lost.accept(&claim, 6, &message(2, 7, 0), false));
        lost.doubt();
        lost.resumed(5, Held::No, SessionId([8; 16]));
        assert_eq!(lost.epoch(), 6, "an answer about an older session");
    }

    #[test]
    fn a_claim_of_unknown_fate_is_a_new_session_s_next_time() {
        let mut session = Session::new(InstanceUid::from_bytes([1; 16]), SessionId([1; 16]));
        let name = session.begin(false);
        session.fail(&name, SessionId([2; 16]));
        assert_eq!(session.answers(&message(1, 7, 0)), None, "it was never held");
        let again = session.begin(false);
        assert_eq!((again.session, again.epoch, again.n), (SessionId([2; 16]), 0, 1));
    }

    #[test]
    fn a_refused_message_does_not_count_as_answered() {
        let mut session = claimed();
        let name = session.begin(false);
        assert!(session.accept(&name, 5, &message(1, 7, 0), true));
        assert_eq!(session.end().unwrap().answered, Some(0));
    }

    #[test]
    fn what_a_superseded_session_hears_is_void() {
        let mut session = claimed();
        let name = session.begin(false);
        session.forget(SessionId([2; 16]));
        assert!(!session.accept(&name, 5, &message(1, 7, 0), false));
        assert_eq!(session.end(), None);
    }

    #[test]
    fn an_older_decision_never_follows_a_newer_one() {
        let mut session = claimed();
        let taken = |session: &mut Session, decision| {
            session.offers(Parts::CONFIG, Decisions([decision, 0, 0])).is_empty()
        };
        assert!(taken(&mut session, 5) && taken(&mut session, 5), "the same again");
        assert!(!taken(&mut session, 4));
        session.forget(SessionId([2; 16]));
        assert!(taken(&mut session, 1), "another session");
    }

    #[test]
    fn numbers_wrap() {
        let mut session = claimed();
        let name = session.begin(false);
        session.accept(&name, 5, &message(u64::MAX, 7, 0), false);
        assert_eq!(session.answers(&message(0, 7, 0)), Some(5));
    }
}
