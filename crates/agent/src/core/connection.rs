//! Connection settings as the agent takes them: own telemetry and others are remembered, its own
//! connection is a candidate until somebody has connected with it. Offers whose hash was seen last
//! are skipped whole, as other clients do; a restart forgets that.

use std::collections::{BTreeMap, VecDeque};

use opamp::capability::has;
use opamp::v1::*;

use super::Agent;
use crate::ledger::Entry;

/// An endpoint that holds this text is one that the agent cannot use.
pub const UNUSABLE_MARK: &str = "muster-agent-fail";

/// What the agent was told of its connections.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connections {
    /// Its own connection, as it was last connected with; none if it was never told.
    pub opamp: Option<OpAmpConnectionSettings>,
    /// Where its own metrics go.
    pub own_metrics: Option<TelemetryConnectionSettings>,
    /// Where its own traces go.
    pub own_traces: Option<TelemetryConnectionSettings>,
    /// Where its own logs go.
    pub own_logs: Option<TelemetryConnectionSettings>,
    /// Other connections by name, put together from all that was said of each.
    pub other: BTreeMap<String, OtherConnectionSettings>,
}

/// How far the agent is with settings.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) connections: Connections,
    /// Hash of the offer that was looked at last.
    seen: Option<Vec<u8>>,
    /// The newest status that was told.
    pub(super) status: Option<ConnectionSettingsStatus>,
    /// The server is yet to be told of it.
    changed: bool,
    /// Statuses that it is yet to be told, one message each.
    waiting: VecDeque<ConnectionSettingsStatus>,
    candidate: Option<Candidate>,
}

/// A connection that was offered and not tried yet.
#[derive(Debug, Clone)]
struct Candidate {
    hash: Vec<u8>,
    settings: OpAmpConnectionSettings,
    /// Somebody is at it.
    tried: bool,
}

impl Progress {
    /// Something is to be told before the next heartbeat.
    pub(super) fn wait(&self) -> bool {
        self.changed || !self.waiting.is_empty()
    }

    /// The next status becomes the newest.
    pub(super) fn step(&mut self) {
        if let Some(next) = self.waiting.pop_front() {
            self.status = Some(next);
            self.changed = true;
        }
    }

    /// What goes into the next message: in a full one whatever there is.
    pub(super) fn told(
        &mut self,
        full: bool,
        capabilities: u64,
    ) -> Option<ConnectionSettingsStatus> {
        let changed = std::mem::take(&mut self.changed);
        let reports = has(capabilities, AgentCapabilities::ReportsConnectionSettingsStatus);
        self.status.clone().filter(|_| reports && (changed || full))
    }

    /// A message did not go out.
    pub(super) fn lost(&mut self, message: &AgentToServer) {
        self.changed |= message.connection_settings_status.is_some();
    }

    /// A restart forgets what was seen and said, but not what is in force.
    pub(super) fn restart(&mut self) {
        *self = Self { connections: std::mem::take(&mut self.connections), ..Self::default() };
    }

    fn say(&mut self, hash: &[u8], status: ConnectionSettingsStatuses, error_message: &str) {
        self.waiting.push_back(ConnectionSettingsStatus {
            last_connection_settings_hash: hash.to_vec(),
            status: status.into(),
            error_message: error_message.to_owned(),
        });
    }
}

impl Agent {
    /// What it was told of its connections.
    pub fn connections(&self) -> &Connections {
        &self.settings.connections
    }

    /// The status of the settings that it was last offered.
    pub fn settings_status(&self) -> Option<&ConnectionSettingsStatus> {
        self.settings.status.as_ref()
    }

    /// The connection to try, once the server knows that the agent is at it; told once.
    pub fn takes_candidate(&mut self) -> Option<OpAmpConnectionSettings> {
        if self.settings.wait() {
            return None;
        }
        let candidate = self.settings.candidate.as_mut().filter(|it| !it.tried)?;
        candidate.tried = true;
        Some(candidate.settings.clone())
    }

    /// What became of the candidate: it is in force, or what was before is again.
    pub fn tried_candidate(&mut self, result: Result<(), String>) {
        let Some(candidate) = self.settings.candidate.take() else { return };
        if result.is_ok() {
            self.heartbeat_ms = candidate.settings.heartbeat_interval_seconds.saturating_mul(1000);
            self.settings.connections.opamp = Some(candidate.settings);
        }
        self.settled(&candidate.hash, result);
    }

