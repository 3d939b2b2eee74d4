//! A command in the hands of its driver.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::Timestamp;
use model::command::{Allowance, Answer, CommandId, Hand, Line, Order, Progress, Target, Way};
use opamp::InstanceUid;
use tokio::sync::oneshot;

use super::outgoing::{self, Room, Sending};
use super::{Made, Sights};
use crate::Error;
use crate::ledger::Filed;

/// A command in the hands of its driver.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) filed: Filed,
    /// Who drove it before, for what it left behind.
    before: String,
    allowance: Allowance,
    /// What agents are told; none if it is done to them.
    pub(super) message: Option<Bytes>,
    /// Where each target is, by part and place in it.
    places: BTreeMap<InstanceUid, (usize, usize)>,
    /// Who waits for an answer, and who does not any more.
    hands: BTreeMap<InstanceUid, Asked>,
    /// Answers that are not in the ledger yet.
    unwritten: Vec<Answered>,
    /// Answers that came while it was in doubt.
    later: Vec<Answered>,
    /// Parts that are not in the ledger as they are here.
    pub(super) dirty: BTreeSet<usize>,
    /// The last write failed: nobody knows whether it happened.
    pub(super) doubtful: bool,
    /// Somebody else wrote it, and it could not be read again.
    pub(super) stale: bool,
    /// Who waits for it to be stored.
    pub(super) made: Option<oneshot::Sender<Result<Made, Error>>>,
}

/// Where an agent's record was asked for a target, or its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To be asked once it is written.
    Next,
    /// An answer comes.
    Waits,
    /// The record did not answer: again, at the earliest then.
    Again(Timestamp),
    /// The record has it.
    Took,
    /// The record is to be asked to give it back.
    Withdraw,
    /// It was asked to at this time.
    Withdrawing(Timestamp),
}

/// What became of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) command: CommandId,
    pub(super) uid: InstanceUid,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
}

/// What a gateway or a worker said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It moves the target on.
    Answer(Answer),
    /// The record has it.
    Took,
    /// No worker, or no word of one: ask again.
    Again,
}

impl Driven {
    /// `before` drove it, or nobody did.
    pub(super) fn new(filed: Filed, before: String, now: Timestamp) -> Self {
        let message = outgoing::message(&filed.order.action);
        let allowance = Allowance::new(&filed.order, now);
        let mut driven = Self {
            filed,
            before,
            allowance,
            message,
            places: BTreeMap::new(),
            hands: BTreeMap::new(),
            unwritten: Vec::new(),
            later: Vec::new(),
            dirty: BTreeSet::new(),
            doubtful: false,
            stale: false,
            made: None,
        };
        driven.find_places();
        driven
    }

    fn find_places(&mut self) {
        let leaves = self.filed.parts.iter().enumerate();
        let places = leaves.flat_map(|(part, leaf)| {
            leaf.targets.iter().enumerate().map(move |(at, target)| (target.uid, (part, at)))
        });
        self.places = places.collect();
    }

    /// Not in the ledger yet.
    pub(super) fn is_new(&self) -> bool {
        self.filed.parts[0].version == store::Version::ABSENT
    }

    pub(super) fn order(&self) -> &Order {
        &self.filed.order
    }

    pub(super) fn target(&self, uid: &InstanceUid) -> Option<&Target> {
        let (part, at) = self.places.get(uid)?;
        self.filed.parts[*part].targets.get(*at)
    }

    /// What others wrote meanwhile is what it goes on from, with the answers that came since.
    pub(super) fn reload(&mut self, filed: Filed, now: Timestamp) {
        self.filed = filed;
        self.dirty.clear();
        (self.doubtful, self.stale) = (false, false);
        self.find_places();
        // What was routed and not written was not sent.
        self.hands.retain(|_, asked| *asked != Asked::Next);
        let unwritten = std::mem::take(&mut self.unwritten);
        for answered in unwritten.into_iter().chain(std::mem::take(&mut self.later)) {
            self.answered(answered, now);
        }
    }

    /// All of it is in the ledger as it is here.
    pub(super) fn written(&mut self, now: Timestamp) {
        self.doubtful = false;
        self.unwritten.clear();
        for answered in std::mem::take(&mut self.later) {
            self.answered(answered, now);
        }
    }

    /// Takes what became of an attempt.
    pub(super) fn answered(&mut self, answered: Answered, now: Timestamp) {
        if self.doubtful {
            return self.later.push(answered);
        }
        let Some(&(part, at)) = self.places.get(&answered.uid) else { return };
        let (order, target) = (&self.filed.order, &mut self.filed.parts[part].targets[at]);
        if target.attempts != answered.attempt {
            return;
        }
        match answered.outcome {
            Outcome::Took => drop(self.hands.insert(answered.uid, Asked::Took)),
            Outcome::Again => {
                let later = Timestamp(now.0.saturating_add(model::command::AGAIN_MS));
                self.hands.insert(answered.uid, Asked::Again(later));
            }
            Outcome::Answer(answer) => {
                self.hands.remove(&answered.uid);
                if target.answered(answered.attempt, answer, order, now) {
                    self.dirty.insert(part);
                    self.unwritten.push(answered);
                }
            }
        }
    }

