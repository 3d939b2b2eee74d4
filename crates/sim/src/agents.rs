//! The agents: the product's reference core ([`agent::Agent`]) over a small link of our own, since
//! the real one dials TCP and draws from the system. Each keeps what it said, and its story goes
//! down in history.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::{Agent, Settings};
use opamp::InstanceUid;
use opamp::v1::any_value::Value;
use opamp::v1::{
    AgentDescription, AgentToServer, AnyValue, KeyValue, ServerToAgent, ServerToAgentFlags,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Dialed};
use crate::dice::Dice;
use crate::history::{Act, What, Word};
use crate::limits::{BEGIN_MS, RECONNECT_MS};
use crate::wire::Wire;
use crate::world::World;

mod poll;
mod socket;

/// Moods an agent may be in: few, so that it gets back into old ones.
const MOODS: [&str; 3] = ["running", "busy", "sick"];
/// How often an agent changes its mood, in milliseconds.
const MOOD_MS: (u64, u64) = (1_500, 12_000);
/// How long an agent waits for a handshake or for the answer to a poll.
const PATIENCE: Duration = Duration::from_secs(10);

/// One agent.
#[derive(Debug)]
pub(crate) struct SimAgent {
    pub(crate) index: usize,
    pub(crate) polls: bool,
    pub(crate) env: &'static str,
    world: Arc<World>,
    dice: Dice,
    mind: Mutex<Mind>,
    wire: Mutex<Option<Arc<Wire>>>,
    /// No more news of its own.
    pub(crate) calm: CancellationToken,
}

#[derive(Debug)]
struct Mind {
    core: Agent,
    mood: &'static str,
    next_mood: Instant,
}

/// How a connection ended.
enum End {
    /// It comes back at once or after some time.
    Again(Duration),
    /// The other side ended it.
    Dropped(String),
}

impl SimAgent {
    pub(crate) fn new(world: &Arc<World>, index: usize, uid: InstanceUid, polls: bool) -> Self {
        let dice = world.dice(&format!("agent/{index}"));
        let env = if index.is_multiple_of(2) { "prod" } else { "test" };
        let mut settings = Settings::new(uid);
        settings.description = description(index, env);
        settings.heartbeat_ms =
            dice.between(crate::limits::HEARTBEAT_MS.0, crate::limits::HEARTBEAT_MS.1);
        settings.full_on_reconnect = dice.chance(100);
        settings.keeps_entries = false;
        settings.custom_capabilities = vec![agent::core::ECHO.to_owned()];
        let mut core = Agent::new(settings);
        core.set_health(true, MOODS[0], "");
        let mind = Mind { core, mood: MOODS[0], next_mood: Instant::now() };
        Self {
            index,
            polls,
            env,
            world: world.clone(),
            dice,
            mind: Mutex::new(mind),
            wire: Mutex::default(),
            calm: CancellationToken::new(),
        }
    }

