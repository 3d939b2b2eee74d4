//! How the control plane itself is doing, also when something of it is away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::Subject;
use bus::v1 as wire;
use control::Limits;
use control::v1::fleet_client::FleetClient;
use control::v1::*;

use crate::rig::{Rig, Watched, agent, put, until};

async fn status(rig: &Rig) -> GetStatusResponse {
    let mut fleet = FleetClient::new(rig.channel.clone());
    fleet.get_status(GetStatusRequest {}).await.unwrap().into_inner()
}

async fn gateways(rig: &Rig) -> Vec<Gateway> {
    let mut fleet = FleetClient::new(rig.channel.clone());
    fleet.list_gateways(ListGatewaysRequest {}).await.unwrap().into_inner().gateways
}

fn said() -> wire::Status {
    let role = wire::status::Role {
        name: "gateway".to_owned(),
        ready: false,
        reason: "does not hear the bus".to_owned(),
    };
    wire::Status {
        process_id: "p1".to_owned(),
        roles: vec![role],
        version: "1.2.3".to_owned(),
        started_unix_ms: 1_700_000_000_000,
        gateway_id: "g1".to_owned(),
        gateway_address: "ws://h:1/v1/opamp".to_owned(),
        ..Default::default()
    }
}

async fn speak(rig: &Rig, sessions: u64) {
    let gateway_id = "g1".to_owned();
    let presence = wire::Presence { gateway_id, sessions, ..Default::default() };
    rig.bus.publish(&Subject::Presence, &presence).await.unwrap();
    rig.bus.publish(&Subject::Status, &said()).await.unwrap();
}

#[tokio::test]
async fn processes_and_gateways_are_shown_as_they_were_last_heard() {
    let rig = Rig::new().await;
    until("it is heard", async || {
        speak(&rig, 7).await;
        let status = status(&rig).await;
        status.processes.len() == 1 && status.gateways.len() == 1
    })
    .await;
    let seen = status(&rig).await;
    let process = &seen.processes[0];
    assert_eq!((process.process_id.as_str(), process.version.as_str()), ("p1", "1.2.3"));
    assert_eq!(process.roles[0].reason, "does not hear the bus");
    assert_eq!(process.liveness(), Liveness::Alive);
    let listed = gateways(&rig).await;
    assert_eq!(listed, seen.gateways);
    let gateway = &listed[0];
    assert_eq!((gateway.gateway_id.as_str(), gateway.sessions), ("g1", 7));
    assert_eq!((gateway.version.as_str(), gateway.process_id.as_str()), ("1.2.3", "p1"));
    assert_eq!(gateway.address, "ws://h:1/v1/opamp");

    rig.clock.pass(Duration::from_millis(Limits::default().gateway_lease_ms));
    let seen = status(&rig).await;
    assert_eq!(seen.processes[0].liveness(), Liveness::Silent);
    assert_eq!(seen.gateways[0].liveness(), Liveness::Silent);
    rig.bus.publish(&Subject::Status, &wire::Status { ended: true, ..said() }).await.unwrap();
    until("who ended is gone", async || {
        let seen = status(&rig).await;
        seen.processes.is_empty() && seen.gateways.is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_control_stands_on_is_asked_and_its_lag_told() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let rig = Rig::with(records).await;
    let seen = status(&rig).await;
    assert_eq!(
        seen.view.unwrap(),
        get_status_response::View { ready: true, behind: Some(0), last_event_time: None }
    );
    assert_eq!(seen.agents.unwrap().total, 1);
    for service in [seen.bus, seen.records, seen.ledger] {
        assert!(service.unwrap().reachable);
    }
    rig.commit(&agent(2, "prod")).await;
    until("it is in the view", async || rig.total("").await == 2).await;
    let seen = status(&rig).await;
    assert!(seen.view.unwrap().last_event_time.is_some());
    assert_eq!(seen.agents.unwrap().connected, 0);
}

#[tokio::test]
async fn a_store_that_is_away_is_named_and_nothing_else_suffers() {
    let rig = Rig::new().await;
    rig.ledger.away.store(true, Ordering::Relaxed);
    let seen = status(&rig).await;
    assert_eq!(seen.offers, None, "nobody can say");
    let ledger = seen.ledger.unwrap();
    assert!(!ledger.reachable && ledger.error.contains("told to be away"), "{ledger:?}");
    assert!(seen.records.unwrap().reachable);
    assert!(seen.view.unwrap().ready);
}
