//! I2, for what is done once: a command that was accepted is in the ledger, in the end each of its
//! targets is settled, and where it stands is true. What an agent was told is known from the agent
//! alone.

use std::collections::BTreeMap;

use model::command::{State, Target};
use opamp::InstanceUid;
use store::tables::commands::Part;

use super::{Evidence, Violation, i03_at_most_once, violation};
use crate::history::{History, Order, Tell, Wish, Word};
use crate::operators;

/// How far a clock may be ahead of the world's before what it says keeps a command open, in
/// milliseconds.
const AHEAD_MS: u64 = 1_000;
/// What may be lost on a command's way: one of them is in the reason for what nobody knows.
const HOPS: [&str; 3] = ["gateway", "record", "worker"];

/// Accepted commands that the ledger does not know.
pub(super) fn lost(evidence: &Evidence, history: &History) -> Vec<Violation> {
    let accepted = history.orders.iter().filter(|order| order.done == Some(true));
    let gone = accepted.filter_map(|order| {
        let Wish::Tell(tell) = &order.wish else { return None };
        let kept = evidence.commands.contains_key(&operators::command_id(tell.number));
        let what = || format!("command {}, accepted at {}, is gone", tell.number, order.at);
        (!kept).then(|| violation("I2", what()))
    });
    gone.collect()
}

/// Targets that are not settled. At the end, it is no matter if one has only to wait: a clock that
/// was ahead may have said when that began.
pub(super) fn open(evidence: &Evidence, at_the_end: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for part in evidence.commands.values() {
        let Some(order) = &part.order else { continue };
        // What was written by a clock that was ahead waits until the others have caught up.
        let ahead = |target: &Target| {
            let newest = target.changed.max(target.routed).max(target.again).max(order.created);
            newest.0 > evidence.now.0 + AHEAD_MS
        };
        let done = |target: &Target| at_the_end && target.is_past();
        let waits = |target: &&Target| {
            !target.is_settled(order, evidence.now) && !ahead(target) && !done(target)
        };
        for target in part.targets.iter().filter(waits) {
            let what = format!("{:?} {} at {target:?}", order.action, order.id);
            found.push(violation("I2", format!("not settled: {what}")));
        }
    }
    found
}

/// Targets that do not stand where they say.
pub(super) fn untrue(evidence: &Evidence, history: &History) -> Vec<Violation> {
    let told = i03_at_most_once::told(history);
    let times = |uid: InstanceUid, word: Word| told.get(&(uid, word)).copied().unwrap_or(0);
    let mut found = Vec::new();
    let mut counts: BTreeMap<(InstanceUid, Word), Counts> = BTreeMap::new();
    for tell in &history.tells {
        let part = evidence.commands.get(&operators::command_id(tell.number));
        for uid in &tell.agents {
            let target = part.and_then(|part| target(part, uid));
            let Some(target) = target else {
                let counts = counts.entry((*uid, tell.what)).or_default();
                match was_refused(tell, history) {
                    true => counts.surely_not += 1,
                    // It may be on its way to the ledger.
                    false => counts.maybe += 1,
                }
                continue;
            };
            counts.entry((*uid, tell.what)).or_default().add(target, tell.what);
            if target.state == State::Unknown && !HOPS.iter().any(|hop| target.reason.contains(hop))
            {
                found.push(violation("I2", format!("no hop named: {target:?}")));
            }
        }
    }
    for ((uid, word), counts) in &counts {
        let times = times(*uid, *word);
        let least = counts.surely;
        // The server asks for full state for reasons of its own.
        let most = if *word == Word::Refresh { u64::MAX } else { counts.surely + counts.maybe };
        if !(least..=most).contains(&times) {
            let what = format!("{uid} was told {word:?} {times} times: {counts:?}");
            found.push(violation("I2", what));
        }
    }
    found
}

/// Commands to an agent that look alike, by what is said of them.
#[derive(Debug, Default)]
struct Counts {
    surely: u64,
    maybe: u64,
    surely_not: u64,
}

impl Counts {
    fn add(&mut self, target: &Target, word: Word) {
        match target.state {
            // Its effect was seen, of which the agent may have had reasons of its own.
            State::Confirmed if word == Word::Refresh => self.maybe += 1,
            // The next poll came, which an agent also sends that gave up the one before it.
            State::Delivered if target.gateway.is_none() => self.maybe += 1,
            State::Delivered | State::Confirmed => self.surely += 1,
            State::Queued | State::Routed | State::Sent | State::Unknown => self.maybe += 1,
            State::Refused | State::Expired | State::Cancelled => self.surely_not += 1,
        }
    }
}

/// Whether its operator was told, each time, that nothing will be done.
fn was_refused(tell: &Tell, history: &History) -> bool {
    let same = |order: &&Order| matches!(&order.wish, Wish::Tell(other) if other == tell);
    let mut orders = history.orders.iter().filter(same).peekable();
    orders.peek().is_some() && orders.all(|order| order.done == Some(false))
}

fn target<'a>(part: &'a Part, uid: &InstanceUid) -> Option<&'a Target> {
    part.targets.iter().find(|target| target.uid == *uid)
}
