//! What decisions do to the agents in view: who waits for which config, and who would change.

use std::collections::BTreeMap;

use model::assign::{Assignment, Assignments};
use model::brake::{Standing, Tally, rank};
use model::selector::Labels as _;
use model::{AgentSummary, Timestamp};
use opamp::InstanceUid;

use super::{State, View, takes_config};
use crate::ledger::Relabel;
use crate::view::Entry;

/// Agents that change, by what they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Impact {
    pub(crate) agents: usize,
    /// Of these, not connected.
    pub(crate) disconnected: usize,
    /// Counts by service name and version.
    pub(crate) kinds: BTreeMap<(String, String), usize>,
}

impl Impact {
    pub(crate) fn add(&mut self, agent: &AgentSummary, connected: bool) {
        self.agents += 1;
        self.disconnected += usize::from(!connected);
        let named = |key| agent.value(key).unwrap_or_default().into_owned();
        let kind = (named("service.name"), named("service.version"));
        *self.kinds.entry(kind).or_default() += 1;
    }
}

impl View {
    /// Agents counted by where they stand with the assignment that holds for them.
    pub(crate) fn tallies(&self, assignments: &Assignments) -> BTreeMap<String, Tally> {
        let mut tallies: BTreeMap<String, Tally> =
            assignments.list.iter().map(|found| (found.name.clone(), Tally::default())).collect();
        self.each(|state, uid, entry, now| {
            let Some(found) = assignments.resolve(&*entry.summary) else { return };
            let connected = self.connected(state, entry, now);
            let standing = stands(found, uid, &entry.summary, connected);
            if let Some(tally) = tallies.get_mut(&found.name) {
                tally.add(standing, || rank(uid, &found.config.hash));
            }
        });
        tallies
    }

    /// Agents that are to have another config than they are offered once `after` holds instead of
    /// `before`, because of what changed between the two.
    pub(crate) fn impact(&self, before: &Assignments, after: &Assignments) -> Impact {
        let mut impact = Impact::default();
        self.each(|state, _, entry, now| {
            let agent = &*entry.summary;
            if differ(before.resolve(agent), after.resolve(agent)) && changes(after, agent) {
                impact.add(agent, self.connected(state, entry, now));
            }
        });
        impact
    }

    /// Agents whose labels a change would alter, and what that would do under these assignments.
    pub(crate) fn relabel_impact(
        &self,
        uids: &[InstanceUid],
        change: &Relabel,
        assignments: &Assignments,
    ) -> (usize, Impact) {
        let (state, now) = (self.read(), self.clock.now());
        let (mut changed, mut impact) = (0, Impact::default());
        for entry in uids.iter().filter_map(|uid| state.agents.get(uid)) {
            let agent = &*entry.summary;
            let labels = change.apply(&agent.labels);
            if labels == agent.labels {
                continue;
            }
            changed += 1;
            let labelled = AgentSummary { labels, ..agent.clone() };
            let moved = differ(assignments.resolve(agent), assignments.resolve(&labelled));
            if moved && changes(assignments, &labelled) {
                impact.add(agent, self.connected(&state, entry, now));
            }
        }
        (changed, impact)
    }

    /// Agents whose offer waits: for its turn, for a hold to end, or for them to answer.
    pub(crate) fn waiting(&self, assignments: &Assignments) -> usize {
        let mut waiting = 0;
        self.each(|state, uid, entry, now| {
            let Some(found) = assignments.resolve(&*entry.summary) else { return };
            let told = entry.summary.config.delivered;
            let connected = self.connected(state, entry, now);
            let standing = stands(found, uid, &entry.summary, connected);
            let waits = matches!(standing, Standing::InFlight | Standing::Queued);
            waiting += usize::from(waits && !told && !found.brake.is_stopped());
        });
        waiting
    }

    fn each(&self, mut look: impl FnMut(&State, &InstanceUid, &Entry, Timestamp)) {
        let (state, now) = (self.read(), self.clock.now());
        for (uid, entry) in &state.agents {
            look(&state, uid, entry, now);
        }
    }
}

fn stands(
    found: &Assignment,
    uid: &InstanceUid,
    agent: &AgentSummary,
    connected: bool,
) -> Standing {
    let admitted = found.admits(uid, agent.first_seen);
    Standing::of(agent, connected, &found.config, admitted)
}

fn differ(before: Option<&Assignment>, after: Option<&Assignment>) -> bool {
    before.map(|found| (&found.name, &found.config))
        != after.map(|found| (&found.name, &found.config))
}

fn changes(assignments: &Assignments, agent: &AgentSummary) -> bool {
    takes_config(agent) && assignments.changes(agent)
}
