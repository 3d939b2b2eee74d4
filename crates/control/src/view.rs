//! The whole fleet in memory: lists and selectors cost no store command.
//!
//! Built from a scan of the records and kept current from the event log; presence only touches
//! when somebody was last heard.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bus::event::Told;
use bus::{Position, v1};
use bytes::Bytes;
use model::assign::Assignments;
use model::components::ListHash;
use model::credential::Admission;
use model::selector::Selector;
use model::{AgentSummary, Clock, GatewayId, Timestamp};
use opamp::InstanceUid;
use tokio::sync::{Notify, watch};

use crate::Limits;

mod feed;
mod impact;
mod replies;

pub(crate) use feed::Feed;
pub(crate) use impact::Impact;
use replies::Replies;
pub(crate) use replies::json_member;

/// The fleet as far as this control knows.
#[derive(Debug)]
pub(crate) struct View {
    limits: Limits,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
    /// Whether there was a snapshot.
    ready: watch::Sender<bool>,
    /// Rung when agents stand otherwise with what they are offered.
    stirred: Notify,
    /// Rung when somebody came in whose credentials are to be looked at.
    came: Notify,
    /// What agents said lately.
    pub(crate) replies: Replies,
}

#[derive(Debug)]
struct State {
    agents: BTreeMap<InstanceUid, Entry>,
    /// When each gateway was last heard, by our own clock. One that turns up in a record counts as
    /// heard then: its first sign of life may still be on its way.
    gateways: BTreeMap<GatewayId, Timestamp>,
    /// Everything before it in the event log is in here.
    next: Position,
    /// When what the newest event tells of happened.
    last_event: Option<Timestamp>,
}

/// An agent in the view.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Version of the record this is the summary of.
    pub(crate) version: u64,
    pub(crate) summary: Arc<AgentSummary>,
    /// When presence last heard of it.
    pub(crate) heard: Timestamp,
}

/// An agent as it is shown: what is known, and whether it can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) uid: InstanceUid,
    pub(crate) entry: Entry,
    pub(crate) connected: bool,
}

/// A page of agents.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) agents: Vec<Shown>,
    /// There are more after the last one.
    pub(crate) more: bool,
    /// Agents selected over all pages.
    pub(crate) total: usize,
}

/// The fleet at one place of the event log.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Where the log goes on. Some of what follows there may be in here already.
    pub(crate) next: Position,
    /// Agents that were selected.
    pub(crate) selected: Vec<Shown>,
    /// Versions of all the others.
    pub(crate) others: Vec<(InstanceUid, u64)>,
}