    /// Its targets take their places in the line at each agent.
    pub(super) fn line_up(&self, line: &mut Line) {
        for target in self.filed.targets().filter(|target| !target.is_past()) {
            line.join(target.uid, &self.filed.order);
        }
    }

    /// Looks at every target: what the view says of it, and whether its turn has come.
    pub(super) fn plan(&mut self, sights: &Sights, line: &Line, room: &mut Room, now: Timestamp) {
        self.allowance.refill(&self.filed.order, now);
        // The other parts are stored once the first one is.
        let parts = if self.is_new() { 1 } else { self.filed.parts.len() };
        for part in 0..parts {
            for at in 0..self.filed.parts[part].targets.len() {
                if self.plan_one((part, at), sights, line, room, now) {
                    self.dirty.insert(part);
                }
            }
        }
    }

    fn plan_one(
        &mut self,
        (part, at): (usize, usize),
        sights: &Sights,
        line: &Line,
        room: &mut Room,
        now: Timestamp,
    ) -> bool {
        let order = &self.filed.order;
        let target = &mut self.filed.parts[part].targets[at];
        if target.is_settled(order, now) {
            return false;
        }
        let mut sight = sights.of(&target.uid, order);
        sight.reply = sights.reply(target, order);
        let hand = match self.hands.get(&target.uid) {
            Some(Asked::Took | Asked::Withdraw | Asked::Withdrawing(_)) => Hand::Took,
            Some(_) => Hand::Waits,
            None => Hand::Lost(&self.before),
        };
        let mut changed = target.look(order, &sight, hand, now);
        let turn = line.is_first(&target.uid, order);
        if let Some(way) = target.ready(order, &sight, now).filter(|_| turn)
            && room.has(&order.id, &way)
            && self.allowance.take()
        {
            room.take(&order.id, &way);
            target.route(&way, sight.signs, now);
            self.hands.insert(target.uid, Asked::Next);
            changed = true;
        }
        if changed && target.is_past() {
            self.hands.remove(&target.uid);
        }
        self.ask_record(part, at, sight.progress, now);
        changed
    }

    /// A record is asked again until it has answered, and for the command back when it is over.
    fn ask_record(&mut self, part: usize, at: usize, known: Option<Progress>, now: Timestamp) {
        let target = &self.filed.parts[part].targets[at];
        if target.state != model::command::State::Routed || target.gateway.is_some() {
            return;
        }
        let asked = self.hands.get(&target.uid).copied();
        let over = now.millis_since(self.filed.order.expires) >= model::command::AGAIN_MS;
        let paused = |since: Timestamp| now.millis_since(since) < 2 * model::command::AGAIN_MS;
        let next = match (asked, known) {
            (Some(Asked::Next | Asked::Waits), _) => return,
            (Some(Asked::Withdrawing(since)), _) if paused(since) => return,
            (_, Some(Progress::Waiting)) if over => Asked::Withdraw,
            (Some(Asked::Again(_) | Asked::Withdrawing(_)), None) if over => Asked::Withdraw,
            (Some(Asked::Again(at)), None) if now >= at => Asked::Next,
            (Some(Asked::Again(_)) | None, Some(_)) => Asked::Took,
            _ => return,
        };
        self.hands.insert(target.uid, next);
    }

    /// Targets that are to be sent now that all is written, by the way they go.
    pub(super) fn take_sending(&mut self) -> Vec<Sending> {
        let mut sending = Vec::new();
        for (uid, asked) in self.hands.iter_mut().filter(|(_, asked)| **asked == Asked::Next) {
            let Some(&(part, at)) = self.places.get(uid) else { continue };
            if self.dirty.contains(&part) {
                continue;
            }
            let target = &self.filed.parts[part].targets[at];
            let way = match &target.gateway {
                Some(gateway) => Way::Session { gateway: gateway.clone(), epoch: target.epoch },
                None => Way::Record,
            };
            *asked = Asked::Waits;
            let (attempt, routed) = (target.attempts, target.routed);
            sending.push(Sending { uid: *uid, attempt, way, routed });
        }
        sending
    }

    /// Targets that records are to be asked for.
    pub(super) fn take_withdrawn(&mut self, now: Timestamp) -> Vec<(InstanceUid, u32)> {
        let due = self.hands.iter_mut().filter(|(_, asked)| **asked == Asked::Withdraw);
        let uids = due.map(|(uid, asked)| {
            *asked = Asked::Withdrawing(now);
            *uid
        });
        let uids: Vec<InstanceUid> = uids.collect();
        let target = |uid: InstanceUid| Some((uid, self.target(&uid)?.attempts));
        uids.into_iter().filter_map(target).collect()
    }
}
