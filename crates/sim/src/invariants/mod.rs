//! The invariants of the architecture, one file each, as far as a simulation can decide them. I7's
//! bounds in bytes are for tests with real memory.
//!
//! Some are broken at some moment and stay so; others only have to hold once the world is right
//! again and has had its time.

mod i01_convergence;
mod i02_commands;
mod i02_durable_intent;
mod i03_at_most_once;
mod i04_fencing;
mod i05_revisions;
mod i06_delivered;
mod i07_deadlines;
mod i08_isolation;
mod i09_acknowledged;
mod i10_silence;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use control::v1::Agent as Shown;
use model::assign::Assignments;
use model::command::CommandId;
use model::{AgentRecord, Config, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{EffectiveConfig, RemoteConfigStatus};
use store::tables::commands::Part;
use store::{Cursor, Key, Store as _, Table, tables};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::history::History;
use crate::operators::Call;
use crate::world::World;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

pub(crate) fn violation(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}

/// The world as it is now.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// When it was gathered.
    pub(crate) now: Timestamp,
    pub(crate) agents: Vec<Seen>,
    pub(crate) records: BTreeMap<InstanceUid, AgentRecord>,
    /// What each control shows; `None` where one does not answer.
    pub(crate) views: Vec<Option<Vec<Shown>>>,
    pub(crate) assignments: Assignments,
    pub(crate) configs: BTreeMap<String, Config>,
    /// Commands in the ledger: in a world this small each is one value.
    pub(crate) commands: BTreeMap<CommandId, Part>,
    /// Operators' labels in the ledger.
    pub(crate) labels: BTreeMap<InstanceUid, BTreeMap<String, String>>,
}

/// An agent's own truth.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) index: usize,
    pub(crate) uid: InstanceUid,
    pub(crate) polls: bool,
    pub(crate) env: &'static str,
    pub(crate) mood: &'static str,
    pub(crate) status: RemoteConfigStatus,
    pub(crate) effective: EffectiveConfig,
}

/// How long a control may take to list its agents.
const LIST_PATIENCE: Duration = Duration::from_secs(5);

impl Evidence {
    pub(crate) async fn gather(world: &World, cluster: &Arc<Cluster>) -> Self {
        let agents = cluster.agents();
        let seen = agents.iter().map(|agent| {
            agent.see(|core| Seen {
                index: agent.index,
                uid: core.uid(),
                polls: agent.polls,
                env: agent.env,
                mood: "",
                status: core.config_status().clone(),
                effective: core.effective_config().clone(),
            })
        });
        let agents =
            seen.zip(&agents).map(|(seen, agent)| Seen { mood: agent.mood(), ..seen }).collect();
        let mut views = Vec::new();
        for control in cluster.controls() {
            let (answer, answered) = oneshot::channel();
            let _ = control.try_send(Call::List(answer));
            views.push(match timeout(LIST_PATIENCE, answered).await {
                Ok(Ok(Ok(list))) => Some(list),
                _ => None,
            });
        }
        Self {
            now: Timestamp(crate::limits::BEGIN_MS + world.now_ms()),
            agents,
            records: all(&world.records, Table::Agents, |key, value| {
                let record = tables::agents::decode(key, value).ok()?.value;
                Some((record.instance_uid, record))
            })
            .await,
            views,
            assignments: assignments(world).await,
            configs: all(&world.ledger, Table::Configs, |key, value| {
                let config = tables::configs::decode(key, value).ok()?.value;
                Some((config.name.clone(), config))
            })
            .await,
            commands: all(&world.ledger, Table::Commands, |key, value| {
                let part = tables::commands::decode(key, value).ok()?.value;
                Some((part.id, part))
            })
            .await,
            labels: all(&world.ledger, Table::Labels, |key, value| {
                let uid = InstanceUid::try_from(&key.id[..]).ok()?;
                Some((uid, tables::labels::decode(key, value).ok()?.value.labels))
            })
            .await,
        }
    }
}

async fn assignments(world: &World) -> Assignments {
    let found = world.ledger.get(&[Key::intent()]).await.unwrap_or_default();
    let stored = found.into_iter().next().flatten();
    let read = stored.and_then(|stored| tables::intent::decode(&Key::intent(), &stored.value).ok());
    read.map(|read| read.value).unwrap_or_default()
}

async fn all<K: Ord, T>(
    store: &store::Memory,
    table: Table,
    read: impl Fn(&Key, &bytes::Bytes) -> Option<(K, T)>,
) -> BTreeMap<K, T> {
    let mut found = BTreeMap::new();
    for shard in 0..store::SHARDS {
        let page = store.scan(table, shard, Cursor::default()).await.unwrap_or_default();
        found.extend(page.entries.iter().filter_map(|(key, stored)| read(key, &stored.value)));
    }
    found
}

/// What is broken and stays so.
pub(crate) fn broken_already(evidence: &Evidence, history: &History) -> Vec<Violation> {
    [
        i02_durable_intent::lost(evidence, history),
        i02_commands::lost(evidence, history),
        i02_commands::untrue(evidence, history),
        i03_at_most_once::decide(history),
        i04_fencing::decide(history),
        i05_revisions::decide(evidence, history),
        i06_delivered::decide(history),
        i07_deadlines::decide(history),
        i08_isolation::decide(history),
        i09_acknowledged::decide(history),
    ]
    .concat()
}

/// What is not right yet.
pub(crate) fn unsettled(evidence: &Evidence, at_the_end: bool) -> Vec<Violation> {
    [
        i01_convergence::decide(evidence),
        i02_durable_intent::unfinished(evidence),
        i02_commands::open(evidence, at_the_end),
    ]
    .concat()
}

/// What happened while nothing happened.
pub(crate) fn silence(costs: &Costs, evidence: &Evidence, lasted: Duration) -> Vec<Violation> {
    i10_silence::decide(costs, evidence, lasted)
}

/// What things cost so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) session_reports: u64,
    pub(crate) presence_messages: u64,
    pub(crate) records_written: u64,
}

impl Costs {
    pub(crate) fn of(history: &History) -> Self {
        Self {
            session_reports: history.session_reports,
            presence_messages: history.presence_messages,
            records_written: history.records_written,
        }
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            session_reports: self.session_reports - before.session_reports,
            presence_messages: self.presence_messages - before.presence_messages,
            records_written: self.records_written - before.records_written,
        }
    }
}