impl View {
    pub(crate) fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let (agents, gateways) = (BTreeMap::new(), BTreeMap::new());
        let state = RwLock::new(State { agents, gateways, next: Position(0), last_event: None });
        Self {
            limits,
            clock,
            state,
            ready: watch::Sender::new(false),
            stirred: Notify::new(),
            came: Notify::new(),
            replies: Replies::default(),
        }
    }

    /// Whether a snapshot has been taken.
    pub(crate) fn ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits for the first snapshot.
    pub(crate) async fn until_ready(&self) {
        // Its sender is in self, so it cannot be gone.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// How far the log was applied, and when what was applied last happened.
    pub(crate) fn progress(&self) -> (Position, Option<Timestamp>) {
        let state = self.read();
        (state.next, state.last_event)
    }

    /// Agents that a selector selects, in order of their uid, after a given one.
    pub(crate) fn page(
        &self,
        selector: &Selector,
        after: Option<InstanceUid>,
        size: usize,
    ) -> Page {
        let (state, now) = (self.read(), self.clock.now());
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let total = match selector.as_str() {
            "" => state.agents.len(),
            _ => state.agents.values().filter(|entry| selector.matches(&*entry.summary)).count(),
        };
        let mut page = Page { total, ..Page::default() };
        let selected = state
            .agents
            .range((start, Bound::Unbounded))
            .filter(|(_, entry)| selector.matches(&*entry.summary));
        for (uid, entry) in selected {
            if page.agents.len() == size {
                page.more = true;
                break;
            }
            page.agents.push(self.show(&state, uid, entry, now));
        }
        page
    }

    /// All agents that a selector selects, in order of their uid.
    pub(crate) fn selected(&self, selector: &Selector) -> Vec<Shown> {
        let (state, now) = (self.read(), self.clock.now());
        let selected = state.agents.iter().filter(|(_, entry)| selector.matches(&*entry.summary));
        selected.map(|(uid, entry)| self.show(&state, uid, entry, now)).collect()
    }

    /// The whole fleet, and who of it a selector selects.
    pub(crate) fn survey(&self, selector: &Selector) -> Survey {
        let (state, now) = (self.read(), self.clock.now());
        let mut survey = Survey { next: state.next, selected: Vec::new(), others: Vec::new() };
        for (uid, entry) in &state.agents {
            match selector.matches(&*entry.summary) {
                true => survey.selected.push(self.show(&state, uid, entry, now)),
                false => survey.others.push((*uid, entry.version)),
            }
        }
        survey
    }

    /// An agent as its record has it, with what is known here of its life.
    pub(crate) fn join(&self, uid: &InstanceUid, version: u64, summary: AgentSummary) -> Shown {
        let (mut state, now) = (self.write(), self.clock.now());
        self.meet(&mut state, &summary, now);
        let heard = state.agents.get(uid).map_or(Timestamp(0), |held| held.heard);
        let entry = Entry { version, summary: Arc::new(summary), heard };
        self.show(&state, uid, &entry, now)
    }

    /// One agent.
    pub(crate) fn agent(&self, uid: &InstanceUid) -> Option<Shown> {
        let (state, now) = (self.read(), self.clock.now());
        let entry = state.agents.get(uid)?;
        Some(self.show(&state, uid, entry, now))
    }

    /// Agents that are not connected and were not heard for so long, as far as is known here, with
    /// their versions; and since when they were silent at the least.
    pub(crate) fn silent_for(&self, long: Duration) -> (Vec<(InstanceUid, u64)>, Timestamp) {
        let (state, now) = (self.read(), self.clock.now());
        let long = u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp(now.0.saturating_sub(long));
        let silent = |entry: &Entry| {
            let last = entry.heard.max(entry.summary.last_seen);
            last < since && !self.connected(&state, entry, now)
        };
        let found = state.agents.iter().filter(|(_, entry)| silent(entry));
        (found.map(|(uid, entry)| (*uid, entry.version)).collect(), since)
    }

    /// Gateways that were not heard for a lease, with the sessions that records say they hold.
    pub(crate) fn silent_gateways(&self) -> BTreeMap<GatewayId, Vec<(InstanceUid, u64)>> {
        let (state, now) = (self.read(), self.clock.now());
        let mut silent: BTreeMap<GatewayId, Vec<_>> = state
            .gateways
            .iter()
            .filter(|(_, heard)| now.millis_since(**heard) > self.limits.gateway_lease_ms)
            .map(|(gateway, _)| (gateway.clone(), Vec::new()))
            .collect();
        if silent.is_empty() {
            return silent;
        }
        for (uid, entry) in &state.agents {
            let gateway = entry.summary.gateway.as_ref();
            if let Some(sessions) = gateway.and_then(|gateway| silent.get_mut(gateway)) {
                sessions.push((*uid, entry.summary.epoch));
            }
        }
        silent.retain(|_, sessions| !sessions.is_empty());
        silent
    }

    /// Agents whose record has other labels than these.
    pub(crate) fn labelled_otherwise(
        &self,
        labels: &BTreeMap<InstanceUid, BTreeMap<String, String>>,
    ) -> Vec<InstanceUid> {
        let state = self.read();
        let wrong = |(uid, labels): &(&InstanceUid, &BTreeMap<String, String>)| {
            state.agents.get(uid).is_some_and(|entry| entry.summary.labels != **labels)
        };
        labels.iter().filter(wrong).map(|(uid, _)| *uid).collect()
    }

    /// How many of the agents that a selector selects have which list of components, and how many
    /// of them have none that is known.
    pub(crate) fn component_lists(&self, selector: &Selector) -> (BTreeMap<ListHash, u64>, u64) {
        let (state, mut holders, mut without) = (self.read(), BTreeMap::new(), 0);
        for entry in state.agents.values().filter(|entry| selector.matches(&*entry.summary)) {
            match entry.summary.components {
                Some(list) => *holders.entry(list).or_default() += 1,
                None => without += 1,
            }
        }
        (holders, without)
    }

    /// Waits until agents stand otherwise with what they are offered than at the last time.
    pub(crate) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Waits until somebody came in whose credentials are to be looked at.
    pub(crate) async fn somebody_came(&self) {
        self.came.notified().await;
    }

    /// Agents about whose credentials something is to be decided or written down.
    pub(crate) fn admissions(&self) -> Vec<(InstanceUid, Admission)> {
        let state = self.read();
        let found = state.agents.iter().filter_map(|(uid, entry)| {
            let admission = entry.summary.admission.as_ref()?;
            (admission.is_new() || admission.is_proof()).then(|| (*uid, (**admission).clone()))
        });
        found.collect()
    }

    /// Whether an agent's record has an older version of its credentials than this.
    pub(crate) fn knows_less(&self, uid: &InstanceUid, version: u64) -> bool {
        let state = self.read();
        let admission = state.agents.get(uid).and_then(|it| it.summary.admission.as_ref());
        admission.is_some_and(|admission| admission.standing.version < version)
    }

    /// Agents that are offered something else than these assignments say.
    pub(crate) fn outdated(&self, assignments: &Assignments, decision: u64) -> Vec<InstanceUid> {
        let state = self.read();
        let outdated = |(uid, entry): &(&InstanceUid, &Entry)| {
            assignments.outdates(decision, uid, &entry.summary)
        };
        state.agents.iter().filter(outdated).map(|(uid, _)| *uid).collect()
    }

    /// Agents with a session that have not said a word about what they are offered.
    pub(crate) fn unanswered(&self) -> Vec<InstanceUid> {
        let (state, now) = (self.read(), self.clock.now());
        let waiting = |entry: &Entry| {
            let agent = &entry.summary;
            agent.owes_an_answer() && agent.gateway.is_some() && self.connected(&state, entry, now)
        };
        state.agents.iter().filter(|(_, entry)| waiting(entry)).map(|(uid, _)| *uid).collect()
    }

    /// Takes an event. What is not newer than what is held changes nothing; then it says false.
    pub(crate) fn apply(&self, told: Told) -> bool {
        let mut state = self.write();
        state.last_event = state.last_event.max(Some(told.at));
        let held = state.agents.get(&told.instance_uid);
        if held.is_some_and(|held| held.version >= told.version) {
            return false;
        }
        let before = held.map(|held| &*held.summary);
        let stirs = stands_otherwise(before, told.summary.as_ref());
        match told.summary {
            Some(summary) => {
                if summary.admission.as_ref().is_some_and(|it| it.is_new() || it.is_proof()) {
                    self.came.notify_one();
                }
                let heard = held.map_or(Timestamp(0), |held| held.heard);
                self.meet(&mut state, &summary, self.clock.now());
                let entry = Entry { version: told.version, summary: Arc::new(summary), heard };
                state.agents.insert(told.instance_uid, entry);
            }
            None => drop(state.agents.remove(&told.instance_uid)),
        }
        if stirs {
            self.stirred.notify_one();
        }
        metrics::gauge!("muster_control_agents").set(count(state.agents.len()));
        true
    }

    /// The log was applied up to here.
    fn reached(&self, next: Position) {
        self.write().next = next;
    }

    /// Takes a gateway's sign of life and the agents it heard. Returns those that it takes for its
    /// own though their records say otherwise: whoever told it so was not heard.
    pub(crate) fn heard(&self, presence: &v1::Presence) -> Vec<Bytes> {
        let (mut state, mut others) = (self.write(), Vec::new());
        if !presence.gateway_id.is_empty() {
            let gateway = GatewayId::new(&presence.gateway_id);
            state.gateways.insert(gateway, self.clock.now());
        }
        for seen in &presence.seen {
            let Ok(uid) = InstanceUid::try_from(&seen.instance_uid[..]) else { continue };
            if let Some(entry) = state.agents.get_mut(&uid) {
                entry.heard = entry.heard.max(Timestamp(seen.seen_unix_ms));
                if is_anothers(&entry.summary, seen.epoch) {
                    others.push(seen.instance_uid.clone());
                }
            }
        }
        others
    }

    /// Puts a snapshot in place of everything but what presence said. The log goes on at `next`.
    fn replace(&self, mut agents: BTreeMap<InstanceUid, Entry>, next: Position) {
        let (mut state, now) = (self.write(), self.clock.now());
        for (uid, entry) in &mut agents {
            let held = state.agents.get(uid).map_or(Timestamp(0), |held| held.heard);
            entry.heard = entry.heard.max(held);
            self.meet(&mut state, &entry.summary, now);
        }
        metrics::gauge!("muster_control_agents").set(count(agents.len()));
        let before = std::mem::replace(&mut state.agents, agents);
        state.next = next;
        drop(state);
        self.ready.send_replace(true);
        // Freeing a large fleet takes a while, and nobody needs to wait for that.
        drop(before);
    }

    /// Takes a record's word for a gateway that was never heard of. Those long silent go.
    fn meet(&self, state: &mut State, summary: &AgentSummary, now: Timestamp) {
        let Some(gateway) = &summary.gateway else { return };
        if !state.gateways.contains_key(gateway) {
            let memory = self.limits.gateway_memory_ms;
            state.gateways.retain(|_, heard| now.millis_since(*heard) <= memory);
            state.gateways.insert(gateway.clone(), now);
        }
    }

    fn show(&self, state: &State, uid: &InstanceUid, entry: &Entry, now: Timestamp) -> Shown {
        let connected = self.connected(state, entry, now);
        Shown { uid: *uid, entry: entry.clone(), connected }
    }

    fn connected(&self, state: &State, entry: &Entry, now: Timestamp) -> bool {
        let Some(gateway) = &entry.summary.gateway else {
            let last = entry.heard.max(entry.summary.last_seen);
            return entry.summary.polls && now.millis_since(last) <= self.limits.poll_lease_ms;
        };
        let heard = state.gateways.get(gateway);
        heard.is_some_and(|heard| now.millis_since(*heard) <= self.limits.gateway_lease_ms)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an agent is not held since this epoch any more. A view that lags knows less, never more.
fn is_anothers(summary: &AgentSummary, epoch: u64) -> bool {
    let nobodys = summary.gateway.is_none() && epoch == summary.epoch;
    epoch != 0 && (epoch < summary.epoch || nobodys)
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Whether an agent stands otherwise with what it is offered, or came or went.
fn stands_otherwise(before: Option<&AgentSummary>, after: Option<&AgentSummary>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return before.is_some() != after.is_some();
    };
    before.gateway.is_some() != after.gateway.is_some()
        || (&before.config, &before.packages, &before.settings)
            != (&after.config, &after.packages, &after.settings)
}

#[cfg(test)]
mod tests;