    pub(super) fn settings_offered(&mut self, offers: &ConnectionSettingsOffers) {
        self.ledger.settings_offers += 1;
        self.ledger.note(|| Entry::SettingsOffered(offers.hash.clone()));
        if !offers.hash.is_empty() && self.settings.seen.as_ref() == Some(&offers.hash) {
            self.ledger.repeated_settings += 1;
            return;
        }
        self.settings.seen = Some(offers.hash.clone());
        let offers = self.taken(offers);
        self.settings.say(&offers.hash, ConnectionSettingsStatuses::Applying, "");
        if let Err(reason) = usable(&offers) {
            self.settled(&offers.hash, Err(reason));
            return;
        }
        self.remember(&offers);
        match offers.opamp {
            Some(settings) => {
                let (hash, tried) = (offers.hash, false);
                self.settings.candidate = Some(Candidate { hash, settings, tried });
            }
            None => self.settled(&offers.hash, Ok(())),
        }
    }

    /// The classes that the agent has a bit for.
    fn taken(&self, offers: &ConnectionSettingsOffers) -> ConnectionSettingsOffers {
        let mut offers = offers.clone();
        let can = |bit| has(self.capabilities, bit);
        offers.opamp.take_if(|_| !can(AgentCapabilities::AcceptsOpAmpConnectionSettings));
        offers.own_metrics.take_if(|_| !can(AgentCapabilities::ReportsOwnMetrics));
        offers.own_traces.take_if(|_| !can(AgentCapabilities::ReportsOwnTraces));
        offers.own_logs.take_if(|_| !can(AgentCapabilities::ReportsOwnLogs));
        if !can(AgentCapabilities::AcceptsOtherConnectionSettings) {
            offers.other_connections.clear();
        }
        offers
    }

    /// A class that is not there stays as it was.
    fn remember(&mut self, offers: &ConnectionSettingsOffers) {
        let held = &mut self.settings.connections;
        for (held, offered) in [
            (&mut held.own_metrics, &offers.own_metrics),
            (&mut held.own_traces, &offers.own_traces),
            (&mut held.own_logs, &offers.own_logs),
        ] {
            if offered.is_some() {
                held.clone_from(offered);
            }
        }
        for (name, offered) in &offers.other_connections {
            merge(held.other.entry(name.clone()).or_default(), offered);
        }
    }

    fn settled(&mut self, hash: &[u8], result: Result<(), String>) {
        match &result {
            Ok(()) => self.settings.say(hash, ConnectionSettingsStatuses::Applied, ""),
            Err(reason) => self.settings.say(hash, ConnectionSettingsStatuses::Failed, reason),
        }
        self.ledger.note(|| Entry::SettingsApplied(hash.to_vec(), result));
    }
}

/// Whether the agent can do something with what is left of an offer.
fn usable(offers: &ConnectionSettingsOffers) -> Result<(), String> {
    let telemetry = [&offers.own_metrics, &offers.own_traces, &offers.own_logs];
    let telemetry = telemetry.into_iter().flatten().map(|it| &it.destination_endpoint);
    let opamp = offers.opamp.iter().map(|it| &it.destination_endpoint);
    let other = offers.other_connections.values().map(|it| &it.destination_endpoint);
    let mut endpoints = telemetry.chain(opamp).chain(other).peekable();
    if endpoints.peek().is_none() {
        return Err("there is nothing in it that this agent takes".to_owned());
    }
    match endpoints.any(|endpoint| endpoint.contains(UNUSABLE_MARK)) {
        true => Err(format!("an endpoint contains {UNUSABLE_MARK:?}")),
        false => Ok(()),
    }
}

/// Settings of other connections are partial: what is not said keeps its value.
fn merge(held: &mut OtherConnectionSettings, offered: &OtherConnectionSettings) {
    if !offered.destination_endpoint.is_empty() {
        held.destination_endpoint.clone_from(&offered.destination_endpoint);
    }
    if offered.headers.is_some() {
        held.headers.clone_from(&offered.headers);
    }
    if offered.certificate.is_some() {
        held.certificate.clone_from(&offered.certificate);
    }
    if offered.tls.is_some() {
        held.tls.clone_from(&offered.tls);
    }
    if offered.proxy.is_some() {
        held.proxy.clone_from(&offered.proxy);
    }
    held.other_settings.extend(offered.other_settings.clone());
}

#[cfg(test)]
mod tests {
    use opamp::InstanceUid;

    use super::*;
    use crate::core::Settings;

    const ALL: u64 = AgentCapabilities::AcceptsOpAmpConnectionSettings as u64
        | AgentCapabilities::ReportsOwnMetrics as u64
        | AgentCapabilities::AcceptsOtherConnectionSettings as u64
        | AgentCapabilities::ReportsConnectionSettingsStatus as u64;

    fn agent(capabilities: u64) -> Agent {
        let settings = Settings::new(InstanceUid::from_bytes([1; 16]));
        let mut agent = Agent::new(Settings { capabilities, ..settings });
        agent.next_message(0);
        agent
    }

