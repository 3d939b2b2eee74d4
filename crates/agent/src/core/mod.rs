//! The agent's mind: what to say next, and what the server's words mean. Time comes in as
//! milliseconds of a clock that never goes back; nothing goes out but messages.

mod connection;
mod hear;
mod packages;
mod parts;
mod proof;
#[cfg(test)]
mod tests;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use opamp::InstanceUid;
use opamp::v1::*;

use crate::ledger::{Entry, Ledger};
pub use connection::{Connections, UNUSABLE_MARK};
pub use packages::Job;
pub use parts::Parts;
use proof::Proof;
use words::Words;
pub use words::{ECHO, PING, PONG};

/// How an agent is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who it is.
    pub instance_uid: InstanceUid,
    /// How it describes itself.
    pub description: AgentDescription,
    /// AgentCapabilities it declares. Parts without their bit are not reported.
    pub capabilities: u64,
    /// How often it speaks when there is nothing to say; 0 for never.
    pub heartbeat_ms: u64,
    /// Whether it repeats everything on each connection, as older clients do.
    pub full_on_reconnect: bool,
    /// When it started, nanoseconds since the Unix epoch.
    pub start_time_unix_nano: u64,
    /// Whether it can apply a config.
    pub apply: fn(&AgentRemoteConfig) -> Result<(), String>,
    /// What it is made of, under a hash of its own; not reported if there is nothing.
    pub components: Option<Arc<AvailableComponents>>,
    /// Custom capabilities it declares.
    pub custom_capabilities: Vec<String>,
    /// Whether its ledger keeps entries.
    pub keeps_entries: bool,
}

/// Everything but packages, connection settings and own telemetry.
pub const CAPABILITIES: u64 = AgentCapabilities::ReportsStatus as u64
    | AgentCapabilities::AcceptsRemoteConfig as u64
    | AgentCapabilities::ReportsEffectiveConfig as u64
    | AgentCapabilities::AcceptsRestartCommand as u64
    | AgentCapabilities::ReportsHealth as u64
    | AgentCapabilities::ReportsRemoteConfig as u64
    | AgentCapabilities::ReportsHeartbeat as u64;

/// A body that holds this text is one that [`fails_on_request`] cannot apply.
pub const FAIL_MARK: &str = "muster-agent: fail";

/// Applies every config, except those that ask to fail.
pub fn fails_on_request(config: &AgentRemoteConfig) -> Result<(), String> {
    let files = config.config.iter().flat_map(|map| map.config_map.values());
    let asks = |body: &[u8]| body.windows(FAIL_MARK.len()).any(|part| part == FAIL_MARK.as_bytes());
    if files.clone().any(|file| asks(&file.body)) {
        return Err(format!("config contains {FAIL_MARK:?}"));
    }
    Ok(())
}

impl Settings {
    /// An agent with default behaviour.
    pub fn new(instance_uid: InstanceUid) -> Self {
        Self {
            instance_uid,
            description: AgentDescription::default(),
            capabilities: CAPABILITIES,
            heartbeat_ms: 30_000,
            full_on_reconnect: false,
            start_time_unix_nano: 0,
            apply: fails_on_request,
            components: None,
            custom_capabilities: Vec::new(),
            keeps_entries: true,
        }
    }
}

/// One agent.
#[derive(Debug)]
pub struct Agent {
    uid: InstanceUid,
    capabilities: u64,
    apply: fn(&AgentRemoteConfig) -> Result<(), String>,
    full_on_reconnect: bool,
    /// The number of the next message.
    next_sequence_num: u64,
    /// What the server has not been told.
    unsent: Parts,
    /// A message is due even if nothing is unsent.
    due: bool,
    heartbeat_ms: u64,
    last_sent_ms: u64,
    components: Option<Arc<AvailableComponents>>,
    /// The server wants the list of them, not their hash alone.
    list_wanted: bool,
    description: AgentDescription,
    health: ComponentHealth,
    effective_config: EffectiveConfig,
    status: RemoteConfigStatus,
    /// Statuses that the server is yet to be told, one message each.
    outcomes: VecDeque<Outcome>,
    disconnected: bool,
    /// Nobody has answered since it restarted: its numbers may look as if nothing had happened.
    unheard: bool,
    /// It was told to restart, and still has the connection on which it was.
    restarting: bool,
    words: Words,
    settings: connection::Progress,
    packages: packages::Packages,
    proof: Proof,
    /// What happened so far.
    pub ledger: Ledger,
}

