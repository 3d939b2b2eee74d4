//! The brake: how fast a decision may spread over agents, and when it stops by itself.
//!
//! Agents stand in a queue that depends on nothing but them and the config, so that every worker
//! and every control sees the same one; a decision lets the front of it have the config, and the
//! front moves on as agents answer. Nobody counts offers: who was let through and has not answered
//! is in flight, told or not.

use opamp::InstanceUid;
use opamp::v1::{AgentCapabilities, RemoteConfigStatuses};
use sha2::{Digest as _, Sha256};

use crate::assign::Content;
use crate::config::ConfigHash;
use crate::settings::Class;
use crate::summary::{AgentSummary, PackagesState, SettingsState};

/// Failures that stop a decision, if the operator does not say.
pub const FAILURES_DEFAULT: u32 = 10;
/// Offers in flight at the least, if the operator does not say.
pub const IN_FLIGHT_MIN: usize = 50;
/// One agent in this many is in flight at the most, if that is more.
pub const IN_FLIGHT_SHARE: usize = 100;

/// How far an assignment may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Brake {
    /// Offers in flight at most; 0 goes by the number of agents.
    pub max_in_flight: u32,
    /// Agents that may fail before it stops; 0 is [`FAILURES_DEFAULT`].
    pub max_failures: u32,
    /// How far it is.
    pub stage: Stage,
}

/// How far an assignment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Agents that rank below this may have it.
    Releasing(u64),
    /// Every agent may have it, since none is away; the failures are still counted.
    Released,
    /// Every agent has answered. Who is new has it at once, and nobody counts.
    #[default]
    Done,
    /// Nobody else gets it.
    Stopped {
        /// Agents that had failed by then.
        failed: u32,
    },
}

/// Where an agent stands with what it is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does not take such a thing.
    Unsupported,
    /// It has it; or it never says, and was told.
    Applied,
    /// It said that it cannot have it.
    Failed,
    /// It may have it, and has not said how it went.
    InFlight,
    /// Connected, and its turn has not come.
    Queued,
    /// Not connected, and never told.
    Away,
}

/// The agents of an assignment, counted by where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Agents that take such a thing.
    pub agents: usize,
    /// They have it.
    pub applied: usize,
    /// They cannot.
    pub failed: usize,
    /// They have not said.
    pub in_flight: usize,
    /// Places in the queue of those who wait for their turn.
    pub queued: Vec<u64>,
    /// Not connected.
    pub away: usize,
}

/// An agent's place in the queue for what has this digest. Something else has another order, so
/// that it is not always the same agents that go first.
pub fn rank(uid: &InstanceUid, content: &[u8; 32]) -> u64 {
    let digest = Sha256::new().chain_update(uid.as_bytes()).chain_update(content).finalize();
    let (first, _) = digest.split_first_chunk().expect("a digest is longer than eight bytes");
    u64::from_be_bytes(*first)
}

impl Brake {
    /// At the start: nobody may have it yet.
    pub fn new(max_in_flight: u32, max_failures: u32) -> Self {
        Self { max_in_flight, max_failures, stage: Stage::Releasing(0) }
    }

    /// Whether an agent may have what has this digest.
    pub fn admits(&self, uid: &InstanceUid, content: &[u8; 32]) -> bool {
        match self.stage {
            Stage::Releasing(below) => rank(uid, content) < below,
            Stage::Released | Stage::Done => true,
            Stage::Stopped { .. } => false,
        }
    }

    /// Whether it stopped by itself.
    pub fn is_stopped(&self) -> bool {
        matches!(self.stage, Stage::Stopped { .. })
    }

    /// Whether somebody has to look after it.
    pub fn is_on_its_way(&self) -> bool {
        matches!(self.stage, Stage::Releasing(_) | Stage::Released)
    }

    /// The next stage, if its agents' standing calls for one.
    pub fn next(&self, tally: &Tally) -> Option<Stage> {
        let failures = if self.max_failures == 0 { FAILURES_DEFAULT } else { self.max_failures };
        match self.stage {
            Stage::Done | Stage::Stopped { .. } => None,
            _ if tally.failed >= failures as usize => {
                Some(Stage::Stopped { failed: u32::try_from(tally.failed).unwrap_or(u32::MAX) })
            }
            Stage::Releasing(_) => {
                let room = self.in_flight_max(tally.agents).saturating_sub(tally.in_flight);
                let mut queued = tally.queued.clone();
                queued.sort_unstable();
                match (queued.get(room), queued.last()) {
                    (None, _) if tally.away == 0 => Some(Stage::Released),
                    // Those who are away wait as well: they may all come back at once.
                    (None, last) => last.map(|last| Stage::Releasing(last.saturating_add(1))),
                    (Some(_), _) if room == 0 => None,
                    (Some(first_to_wait), _) => Some(Stage::Releasing(*first_to_wait)),
                }
            }
            Stage::Released => (tally.in_flight == 0 && tally.away == 0).then_some(Stage::Done),
        }
    }