    /// Looks at its mind.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&Agent) -> T) -> T {
        look(&self.mind().core)
    }

    /// The health it reports.
    pub(crate) fn mood(&self) -> &'static str {
        self.mind().mood
    }

    /// The wire it speaks through now.
    pub(crate) fn wire(&self) -> Option<Arc<Wire>> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lives for as long as the run.
    pub(crate) async fn live(self: Arc<Self>, cluster: Arc<Cluster>) {
        loop {
            let pause = match cluster.dial(&self) {
                None => None,
                Some(dialed) => self.connected(dialed).await,
            };
            let (least, most) = RECONNECT_MS;
            let pause =
                pause.unwrap_or_else(|| Duration::from_millis(self.dice.between(least, most)));
            tokio::time::sleep(pause).await;
        }
    }

    async fn connected(&self, dialed: Dialed) -> Option<Duration> {
        let Dialed { stream, wire, gateway } = dialed;
        *self.wire.lock().unwrap_or_else(PoisonError::into_inner) = Some(wire.clone());
        let end = match self.polls {
            true => self.poll(stream).await,
            false => self.converse(stream, &gateway.name).await,
        };
        match end {
            End::Again(pause) => Some(pause).filter(|pause| !pause.is_zero()),
            End::Dropped(reason) => {
                if !wire.is_faulted() && !gateway.is_touched() {
                    let gateway = gateway.name.clone();
                    self.act(What::Dropped { gateway, reason });
                }
                None
            }
        }
    }

    /// The next message, if one is due.
    fn next_message(&self) -> Option<AgentToServer> {
        let message = self.mind().core.next_message(self.now_ms());
        message.inspect(|message| self.sent(message))
    }

    fn sent(&self, message: &AgentToServer) {
        let Ok(uid) = InstanceUid::try_from(&message.instance_uid[..]) else { return };
        let sequence_num = message.sequence_num;
        self.act(What::Sent { uid, sequence_num });
    }

    /// Takes a message of the server; how long to stay away, if it says so.
    fn hear(&self, message: &ServerToAgent) -> Option<Duration> {
        self.note_command(message);
        let (before, after, pause) = {
            let mut mind = self.mind();
            let taken = |core: &Agent| core.ledger.offers - core.ledger.repeated_offers;
            let before = taken(&mind.core);
            let now = BEGIN_MS + self.world.now_ms();
            let pause = mind.core.hear(message, now * 1_000_000);
            (before, taken(&mind.core), pause)
        };
        if let Some(config) = &message.remote_config {
            let hash = config.config_hash.clone();
            let files = config.config.as_ref().map(|map| &map.config_map);
            let whole = files.is_some_and(|files| model::ConfigHash::of(files).0[..] == hash[..]);
            self.act(What::Offered { hash: hash.clone(), whole });
            if after > before {
                self.act(What::Applied { hash });
            }
        }
        pause.map(Duration::from_millis)
    }

    /// What an agent that takes commands makes of this is not its own to say.
    fn note_command(&self, message: &ServerToAgent) {
        let number = |data: &[u8]| data.try_into().map(u64::from_be_bytes).ok();
        let said = message.custom_message.as_ref().and_then(|said| number(&said.data));
        let full = ServerToAgentFlags::ReportFullState as u64;
        let what = match said {
            _ if message.command.is_some() => Word::Restart,
            Some(said) => Word::Number(said),
            None if message.flags & full != 0 => Word::Refresh,
            None => return,
        };
        if let Ok(uid) = InstanceUid::try_from(&message.instance_uid[..]) {
            self.act(What::Told { uid, what });
        }
    }

    /// Whether it was told to restart, and so ends its connection.
    fn restarts(&self) -> bool {
        self.mind().core.takes_restart()
    }

    /// Changes its mood if it is time to.
    fn live_on(&self) {
        let mut mind = self.mind();
        if self.calm.is_cancelled() || Instant::now() < mind.next_mood {
            return;
        }
        let wait = self.dice.between(MOOD_MS.0, MOOD_MS.1);
        mind.next_mood = Instant::now() + Duration::from_millis(wait);
        if let Some(mood) = self.dice.pick(&MOODS) {
            mind.mood = mood;
            mind.core.set_health(*mood != MOODS[2], mood, "");
        }
    }

    /// Waits until it has something to say or to change.
    async fn until_due(&self) {
        let (due, mood) = {
            let mind = self.mind();
            (mind.core.next_deadline_ms(), mind.next_mood)
        };
        let due = due.map(|ms| self.world.began + Duration::from_millis(ms));
        let mood = Some(mood).filter(|_| !self.calm.is_cancelled());
        match due.into_iter().chain(mood).min() {
            Some(at) => {
                sleep_until(at).await;
                // Never twice in one moment.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            None => std::future::pending().await,
        }
    }

    fn now_ms(&self) -> u64 {
        self.world.now_ms()
    }

    fn act(&self, what: What) {
        let (at, agent) = (self.world.now_ms(), self.index);
        self.world.note(format_args!("agent {agent} {what:?}"));
        self.world.history().acts.push(Act { at, agent, what });
    }

    fn mind(&self) -> MutexGuard<'_, Mind> {
        self.mind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn description(index: usize, env: &str) -> AgentDescription {
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
    };
    AgentDescription {
        identifying_attributes: vec![attribute("service.name", &format!("agent-{index}"))],
        non_identifying_attributes: vec![attribute("env", env)],
    }
}