/// A step in applying a config.
#[derive(Debug)]
struct Outcome {
    status: RemoteConfigStatus,
    /// What runs from then on.
    effective: Option<EffectiveConfig>,
}

impl Agent {
    /// An agent that has not spoken yet.
    pub fn new(settings: Settings) -> Self {
        let health = ComponentHealth {
            healthy: true,
            start_time_unix_nano: settings.start_time_unix_nano,
            status: "running".to_owned(),
            ..Default::default()
        };
        let lists = match settings.components {
            Some(_) => AgentCapabilities::ReportsAvailableComponents as u64,
            None => 0,
        };
        Self {
            uid: settings.instance_uid,
            capabilities: settings.capabilities | lists,
            components: settings.components,
            list_wanted: false,
            apply: settings.apply,
            full_on_reconnect: settings.full_on_reconnect,
            next_sequence_num: 0,
            unsent: Parts::ALL,
            due: true,
            heartbeat_ms: settings.heartbeat_ms,
            last_sent_ms: 0,
            description: settings.description,
            health,
            effective_config: EffectiveConfig::default(),
            status: RemoteConfigStatus::default(),
            outcomes: VecDeque::new(),
            disconnected: false,
            unheard: false,
            restarting: false,
            words: Words::new(settings.custom_capabilities),
            settings: connection::Progress::default(),
            packages: packages::Packages::default(),
            proof: Proof::default(),
            ledger: Ledger::new(settings.keeps_entries),
        }
    }

    /// Its uid now: the server may have given it another.
    pub fn uid(&self) -> InstanceUid {
        self.uid
    }

    /// The hash and status of the config it was last offered.
    pub fn config_status(&self) -> &RemoteConfigStatus {
        &self.status
    }

    /// The config it runs.
    pub fn effective_config(&self) -> &EffectiveConfig {
        &self.effective_config
    }

    /// The newest status text of its health that a server has answered on a WebSocket: it is
    /// stored, if that server keeps its word.
    pub fn proven_status(&self) -> Option<&str> {
        self.proof.proven()
    }

    /// Its health from now on.
    pub fn set_health(&mut self, healthy: bool, status: &str, last_error: &str) {
        self.health.healthy = healthy;
        status.clone_into(&mut self.health.status);
        last_error.clone_into(&mut self.health.last_error);
        self.unsent |= Parts::HEALTH;
    }

    /// Its description from now on.
    pub fn set_description(&mut self, description: AgentDescription) {
        self.description = description;
        self.unsent |= Parts::DESCRIPTION;
    }

    /// Its capabilities from now on.
    pub fn set_capabilities(&mut self, capabilities: u64) {
        self.capabilities = capabilities;
        self.due = true;
    }

    /// Everything is to be said once more.
    pub fn repeat(&mut self) {
        self.unsent = Parts::ALL;
    }

    /// A connection was made: something must be said on it, if only that it is there.
    pub fn connected(&mut self) {
        self.ledger.connections += 1;
        self.proof.connected();
        self.words.connected();
        self.due = true;
        if self.full_on_reconnect || self.unheard {
            self.unsent = Parts::ALL;
        }
    }

    /// Whether its connection ends because it restarts; asked once.
    pub fn takes_restart(&mut self) -> bool {
        std::mem::take(&mut self.restarting)
    }

