//! What is seen of the fleet: out of order, after losses, while agents come and go.

use std::time::Duration;

use bus::v1::Presence;
use bus::v1::presence::Seen;
use bus::{Bus as _, LogEntry, Subject};
use bytes::Bytes;
use control::v1::*;
use model::record::{Offered, Owner};
use model::{AgentRecord, AgentSummary, ConfigHash, GatewayId, RevisionRef, SessionId, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{ComponentHealth, RemoteConfigStatus};
use store::{Key, Store as _, Version, Write};
use tonic::{Code, Status};

use crate::list;
use crate::rig::{Rig, Watched, agent, put, until};

async fn get(rig: &Rig, byte: u8) -> Result<Agent, Status> {
    let name = format!("agents/{}", InstanceUid::from_bytes([byte; 16]));
    rig.agents.clone().get_agent(GetAgentRequest { name }).await.map(tonic::Response::into_inner)
}

async fn only(rig: &Rig) -> Agent {
    let page = rig.agents.clone().list_agents(list("", 0, "")).await.unwrap().into_inner();
    page.agents.into_iter().next().expect("an agent")
}

/// Tells the log of a version of a record, as often as asked.
async fn tell(rig: &Rig, record: &AgentRecord, version: u64, id: &str) {
    let summary = AgentSummary::from(record);
    let payload =
        bus::event::encode(&record.instance_uid, version, Timestamp(0), &[], Some(&summary), None);
    let entry = LogEntry { key: "00".to_owned(), id: id.to_owned(), payload };
    rig.bus.append(vec![entry]).await.unwrap();
}

#[tokio::test]
async fn older_news_that_comes_again_changes_nothing() {
    let rig = Rig::new().await;
    rig.commit(&agent(1, "dev")).await;
    rig.commit(&agent(1, "prod")).await;
    tell(&rig, &agent(1, "dev"), 1, "again").await;
    rig.commit(&agent(2, "prod")).await;
    until("the log was read to its end", async || rig.total("").await == 2).await;
    assert_eq!(rig.total("env=prod").await, 2);
}

#[tokio::test]
async fn a_log_that_lost_entries_makes_the_view_anew() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let rig = Rig::with(records).await;
    // Written and never told: only a snapshot can find it.
    put(&rig.records, &agent(2, "prod")).await;
    // More than the log keeps, at once, so that the reader falls behind its oldest entry.
    let payload = Bytes::from(vec![0; 1 << 20]);
    let flood =
        |n: u64| LogEntry { key: "00".to_owned(), id: n.to_string(), payload: payload.clone() };
    rig.raw.append((0..100).map(flood).collect()).await.unwrap();
    until("the fleet was read again", async || rig.total("").await == 2).await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_nobody_else() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let broken = Write::next(
        Key::agent(&InstanceUid::from_bytes([9; 16])),
        Version::ABSENT,
        Bytes::from_static(b"\xff\xff"),
    );
    records.inner.commit(vec![broken]).await.unwrap();
    let rig = Rig::with(records).await;
    assert_eq!(rig.total("").await, 1);
    assert_eq!(get(&rig, 9).await.unwrap_err().code(), Code::DataLoss);
}

#[tokio::test]
async fn an_agent_is_shown_as_its_record_has_it() {
    let mut record = agent(1, "prod");
    let part = ComponentHealth { healthy: false, ..Default::default() };
    record.reported.health = Some(ComponentHealth {
        healthy: true,
        component_health_map: [("receiver".to_owned(), part)].into(),
        ..Default::default()
    });
    let hash = ConfigHash([7; 32]);
    let config = Some(RevisionRef { config: "c".to_owned(), revision: 3, hash });
    record.offered = Offered { config, decision: 1 };
    record.reported.remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: hash.0.to_vec(),
        status: 3,
        error_message: "no such receiver".to_owned(),
    });
    let rig = Rig::new().await;
    // Committed, and the view does not know of it yet.
    let version = put(&rig.records, &record).await;
    let whole = get(&rig, 1).await.unwrap();
    assert_eq!(whole.version, version);
    assert_eq!(whole.health, record.reported.health);
    let config = whole.config.unwrap();
    assert_eq!(config.status(), ConfigStatus::Failed);
    assert_eq!(config.offered_revision, "configs/c/revisions/3");
    assert_eq!(config.error_message, "no such receiver");
    assert_eq!(whole.report.unwrap().remote_config_status, record.reported.remote_config_status);

    tell(&rig, &record, version, "late").await;
    until("the view has it", async || rig.total("").await == 1).await;
    let listed = only(&rig).await;
    assert_eq!(listed.report, None);
    assert!(listed.health.unwrap().component_health_map.is_empty());
    assert_eq!(get(&rig, 2).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn presence_decides_who_is_connected_and_when_it_was_seen() {
    let records = Watched::default();
    let mut held = agent(1, "prod");
    held.owner = Some(Owner { gateway: GatewayId::new("gw"), session: SessionId([1; 16]) });
    put(&records, &held).await;
    let rig = Rig::with(records).await;
    assert_eq!(only(&rig).await.status(), ConnectionStatus::Connected);
    rig.clock.pass(Duration::from_secs(11));
    assert_eq!(only(&rig).await.status(), ConnectionStatus::Disconnected);
    assert_eq!(get(&rig, 1).await.unwrap().status(), ConnectionStatus::Disconnected);

    let seen = Seen {
        instance_uid: vec![1; 16].into(),
        seen_unix_ms: 1_700_000_011_000,
        ..Default::default()
    };
    let presence = Presence { gateway_id: "gw".to_owned(), seen: vec![seen], ..Default::default() };
    until("the gateway was heard", async || {
        rig.bus.publish(&Subject::Presence, &presence).await.unwrap();
        only(&rig).await.status() == ConnectionStatus::Connected
    })
    .await;
    assert_eq!(only(&rig).await.last_seen_time.unwrap().seconds, 1_700_000_011);
    assert_eq!(get(&rig, 1).await.unwrap().last_seen_time.unwrap().seconds, 1_700_000_011);
}

#[tokio::test]
async fn who_polls_is_connected_from_the_start() {
    let records = Watched::default();
    let mut polls = agent(1, "prod");
    polls.polls = true;
    put(&records, &polls).await;
    let mut stale = agent(2, "prod");
    stale.polls = true;
    put(&records, &stale).await;
    let seen = store::Presence {
        instance_uid: polls.instance_uid,
        epoch: 0,
        sequence_num: 7,
        // The rig's clock has only just begun.
        seen: Timestamp(1_700_000_000_000),
    };
    records.put_presence(store::POLLS, &[seen]).await.unwrap();
    let rig = Rig::with(records).await;
    let listed = rig.agents.clone().list_agents(list("", 0, "")).await.unwrap().into_inner();
    let statuses: Vec<ConnectionStatus> = listed.agents.iter().map(Agent::status).collect();
    assert_eq!(statuses, [ConnectionStatus::Connected, ConnectionStatus::Disconnected]);
}
