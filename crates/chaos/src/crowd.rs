//! The agents: thousands that change all the time, and remember what they said and were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent::{Handle, swarm};
use opamp::v1::{AnyValue, KeyValue, any_value::Value};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::GROUP_AGENTS;
use crate::rig::Rig;

/// How often some of them change.
const TICK: Duration = Duration::from_millis(50);
/// Agents that begin to connect at once.
const BATCH: usize = 25;

/// One agent.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) handle: Handle,
    /// `agents/{uid}`.
    pub(crate) name: String,
    pub(crate) group: usize,
    /// The number it last gave as its status.
    said: AtomicU64,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) members: Arc<Vec<Member>>,
    _stirring: JoinSet<()>,
}

/// The attribute that says to which group an agent belongs.
pub(crate) const GROUP: &str = "chaos.group";

/// How many groups so many agents make.
pub(crate) fn groups(agents: usize) -> usize {
    agents.div_ceil(GROUP_AGENTS)
}

impl Crowd {
    /// Starts agents that connect in turn to every gateway, and change so many times a second in
    /// all. Without wires to trouble they go straight to gateways, from one that fails to the next:
    /// one process has files for 20,000 sockets, and a wire takes two for each agent.
    pub(crate) async fn start(
        rig: &Rig,
        agents: usize,
        changes: usize,
        heartbeat: Duration,
        wired: bool,
    ) -> anyhow::Result<Self> {
        let straight = rig.gateway_urls()?;
        let mut members = Vec::with_capacity(agents);
        for number in 0..agents {
            let mut settings = swarm::settings(number);
            settings.heartbeat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
            let group = number % groups(agents);
            settings.description.non_identifying_attributes.push(KeyValue {
                key: GROUP.to_owned(),
                value: Some(AnyValue { value: Some(Value::StringValue(format!("g{group}"))) }),
            });
            let name = format!("agents/{}", settings.instance_uid);
            let handle = if wired {
                agent::start(settings, &rig.door(number))?
            } else {
                let handle = agent::start(settings, &straight[number % straight.len()])?;
                handle.fall_back_to(&straight)?;
                handle
            };
            members.push(Member { handle, name, group, said: AtomicU64::new(0) });
            if number % BATCH == BATCH - 1 {
                tokio::time::sleep(TICK).await;
            }
        }
        let members = Arc::new(members);
        let mut stirring = JoinSet::new();
        stirring.spawn(stir(members.clone(), changes));
        Ok(Self { members, _stirring: stirring })
    }
}

impl Member {
    /// The number that it last gave as its status.
    pub(crate) fn said(&self) -> u64 {
        self.said.load(Ordering::SeqCst)
    }

    /// The newest of these numbers that a server has answered.
    pub(crate) fn proven(&self) -> u64 {
        self.handle.see(|agent| agent.proven_status().map_or(0, number))
    }

    /// Says something new.
    pub(crate) fn change(&self) {
        self.handle.change(|agent| {
            let next = self.said.fetch_add(1, Ordering::SeqCst) + 1;
            agent.set_health(true, &next.to_string(), "");
        });
    }

    /// Says everything once more.
    pub(crate) fn repeat(&self) {
        self.handle.change(agent::Agent::repeat);
    }
}

/// The number in a status; 0 if there is none yet.
pub(crate) fn number(status: &str) -> u64 {
    status.parse().unwrap_or(0)
}

/// Lets agents change, each as often as the others, for ever.
async fn stir(members: Arc<Vec<Member>>, changes: usize) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = members.iter().cycle();
    let mut owed = 0.0;
    loop {
        tick.tick().await;
        owed += changes as f64 * TICK.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            turn.next().map(Member::change);
        }
    }
}
