//! Which agents spoke: one message a second for all of them, also the gateway's sign of life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::Subject;
use bus::v1::Presence;
use bus::v1::presence::Seen;
use model::Timestamp;
use opamp::InstanceUid;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

/// Most agents remembered until the bus takes them: several times those of a large gateway.
const SPOKEN_MAX: usize = 1 << 19;
/// Most agents in one message, about 350 KB: larger ones would travel as parcels.
const SEEN_PER_MESSAGE_MAX: usize = 8_192;

/// The agents that spoke since presence was last published.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    agents: Mutex<Agents>,
}

type Agents = BTreeMap<InstanceUid, Last>;

/// What an agent said last.
#[derive(Debug, Clone, Copy)]
struct Last {
    epoch: u64,
    sequence_num: u64,
    at: Timestamp,
}

impl Spoken {
    /// An agent spoke, and everything up to this number is answered.
    pub(crate) fn note(&self, uid: InstanceUid, epoch: u64, sequence_num: u64, now: Timestamp) {
        let mut agents = self.agents();
        if agents.len() >= SPOKEN_MAX && !agents.contains_key(&uid) {
            return;
        }
        let last = Last { epoch, sequence_num, at: now };
        agents.insert(uid, last);
    }

    /// Takes the agents that spoke.
    fn take(&self) -> Agents {
        std::mem::take(&mut *self.agents())
    }

    /// Puts back what was not published, unless the agent spoke again.
    fn put_back(&self, agents: Agents) {
        let mut now = self.agents();
        for (uid, last) in agents {
            if now.len() < SPOKEN_MAX {
                now.entry(uid).or_insert(last);
            }
        }
    }

    fn agents(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes presence for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(shared.limits.presence_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first sign of life was given before anything was accepted.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = publish(&shared).await {
            tracing::warn!(%error, "presence not published");
        }
    }
}

/// Publishes who spoke, and that this gateway lives.
pub(crate) async fn publish(shared: &Shared) -> Result<(), bus::Error> {
    let mut spoken = shared.presence.take();
    loop {
        let rest = match spoken.keys().nth(SEEN_PER_MESSAGE_MAX).copied() {
            Some(first) => spoken.split_off(&first),
            None => Agents::new(),
        };
        let presence = Presence {
            gateway_id: shared.id.to_string(),
            seen: spoken.iter().map(seen).collect(),
            sessions: shared.index.len() as u64,
            at_unix_ms: shared.clock.now().0,
        };
        let send = shared.bus.publish(&Subject::Presence, &presence);
        let sent = tokio::time::timeout(shared.limits.bus_silence_max, send).await;
        let sent = sent.unwrap_or_else(|_| Err(bus::Error::TimedOut("presence".to_owned())));
        if let Err(error) = sent {
            shared.presence.put_back(spoken);
            shared.presence.put_back(rest);
            return Err(error);
        }
        shared.heard_bus();
        if rest.is_empty() {
            return Ok(());
        }
        spoken = rest;
    }
}

fn seen((uid, last): (&InstanceUid, &Last)) -> Seen {
    Seen {
        instance_uid: uid.as_bytes().to_vec().into(),
        epoch: last.epoch,
        sequence_num: last.sequence_num,
        seen_unix_ms: last.at.0,
    }
}
