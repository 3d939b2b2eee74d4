//! One agent's life on one connection: what the gateway answers itself and how it numbers what it
//! asks. Pure. One report is in flight at a time, and the answered number moves on answers alone,
//! never on sending.

use std::collections::VecDeque;

use model::SessionId;
use opamp::InstanceUid;

use crate::incoming::Incoming;

/// An agent's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) uid: InstanceUid,
    id: SessionId,
    /// 0 until a worker has granted one.
    epoch: u64,
    /// Reports begun in this epoch.
    n: u64,
    /// Last number answered: locally, or by a worker that has stored it.
    answered: Option<u64>,
    /// What the agent last said it can do.
    capabilities: u64,
    /// A report is on its way, or its turn is being waited for.
    busy: bool,
    /// Messages behind the one in flight.
    waiting: VecDeque<Incoming>,
}

/// How one report names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) session: SessionId,
    pub(crate) epoch: u64,
    pub(crate) n: u64,
    pub(crate) answered: Option<u64>,
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
            n: 0,
            answered: None,
            capabilities: 0,
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

    /// Answers a message here if nothing can be learnt from it: the agent is held, nothing of it
    /// is in flight, and the number is the next one.
    pub(crate) fn answers(&mut self, message: &Incoming) -> bool {
        let says_nothing = message.bare
            && (message.capabilities == 0 || message.capabilities == self.capabilities);
        let next = self.answered.map(|answered| answered.wrapping_add(1));
        let here =
            self.epoch != 0 && !self.busy && says_nothing && next == Some(message.sequence_num);
        if here {
            self.answered = next;
        }
        here
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

    /// Names the next report. A repeat of it keeps the name.
    pub(crate) fn begin(&mut self) -> Name {
        self.n += 1;
        Name {
            session: self.id,
            epoch: self.epoch,
            n: self.n,
            answered: self.answered.filter(|_| self.epoch != 0),
        }
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
        if !refused {
            self.answered = Some(of.sequence_num);
            if of.capabilities != 0 {
                self.capabilities = of.capabilities;
            }
        }
        true
    }

    /// A report's fate is unknown. The answered number stands still, so that the next message is
    /// a report and shows the gap. A claim that may have been granted is not repeated with other
    /// contents: the next one is a new session's.
    pub(crate) fn fail(&mut self, name: &Name, fresh: SessionId) {
        if name.epoch == 0 && name.session == self.id {
            self.forget(fresh);
        }
    }

    /// The agent is held elsewhere, or its goodbye is taken: what is said next claims it anew.
    pub(crate) fn forget(&mut self, fresh: SessionId) {
        self.id = fresh;
        self.epoch = 0;
        self.n = 0;
        self.answered = None;
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
        assert!(!session.answers(&message(0, 7, 0)), "claims come first");
        assert!(session.queue(message(0, 7, 0)));
        let first = session.next().unwrap();
        let name = session.begin();
        assert_eq!((name.epoch, name.n, name.answered), (0, 1, None));
        assert!(session.accept(&name, 5, &first, false));
        assert!(session.next().is_none());
        session
    }

    #[test]
    fn answers_bare_messages_with_the_next_number() {
        let mut session = claimed();
        assert!(session.answers(&message(1, 7, 0)));
        assert!(session.answers(&message(2, 0, 0)), "omitted capabilities");
        assert!(!session.answers(&message(2, 7, 0)), "repeated number");
        assert!(!session.answers(&message(4, 7, 0)), "gap");
        assert!(!session.answers(&message(3, 8, 0)), "other capabilities");
        assert!(!session.answers(&message(3, 7, 1)), "a flag");
        assert!(session.answers(&message(3, 7, 0)));
        assert_eq!(session.end().unwrap().answered, Some(3));
    }

    #[test]
    fn answers_nothing_behind_a_report_in_flight() {
        let mut session = claimed();
        assert!(session.queue(message(1, 7, 1)));
        assert!(!session.answers(&message(2, 7, 0)));
        assert!(!session.answers(&message(1, 7, 0)), "its number again");
        assert!(!session.queue(message(2, 7, 0)), "one works the queue");
        assert_eq!(session.next().unwrap().sequence_num, 1);
        assert_eq!(session.begin().answered, Some(0));
        assert_eq!(session.next().unwrap().sequence_num, 2);
    }

    #[test]
    fn an_unknown_fate_leaves_the_answered_number() {
        let mut session = claimed();
        let name = session.begin();
        session.fail(&name, SessionId([9; 16]));
        assert!(!session.answers(&message(2, 7, 0)));
        let next = session.begin();
        assert_eq!((next.epoch, next.n, next.answered), (5, name.n + 1, Some(0)));
        assert_eq!(next.session, name.session);
    }

    #[test]
    fn a_claim_of_unknown_fate_is_a_new_session_s_next_time() {
        let mut session = Session::new(InstanceUid::from_bytes([1; 16]), SessionId([1; 16]));
        let name = session.begin();
        session.fail(&name, SessionId([2; 16]));
        let again = session.begin();
        assert_eq!((again.session, again.epoch, again.n), (SessionId([2; 16]), 0, 1));
    }

    #[test]
    fn a_refused_message_does_not_count_as_answered() {
        let mut session = claimed();
        let name = session.begin();
        assert!(session.accept(&name, 5, &message(1, 7, 0), true));
        assert_eq!(session.end().unwrap().answered, Some(0));
    }

    #[test]
    fn what_a_superseded_session_hears_is_void() {
        let mut session = claimed();
        let name = session.begin();
        session.forget(SessionId([2; 16]));
        assert!(!session.accept(&name, 5, &message(1, 7, 0), false));
        assert_eq!(session.end(), None);
    }

    #[test]
    fn numbers_wrap() {
        let mut session = claimed();
        let name = session.begin();
        session.accept(&name, 5, &message(u64::MAX, 7, 0), false);
        assert!(session.answers(&message(0, 7, 0)));
    }
}