    fn offers(hash: u8) -> ConnectionSettingsOffers {
        ConnectionSettingsOffers { hash: vec![hash; 32], ..Default::default() }
    }

    fn metrics(endpoint: &str) -> Option<TelemetryConnectionSettings> {
        let destination_endpoint = endpoint.to_owned();
        Some(TelemetryConnectionSettings { destination_endpoint, ..Default::default() })
    }

    fn hear(agent: &mut Agent, offers: ConnectionSettingsOffers) {
        let connection_settings = Some(offers);
        agent.hear(&ServerToAgent { connection_settings, ..Default::default() }, 0);
    }

    fn told(agent: &mut Agent) -> Vec<ConnectionSettingsStatuses> {
        std::iter::from_fn(|| agent.next_message(1))
            .filter_map(|message| message.connection_settings_status)
            .map(|status| status.status())
            .collect()
    }

    use ConnectionSettingsStatuses::{Applied, Applying, Failed};

    #[test]
    fn telemetry_is_remembered_and_every_step_told_once() {
        let mut agent = agent(ALL);
        let offer = ConnectionSettingsOffers {
            own_metrics: metrics("https://h/v1/metrics"),
            own_traces: metrics("https://h/v1/traces"),
            ..offers(1)
        };
        hear(&mut agent, offer.clone());
        assert_eq!(told(&mut agent), [Applying, Applied]);
        assert_eq!(agent.connections().own_metrics, metrics("https://h/v1/metrics"));
        assert_eq!(agent.connections().own_traces, None, "it has no bit for them");
        hear(&mut agent, offer);
        assert_eq!(told(&mut agent), [], "the same hash is skipped");
        assert_eq!((agent.ledger.settings_offers, agent.ledger.repeated_settings), (2, 1));
        agent.repeat();
        assert_eq!(told(&mut agent), [Applied], "a full report has it");
    }

    #[test]
    fn what_it_cannot_use_fails_and_what_was_before_stays() {
        let mut agent = agent(ALL);
        hear(
            &mut agent,
            ConnectionSettingsOffers { own_metrics: metrics("https://h/a"), ..offers(1) },
        );
        told(&mut agent);
        let bad = metrics(&format!("https://{UNUSABLE_MARK}/a"));
        hear(&mut agent, ConnectionSettingsOffers { own_metrics: bad, ..offers(2) });
        assert_eq!(told(&mut agent), [Applying, Failed]);
        assert_eq!(agent.connections().own_metrics, metrics("https://h/a"));
        hear(
            &mut agent,
            ConnectionSettingsOffers { own_logs: metrics("https://h/a"), ..offers(3) },
        );
        assert_eq!(told(&mut agent), [Applying, Failed], "nothing in it that it takes");
    }

    #[test]
    fn a_connection_is_in_force_once_somebody_connected_with_it() {
        let mut agent = agent(ALL);
        let settings = |heartbeat| OpAmpConnectionSettings {
            destination_endpoint: "ws://elsewhere/".to_owned(),
            heartbeat_interval_seconds: heartbeat,
            ..Default::default()
        };
        hear(&mut agent, ConnectionSettingsOffers { opamp: Some(settings(7)), ..offers(1) });
        assert_eq!(agent.takes_candidate(), None, "not before the server knows");
        assert_eq!(told(&mut agent), [Applying]);
        assert_eq!(agent.takes_candidate(), Some(settings(7)));
        assert_eq!(agent.takes_candidate(), None, "once");
        agent.tried_candidate(Err("refused".to_owned()));
        assert_eq!(told(&mut agent), [Failed]);
        assert_eq!((agent.connections().opamp.clone(), agent.heartbeat_ms), (None, 30_000));
        hear(&mut agent, ConnectionSettingsOffers { opamp: Some(settings(8)), ..offers(2) });
        told(&mut agent);
        agent.takes_candidate().unwrap();
        agent.tried_candidate(Ok(()));
        assert_eq!(told(&mut agent), [Applied]);
        assert_eq!(
            (agent.connections().opamp.clone(), agent.heartbeat_ms),
            (Some(settings(8)), 8_000)
        );
    }

    #[test]
    fn other_settings_are_put_together() {
        let mut agent = agent(ALL);
        let other = |endpoint: &str, key: &str| OtherConnectionSettings {
            destination_endpoint: endpoint.to_owned(),
            other_settings: [(key.to_owned(), "x".to_owned())].into(),
            ..Default::default()
        };
        for (hash, settings) in [(1, other("h", "a")), (2, other("", "b"))] {
            let other_connections = [("db".to_owned(), settings)].into();
            hear(&mut agent, ConnectionSettingsOffers { other_connections, ..offers(hash) });
        }
        let held = &agent.connections().other["db"];
        assert_eq!((held.destination_endpoint.as_str(), held.other_settings.len()), ("h", 2));
    }
}
