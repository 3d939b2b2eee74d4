//! Own telemetry, and what a real agent does with settings.

use std::time::Duration;

use agent::core::{Agent, CAPABILITIES};
use agent::link::Endpoint;
use control::v1::apply_connection_settings_request::Settings;
use opamp::v1::*;

use super::conn::{SECRET, headers, next, opamp, said, taking, telemetry};
use crate::fleet::{Fleet, PATIENCE};
use crate::messages::{LOGS, METRICS, OPAMP, SETTINGS, STATUS, TRACES, text};

pub(crate) async fn tel_01_the_first_reply_names_the_backend(fleet: &Fleet) {
    let case = "tel-01";
    for signal in ["metrics", "traces", "logs"] {
        let settings = telemetry(&format!("https://otel/v1/{signal}"));
        fleet.give_settings(case, &format!("own-{signal}"), Settings::Telemetry(settings)).await;
    }
    let mut socket = fleet.connect().await;
    let mut message = taking(fleet, case, METRICS | TRACES | LOGS | STATUS);
    socket.send(&message).await.unwrap();
    let offers = socket.receive(PATIENCE).await.unwrap().connection_settings.unwrap();
    assert!(offers.own_metrics.is_some() && offers.own_traces.is_some());
    assert_eq!(offers.own_logs, Some(telemetry("https://otel/v1/logs")));
    for message in [next(&message), next(&next(&message))] {
        socket.send(&message).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().connection_settings, None, "unchanged");
    }
    message = said(&next(&next(&message)), &offers.hash, ConnectionSettingsStatuses::Applied);
    socket.send(&message).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().connection_settings, None);
    let other = Settings::Telemetry(telemetry("https://elsewhere/v1/logs"));
    fleet.give_settings(case, "own-logs", other).await;
    let pushed = socket.receive(PATIENCE).await.unwrap().connection_settings.unwrap();
    assert_eq!(pushed.own_logs, Some(telemetry("https://elsewhere/v1/logs")));
    assert_ne!(pushed.hash, offers.hash);
}

pub(crate) async fn tel_05_a_new_session_is_told_once_unless_it_knows(fleet: &Fleet) {
    let case = "tel-05";
    let settings = Settings::Telemetry(telemetry("https://otel/v1/metrics"));
    fleet.give_settings(case, "own-metrics", settings).await;
    let first = taking(fleet, case, METRICS | STATUS);
    let offered = async |message: &AgentToServer| {
        let mut socket = fleet.connect().await;
        socket.send(message).await.unwrap();
        let offers = socket.receive(PATIENCE).await.unwrap().connection_settings;
        socket.send(&next(message)).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().connection_settings, None, "once");
        socket.close().await.unwrap();
        offers
    };
    let hash = offered(&first).await.unwrap().hash;
    assert_eq!(offered(&first).await.unwrap().hash, hash, "it was started again");
    let word = said(&first, &hash, ConnectionSettingsStatuses::Applied);
    let knows =
        AgentToServer { connection_settings_status: word.connection_settings_status, ..first };
    assert_eq!(offered(&knows).await, None);
}

/// The reference agent at a fleet, which takes every class.
fn start(fleet: &Fleet, case: &str, polls: bool) -> agent::Handle {
    let description = AgentDescription {
        non_identifying_attributes: vec![text("case", case)],
        ..Default::default()
    };
    let settings = agent::Settings {
        description,
        capabilities: CAPABILITIES | SETTINGS,
        ..agent::Settings::new(fleet.uid())
    };
    agent::start_at(settings, fleet.endpoint(polls))
}

fn status(agent: &Agent) -> Option<ConnectionSettingsStatuses> {
    agent.settings_status().map(ConnectionSettingsStatus::status)
}

fn url(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.polls { "http" } else { "ws" };
    format!("{scheme}://{}{}", endpoint.authority, endpoint.path)
}

