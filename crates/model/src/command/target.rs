//! One agent of a command: where it stands, and what moves it on.

use opamp::InstanceUid;

use super::{
    ABSENT_MS, AGAIN_MS, ANSWER_MS, ATTEMPTS_MAX, Action, Hand, Order, PROOF_MS, Progress,
    RECORD_MS, Reply, SEND_MS, SETTLE_MS, Sight, Signs, Way,
};
use crate::{GatewayId, Timestamp};

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It waits. Nothing was sent.
    Queued,
    /// It was given to a gateway, or to the agent's record; what became of it is not known yet.
    Routed,
    /// It is on the agent's socket.
    Sent,
    /// The agent's end has it.
    Delivered,
    /// Its effect was seen.
    Confirmed,
    /// It was not sent, and will not be.
    Refused,
    /// It was not sent in time.
    Expired,
    /// Nobody knows whether it was sent. It is not sent again.
    Unknown,
    /// The operator took it back before it was sent.
    Cancelled,
}

impl State {
    /// Every state, in the order in which targets go through them.
    pub const ALL: [State; 9] = [
        State::Queued,
        State::Routed,
        State::Sent,
        State::Delivered,
        State::Confirmed,
        State::Refused,
        State::Expired,
        State::Unknown,
        State::Cancelled,
    ];
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is on the socket; no proof in time.
    Sent,
    /// The agent's end has it.
    Delivered,
    /// The gateway does not hold the agent at that epoch. Nothing was sent.
    NotOwner,
    /// The session takes nothing now. Nothing was sent.
    Busy,
    /// It came too late. Nothing was sent.
    Late,
    /// Nobody listens there. Nothing was sent.
    NoOne,
    /// The bus did not take it. Nothing was sent.
    NoBus,
    /// It was on its way to the socket when that broke.
    Broken,
    /// No answer.
    Silence,
    /// The agent holds a session now, or is not known. It does not wait in its record.
    NotPolling,
    /// Too much waits for the agent in its record already.
    Full,
    /// It does not wait in the record any more, and was not told.
    Withdrawn,
}

/// One agent of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which agent.
    pub uid: InstanceUid,
    /// Where it stands.
    pub state: State,
    /// Gateway that it was given to last; none if that was the agent's record.
    pub gateway: Option<GatewayId>,
    /// Epoch of the session it was meant for.
    pub epoch: u64,
    /// Times it was routed.
    pub attempts: u32,
    /// Why it stands so, where that needs saying.
    pub reason: String,
    /// The agent's signs when it was routed last.
    pub before: Signs,
    /// When it was routed last.
    pub routed: Timestamp,
    /// When its state changed last.
    pub changed: Timestamp,
    /// It is not routed to the same place again before then.
    pub again: Timestamp,
    /// What it answered, if an answer was waited for.
    pub reply: Option<Reply>,
}

impl Target {
    /// A target that waits.
    pub fn new(uid: InstanceUid, now: Timestamp) -> Self {
        Self {
            uid,
            state: State::Queued,
            gateway: None,
            epoch: 0,
            attempts: 0,
            reason: String::new(),
            before: Signs::default(),
            routed: Timestamp(0),
            changed: now,
            again: Timestamp(0),
            reply: None,
        }
    }

    /// How it may be routed now, if it may.
    pub fn ready(&self, order: &Order, sight: &Sight, now: Timestamp) -> Option<Way> {
        if self.state != State::Queued || order.is_over(now) {
            return None;
        }
        if self.attempts > 0 && now.millis_since(self.changed) < SETTLE_MS {
            return None;
        }
        let free = match &sight.way {
            Way::None => false,
            Way::Record if !order.queue || !order.action.is_told() => false,
            Way::Session { gateway, epoch } => {
                now >= self.again || !self.was_at(Some(gateway), *epoch)
            }
            Way::Record => now >= self.again || !self.was_at(None, 0),
        };
        free.then(|| sight.way.clone())
    }

    fn was_at(&self, gateway: Option<&GatewayId>, epoch: u64) -> bool {
        self.attempts > 0 && self.gateway.as_ref() == gateway && self.epoch == epoch
    }

    /// It is about to be given to a gateway or a record. Durable before anybody is asked.
    pub fn route(&mut self, way: &Way, signs: Signs, now: Timestamp) {
        debug_assert_eq!(self.state, State::Queued, "only what waits is routed");
        (self.gateway, self.epoch) = match way {
            Way::Session { gateway, epoch } => (Some(gateway.clone()), *epoch),
            Way::Record | Way::None => (None, 0),
        };
        self.attempts += 1;
        self.before = signs;
        self.routed = now;
        self.reason.clear();
        self.become_(State::Routed, now);
    }

