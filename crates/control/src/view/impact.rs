//! What decisions do to the agents in view: who waits for which config, and who would change.

use std::collections::BTreeMap;

use model::assign::{Assignment, Assignments, Content};
use model::brake::{Standing, Tally, rank};
use model::packages::PackageSetRef;
use model::selector::Labels as _;
use model::{AgentSummary, Timestamp};
use opamp::InstanceUid;

use super::{State, View};
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
    /// Packages that agents will delete, and how many agents each.
    pub(crate) deleted_packages: BTreeMap<String, usize>,
    /// Agents that a set of packages is not whole for.
    pub(crate) incomplete: usize,
}

impl Impact {
    pub(crate) fn add(&mut self, agent: &AgentSummary, connected: bool) {
        self.agents += 1;
        self.disconnected += usize::from(!connected);
        let named = |key| agent.value(key).unwrap_or_default().into_owned();
        let kind = (named("service.name"), named("service.version"));
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Notes what offering a set does to the packages that an agent has.
    fn add_packages(&mut self, agent: &AgentSummary, set: &PackageSetRef) {
        let Some(offer) = set.offer(agent) else {
            self.incomplete += 1;
            return;
        };
        let has = agent.packages.iter().flat_map(|packages| &packages.names);
        let offered = |name: &String| offer.packages.iter().any(|(ours, _)| ours == name);
        for name in has.filter(|name| !offered(name)) {
            *self.deleted_packages.entry(name.clone()).or_default() += 1;
        }
    }
}

impl View {
    /// Agents counted by where they stand with the assignment that holds for them.
    pub(crate) fn tallies(&self, assignments: &Assignments) -> BTreeMap<String, Tally> {
        let mut tallies: BTreeMap<String, Tally> =
            assignments.list.iter().map(|found| (found.name.clone(), Tally::default())).collect();
        self.each(|state, uid, entry, now| {
            let connected = self.connected(state, entry, now);
            for found in assignments.resolve(&*entry.summary) {
                let standing = stands(found, uid, &entry.summary, connected);
                if let Some(tally) = tallies.get_mut(&found.name) {
                    tally.add(standing, || rank(uid, &found.content.digest()));
                }
            }
        });
        tallies
    }

    /// Agents that are to have something else than they are offered once `after` holds instead of
    /// `before`, because of what changed between the two.
    pub(crate) fn impact(&self, before: &Assignments, after: &Assignments) -> Impact {
        let mut impact = Impact::default();
        self.each(|state, _, entry, now| {
            let agent = &*entry.summary;
            let new = news(&before.resolve(agent), after.resolve(agent));
            for found in &new {
                if let Content::Packages(set) = &found.content
                    && found.content.is_taken(agent.capabilities)
                {
                    impact.add_packages(agent, set);
                }
            }
            if new.iter().any(|found| changes(found, agent)) {
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
            let new = news(&assignments.resolve(agent), assignments.resolve(&labelled));
            if new.iter().any(|found| changes(found, &labelled)) {
                impact.add(agent, self.connected(&state, entry, now));
            }
        }
        (changed, impact)
    }

    /// Agents whose offer waits: for its turn, for a hold to end, or for them to answer.
    pub(crate) fn waiting(&self, assignments: &Assignments) -> usize {
        let mut waiting = 0;
        self.each(|state, uid, entry, now| {
            let agent = &*entry.summary;
            let connected = self.connected(state, entry, now);
            let waits = |found: &&Assignment| {
                let standing = stands(found, uid, agent, connected);
                let open = matches!(standing, Standing::InFlight | Standing::Queued);
                open && !found.brake.is_stopped() && !was_told(found, agent)
            };
            waiting += usize::from(assignments.resolve(agent).iter().any(waits));
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
    Standing::of(agent, connected, &found.content, admitted)
}

/// Assignments that hold after a change and did not before, or gave something else.
fn news<'a>(before: &[&Assignment], after: Vec<&'a Assignment>) -> Vec<&'a Assignment> {
    let same = |new: &Assignment| {
        before.iter().any(|old| (&old.name, &old.content) == (&new.name, &new.content))
    };
    after.into_iter().filter(|new| !same(new)).collect()
}

fn changes(found: &Assignment, agent: &AgentSummary) -> bool {
    found.content.is_taken(agent.capabilities) && found.content.changes(agent)
}

/// Whether the offer that stands for an assignment's kind went out.
fn was_told(found: &Assignment, agent: &AgentSummary) -> bool {
    match found.content {
        Content::Config(_) => agent.config.delivered,
        Content::Packages(_) => agent.packages.as_ref().is_some_and(|it| it.delivered),
        Content::Settings(_) => agent.settings.as_ref().is_some_and(|it| it.delivered),
    }
}