    /// When it wants to speak next if nothing happens; `None` if it does not.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if self.due || self.has_something() {
            return Some(self.last_sent_ms);
        }
        (self.heartbeat_ms > 0).then(|| self.last_sent_ms + self.heartbeat_ms)
    }

    /// The next message, if one is to be sent now.
    pub fn next_message(&mut self, now_ms: u64) -> Option<AgentToServer> {
        if self.disconnected {
            return None;
        }
        self.step();
        let beats = self.heartbeat_ms > 0 && now_ms >= self.last_sent_ms + self.heartbeat_ms;
        (self.due || self.has_something() || beats).then(|| self.compose(now_ms))
    }

    /// The next message as an agent sends it that polls: it always has one.
    pub fn poll_message(&mut self, now_ms: u64) -> AgentToServer {
        self.step();
        self.compose(now_ms)
    }

    /// The last message.
    pub fn goodbye(&mut self, now_ms: u64) -> AgentToServer {
        let message =
            AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..self.compose(now_ms) };
        self.disconnected = true;
        message
    }

    /// The message could not be sent: what was in it is told again under a new number.
    pub fn lost(&mut self, message: &AgentToServer) {
        self.unsent |= Parts::of(message);
        let listed = message.available_components.as_ref();
        self.list_wanted |= listed.is_some_and(|list| !list.components.is_empty());
        self.words.lost(message);
        self.settings.lost(message);
        self.packages.lost(message);
        self.due = true;
    }

    fn has_something(&self) -> bool {
        !self.unsent.is_empty()
            || !self.outcomes.is_empty()
            || self.list_wanted
            || self.words.wait()
            || self.settings.wait()
            || self.packages.wait()
    }

    fn compose(&mut self, now_ms: u64) -> AgentToServer {
        let parts = std::mem::take(&mut self.unsent);
        let has = |part: Parts, bit: AgentCapabilities| {
            parts.contains(part) && opamp::capability::has(self.capabilities, bit)
        };
        let message = AgentToServer {
            instance_uid: self.uid.as_bytes().to_vec(),
            sequence_num: self.next_sequence_num,
            capabilities: self.capabilities,
            agent_description: parts.contains(Parts::DESCRIPTION).then(|| self.description.clone()),
            health: has(Parts::HEALTH, AgentCapabilities::ReportsHealth)
                .then(|| self.health.clone()),
            effective_config: has(Parts::EFFECTIVE, AgentCapabilities::ReportsEffectiveConfig)
                .then(|| self.effective_config.clone()),
            remote_config_status: has(Parts::STATUS, AgentCapabilities::ReportsRemoteConfig)
                .then(|| self.status.clone()),
            available_components: self.listed(parts == Parts::ALL),
            custom_capabilities: self.words.declared(parts == Parts::ALL),
            custom_message: self.words.next(),
            connection_settings_status: self.settings.told(parts == Parts::ALL, self.capabilities),
            package_statuses: self.packages.told(parts == Parts::ALL, self.capabilities),
            ..Default::default()
        };
        let full = parts == Parts::ALL;
        self.ledger.sent += 1;
        self.ledger.full_reports += u64::from(full);
        let bare = parts.is_empty()
            && message.available_components.is_none()
            && message.custom_capabilities.is_none()
            && message.custom_message.is_none()
            && message.connection_settings_status.is_none()
            && message.package_statuses.is_none();
        self.ledger.heartbeats += u64::from(bare);
        let sequence_num = self.next_sequence_num;
        self.ledger.note(|| Entry::Sent { sequence_num, full });
        self.proof.sent(&message);
        self.next_sequence_num = sequence_num.wrapping_add(1);
        self.last_sent_ms = now_ms;
        self.due = false;
        message
    }

    /// Its components: by their hash, unless the server wants the list.
    fn listed(&mut self, full: bool) -> Option<AvailableComponents> {
        let wanted = std::mem::take(&mut self.list_wanted);
        let components = self.components.as_ref().filter(|_| full || wanted)?;
        Some(match wanted {
            true => (**components).clone(),
            false => AvailableComponents { hash: components.hash.clone(), ..Default::default() },
        })
    }

    /// The next of what the server is to be told step by step.
    fn step(&mut self) {
        if let Some(outcome) = self.outcomes.pop_front() {
            self.settle(outcome);
        }
        self.settings.step();
    }

    fn settle(&mut self, outcome: Outcome) {
        self.status = outcome.status;
        self.unsent |= Parts::STATUS;
        if let Some(effective) = outcome.effective {
            self.effective_config = effective;
            self.unsent |= Parts::EFFECTIVE;
        }
    }
}