    /// Takes what became of an attempt. Says whether that changed anything.
    pub fn answered(
        &mut self,
        attempt: u32,
        answer: Answer,
        order: &Order,
        now: Timestamp,
    ) -> bool {
        if self.state != State::Routed || self.attempts != attempt {
            return false;
        }
        let place = self.place();
        match answer {
            Answer::Sent => self.become_(State::Sent, now),
            Answer::Delivered => self.become_(State::Delivered, now),
            Answer::Broken => {
                let reason = format!("the connection broke while {place} was sending it");
                self.end(State::Unknown, &reason, now);
            }
            Answer::Silence => {
                let reason = match &self.gateway {
                    Some(gateway) => format!(
                        "gateway {gateway} did not answer (epoch {}, attempt {})",
                        self.epoch, self.attempts
                    ),
                    None => format!("no worker answered for {place}"),
                };
                self.end(State::Unknown, &reason, now);
            }
            Answer::Withdrawn if order.is_over(now) => {
                self.end(State::Expired, "the agent did not poll in time", now);
            }
            Answer::NotOwner => self.bounce("does not hold the agent", AGAIN_MS, order, now),
            Answer::Busy => self.bounce("could not send it in time", AGAIN_MS, order, now),
            Answer::Late => self.bounce("was asked too late", 0, order, now),
            Answer::NoOne => self.bounce("does not listen", ABSENT_MS, order, now),
            Answer::NoBus => self.bounce("could not be asked", AGAIN_MS, order, now),
            Answer::NotPolling => self.bounce("takes no commands now", AGAIN_MS, order, now),
            Answer::Full => self.bounce("is full of commands", AGAIN_MS, order, now),
            Answer::Withdrawn => self.bounce("gave it back", 0, order, now),
        }
        true
    }

    /// Looks whether something happened that nobody answers for. Says whether it changed.
    pub fn look(&mut self, order: &Order, sight: &Sight, hand: Hand<'_>, now: Timestamp) -> bool {
        let before = self.state;
        match self.state {
            State::Queued if order.is_over(now) => self.expire(order, sight, now),
            State::Routed if self.gateway.is_some() => self.look_at_gateway(hand, now),
            State::Routed => self.look_at_record(order, sight, hand, now),
            State::Sent | State::Delivered | State::Unknown if !self.is_settled(order, now) => {
                self.look_for_effect(order, sight, now);
            }
            _ => {}
        }
        self.state != before
    }

    fn expire(&mut self, order: &Order, sight: &Sight, now: Timestamp) {
        let reason = match (&sight.way, self.reason.is_empty()) {
            (_, false) => std::mem::take(&mut self.reason),
            (Way::None, _) => "the agent was not connected".to_owned(),
            (Way::Record, _) if !order.queue => "the agent polls".to_owned(),
            _ => "its turn did not come".to_owned(),
        };
        self.end(State::Expired, &reason, now);
    }

    fn look_at_gateway(&mut self, hand: Hand<'_>, now: Timestamp) {
        let Hand::Lost(driver) = hand else { return };
        if now.millis_since(self.routed) >= ANSWER_MS {
            let reason = format!(
                "{driver} was lost before {} answered (attempt {})",
                self.place(),
                self.attempts
            );
            self.end(State::Unknown, &reason, now);
        }
    }

    fn look_at_record(&mut self, order: &Order, sight: &Sight, hand: Hand<'_>, now: Timestamp) {
        let ended = Timestamp(order.expires.0.saturating_add(order.confirm_ms + RECORD_MS));
        // No other poll comes of an agent that goes by another uid.
        let renamed = sight.renamed && matches!(order.action, Action::Reidentify { .. });
        match sight.progress {
            Some(Progress::Replied) if renamed => self.become_(State::Confirmed, now),
            Some(Progress::Delivered) => self.become_(State::Delivered, now),
            Some(Progress::Restarted | Progress::Reported) => self.prove(order, sight, now),
            Some(Progress::Expired) => {
                self.end(State::Expired, "the agent did not poll in time", now);
            }
            Some(Progress::Returned) => {
                self.bounce("gave it back: the agent does not poll any more", 0, order, now);
            }
            Some(Progress::Waiting | Progress::Replied) if now < ended => {}
            Some(Progress::Waiting) => {
                self.end(State::Unknown, "no worker answered for the agent's record", now);
            }
            Some(Progress::Replied) => {
                let reason = "the agent's record had it told; no poll came since";
                self.end(State::Unknown, reason, now);
            }
            None if now < ended && hand == Hand::Waits => {}
            None if now.millis_since(self.routed) < order.confirm_ms.max(ANSWER_MS) => {}
            None => {
                let reason = match hand {
                    Hand::Lost(driver) => {
                        format!("{driver} was lost before {} had it", self.place())
                    }
                    Hand::Waits => format!("no worker answered for {}", self.place()),
                    Hand::Took => format!("{} was lost", self.place()),
                };
                self.end(State::Unknown, &reason, now);
            }
        }
    }