    /// Offers in flight at most, over so many agents.
    pub fn in_flight_max(&self, agents: usize) -> usize {
        match self.max_in_flight {
            0 => IN_FLIGHT_MIN.max(agents / IN_FLIGHT_SHARE),
            max => max as usize,
        }
    }
}

impl Standing {
    /// Where an agent stands with what it is assigned. One that went silent with an offer in hand
    /// is in flight for as long as it is away: that may be what silenced it.
    pub fn of(agent: &AgentSummary, connected: bool, content: &Content, admitted: bool) -> Self {
        let Some(Word { offered, told, applied, failed }) = Word::of(agent, content) else {
            return Self::Unsupported;
        };
        if failed {
            Self::Failed
        } else if applied {
            Self::Applied
        } else if told || (connected && (admitted || offered)) {
            Self::InFlight
        } else if connected {
            Self::Queued
        } else {
            Self::Away
        }
    }
}

/// What is known of an agent and one thing that it is to have.
struct Word {
    /// It is on offer.
    offered: bool,
    /// And went out.
    told: bool,
    /// The agent has it.
    applied: bool,
    /// The agent cannot have it.
    failed: bool,
}

impl Word {
    /// `None` if the agent does not take such a thing.
    fn of(agent: &AgentSummary, content: &Content) -> Option<Self> {
        if !content.is_taken(agent.capabilities) {
            return None;
        }
        let can = |bit| opamp::capability::has(agent.capabilities, bit);
        Some(match content {
            Content::Config(config) => {
                let known = &agent.config;
                let offered = known.offered.as_ref() == Some(config);
                let says = ConfigHash::from_slice(&known.reported_hash) == Some(config.hash);
                let says = |status: RemoteConfigStatuses| says && known.status == status as i32;
                let told = offered && known.delivered;
                let silent = !can(AgentCapabilities::ReportsRemoteConfig);
                Self {
                    offered,
                    told,
                    applied: says(RemoteConfigStatuses::Applied) || (told && silent),
                    failed: says(RemoteConfigStatuses::Failed) || (offered && known.refused),
                }
            }
            Content::Packages(set) => {
                let offer = set.offer(agent)?;
                let known = agent.packages.as_ref();
                let known = known.filter(|it| it.offered.as_ref().is_some_and(|o| o.is(&offer)));
                let told = known.is_some_and(|it| it.delivered);
                let silent = !can(AgentCapabilities::ReportsPackageStatuses);
                let is = |state| known.is_some_and(|it| it.state == state);
                Self {
                    offered: known.is_some(),
                    told,
                    applied: is(PackagesState::Installed) || (told && silent),
                    failed: is(PackagesState::Failed) || known.is_some_and(|it| it.refused),
                }
            }
            Content::Settings(settings) => {
                let known = agent.settings.as_ref();
                let known = known.filter(|it| it.offered.get(&settings.class) == Some(settings));
                let told = known.is_some_and(|it| it.delivered);
                let silent = !can(AgentCapabilities::ReportsConnectionSettingsStatus);
                let is = |state| known.is_some_and(|it| it.state == state);
                // Who comes back over new settings and does not complain has taken them.
                let back = settings.class == Class::OpAmp && known.is_some_and(|it| it.reconnected);
                Self {
                    offered: known.is_some(),
                    told,
                    applied: is(SettingsState::Applied) || (told && (silent || back)),
                    failed: is(SettingsState::Failed) || known.is_some_and(|it| it.refused),
                }
            }
        })
    }
}

impl Tally {
    /// Counts an agent in.
    pub fn add(&mut self, standing: Standing, rank: impl FnOnce() -> u64) {
        self.agents += usize::from(standing != Standing::Unsupported);
        match standing {
            Standing::Unsupported => {}
            Standing::Applied => self.applied += 1,
            Standing::Failed => self.failed += 1,
            Standing::InFlight => self.in_flight += 1,
            Standing::Queued => self.queued.push(rank()),
            Standing::Away => self.away += 1,
        }
    }
}

#[cfg(test)]
mod tests;