/// The agent tries it, and is itself all the while: to the server it comes back, and no more.
pub(crate) async fn conn_13_an_agent_changes_its_connection_and_stays_itself(fleet: &Fleet) {
    let case = "conn-13";
    let agents = [start(fleet, case, false), start(fleet, case, true)];
    for agent in &agents {
        assert!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await);
    }
    let other = fleet.own(&[]).await;
    let away = other.endpoint(false);
    let settings = OpAmpConnectionSettings {
        destination_endpoint: url(&away),
        headers: headers("x-token", SECRET),
        ..opamp(1)
    };
    fleet.give_settings(case, "opamp", Settings::Opamp(settings)).await;
    for agent in &agents {
        let applied = |agent: &Agent| status(agent) == Some(ConnectionSettingsStatuses::Applied);
        assert!(
            agent.until(PATIENCE * 3, applied).await,
            "{:?}",
            agent.see(|it| it.settings_status().cloned())
        );
        let uid = agent.see(Agent::uid);
        let connected = control::v1::ConnectionStatus::Connected;
        other.until(uid, |agent| agent.status() == connected).await;
        // One offer, one change, no way back.
        let offers = agent.see(|agent| agent.ledger.settings_offers);
        assert_eq!(offers, 1, "no loop");
    }
    assert_eq!(other.until_listed(&format!("case={case}"), 2).await.len(), 2, "nobody else");
    for agent in agents {
        agent.stop().await;
    }
}

/// What does not work is told, and the old connection goes on.
pub(crate) async fn conn_14_an_agent_falls_back(fleet: &Fleet) {
    let case = "conn-14-back";
    let agent = start(fleet, case, false);
    assert!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await);
    let settings = OpAmpConnectionSettings {
        // Nobody listens there.
        destination_endpoint: "ws://127.0.0.1:1/v1/opamp".to_owned(),
        ..opamp(1)
    };
    fleet.give_settings(case, "opamp", Settings::Opamp(settings)).await;
    let failed = |agent: &Agent| status(agent) == Some(ConnectionSettingsStatuses::Failed);
    assert!(agent.until(PATIENCE * 2, failed).await);
    let (uid, offers) = agent.see(|agent| (agent.uid(), agent.ledger.settings_offers));
    let told = |agent: &control::v1::Agent| {
        let report = agent.report.as_ref();
        let told = report.and_then(|it| it.connection_settings_status.as_ref());
        told.is_some_and(|told| told.error_message.starts_with("connection lost"))
    };
    fleet.until(uid, told).await;
    agent.change(|agent| agent.set_health(true, "goes on", ""));
    fleet.until(uid, |agent| agent.health.as_ref().unwrap().status == "goes on").await;
    assert_eq!((offers, agent.see(|agent| agent.ledger.settings_offers)), (1, 1));
    agent.stop().await;
}

/// An interval of a second: heartbeats of the one, polls of the other.
pub(crate) async fn hb_02_the_interval_is_the_servers(fleet: &Fleet) {
    let case = "hb-02";
    let endpoint = fleet.endpoint(false);
    let poll = Endpoint { polls: true, ..endpoint.clone() };
    for (class_case, endpoint) in [("hb-02-ws", &endpoint), ("hb-02-http", &poll)] {
        let settings = OpAmpConnectionSettings { destination_endpoint: url(endpoint), ..opamp(1) };
        fleet.give_settings(class_case, "opamp", Settings::Opamp(settings)).await;
        let agent = start(fleet, class_case, endpoint.polls);
        let applied = |agent: &Agent| status(agent) == Some(ConnectionSettingsStatuses::Applied);
        assert!(agent.until(PATIENCE, applied).await, "{case}");
        let beats = agent.see(|agent| agent.ledger.heartbeats);
        let more = |agent: &Agent| agent.ledger.heartbeats >= beats + 3;
        assert!(agent.until(Duration::from_secs(8), more).await, "the default is 30 s");
        agent.stop().await;
    }
    let message = taking(fleet, "hb-02-ws", OPAMP);
    let offers = fleet.poll(&message).await.connection_settings.unwrap();
    assert_eq!(offers.opamp.unwrap().heartbeat_interval_seconds, 1);
}