    /// The record saw that the agent restarted or reported since it was told.
    fn prove(&mut self, order: &Order, sight: &Sight, now: Timestamp) {
        let fits = matches!(
            (&order.action, sight.progress),
            (Action::Restart, Some(Progress::Restarted))
                | (Action::Refresh, Some(Progress::Reported))
        );
        let state = if fits { State::Confirmed } else { State::Delivered };
        self.become_(state, now);
    }

    fn look_for_effect(&mut self, order: &Order, sight: &Sight, now: Timestamp) {
        if self.has_effect(order, sight) {
            self.reason.clear();
            if matches!(order.action, Action::Custom(_)) {
                self.reply.clone_from(&sight.reply);
            }
            self.become_(State::Confirmed, now);
        } else if self.state != State::Delivered && sight.progress == Some(Progress::Delivered) {
            self.become_(State::Delivered, now);
        }
    }

    fn has_effect(&self, order: &Order, sight: &Sight) -> bool {
        // While it waited in the record, the agent may have done so of its own accord.
        let since = self.gateway.is_some() && sight.epoch >= self.epoch;
        match &order.action {
            Action::Restart => {
                // What it does much later is somebody else's doing, maybe another command's.
                let until = self.routed.0.saturating_add(SEND_MS + PROOF_MS + order.confirm_ms);
                let restarted = sight.signs.restarts > self.before.restarts;
                sight.progress == Some(Progress::Restarted)
                    || since && restarted && sight.signs.restarted.0 <= until
            }
            Action::Refresh => {
                sight.progress == Some(Progress::Reported)
                    || since && sight.signs.full_reports > self.before.full_reports
            }
            Action::Disconnect => sight.session.as_ref().is_none_or(|(_, at)| *at > self.epoch),
            Action::Reidentify { .. } => sight.renamed,
            Action::Custom(_) => sight.reply.is_some(),
        }
    }

    /// Whether nothing more is waited for.
    pub fn is_settled(&self, order: &Order, now: Timestamp) -> bool {
        match self.state {
            State::Queued | State::Routed => false,
            State::Confirmed | State::Refused | State::Expired | State::Cancelled => true,
            State::Delivered if !order.action.is_visible() => true,
            State::Sent | State::Delivered | State::Unknown => {
                now.millis_since(self.changed) >= order.confirm_ms
            }
        }
    }

    /// Whether the next command for this agent may be routed: this one cannot overtake it any more.
    pub fn is_past(&self) -> bool {
        !matches!(self.state, State::Queued | State::Routed)
    }

    /// Takes it back if it was not sent. Says whether it was.
    pub fn cancel(&mut self, now: Timestamp) -> bool {
        let waits = self.state == State::Queued;
        if waits {
            self.end(State::Cancelled, "", now);
        }
        waits
    }

    /// What was restored from a backup is not sent on the word of a file: who knows what happened
    /// since.
    pub fn restored(&mut self, now: Timestamp) -> bool {
        match self.state {
            State::Queued => self.end(State::Cancelled, "restored from a backup", now),
            State::Routed => {
                let reason = format!("restored from a backup after {} was asked", self.place());
                self.end(State::Unknown, &reason, now);
            }
            _ => return false,
        }
        true
    }

    /// It surely was not sent: it waits again, or that is the end of it.
    fn bounce(&mut self, why: &str, pause_ms: u64, order: &Order, now: Timestamp) {
        let reason = format!("{} {why}", self.place());
        if order.queue || self.attempts < ATTEMPTS_MAX {
            // A second try follows soon; what comes after that waits until something changes.
            let tries = if self.attempts < ATTEMPTS_MAX { 1 } else { ABSENT_MS / AGAIN_MS };
            self.again = Timestamp(now.0.saturating_add(pause_ms.max(AGAIN_MS / 10) * tries));
            self.end(State::Queued, &reason, now);
        } else {
            self.end(State::Refused, &reason, now);
        }
    }

    fn place(&self) -> String {
        match &self.gateway {
            Some(gateway) => format!("gateway {gateway} (epoch {})", self.epoch),
            None => "the agent's record".to_owned(),
        }
    }

    fn end(&mut self, state: State, reason: &str, now: Timestamp) {
        reason.clone_into(&mut self.reason);
        self.become_(state, now);
    }

    fn become_(&mut self, state: State, now: Timestamp) {
        (self.state, self.changed) = (state, now);
    }
}
