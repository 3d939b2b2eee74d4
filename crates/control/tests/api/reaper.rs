//! Gateways that are not heard any more, and which control looks after them.

use std::sync::Arc;
use std::time::Duration;

use bus::v1::{Generation, Presence, Reap, ReapReply};
use bus::{Inbox, Subject, WORKERS};
use control::Limits;
use model::record::Owner;
use model::{AgentRecord, GatewayId, SessionId};
use store::Store as _;
use tokio::time::timeout;

use crate::rig::{PATIENCE, Rig, Time, Watched, agent, put, until};

const LEASE: Duration = Duration::from_millis(10_001);

fn held(byte: u8, gateway: &str, epoch: u64) -> AgentRecord {
    let owner = Owner { gateway: GatewayId::new(gateway), session: SessionId([byte; 16]) };
    AgentRecord { owner: Some(owner), epoch, ..agent(byte, "prod") }
}

async fn asked(worker: &mut Inbox<Reap>) -> Reap {
    let received = timeout(PATIENCE, worker.next()).await.expect("a gateway is reaped");
    let (ask, responder) = received.unwrap().split();
    responder.send(&ReapReply { alive: true, failed: 0 }).await;
    ask
}

#[tokio::test]
async fn what_a_silent_gateway_held_is_reaped_and_what_others_hold_is_not() {
    let records = Watched::default();
    for record in [held(1, "a", 3), held(2, "b", 4), held(3, "a", 5)] {
        put(&records, &record).await;
    }
    let rig = Rig::reaping("one", records, Arc::default()).await;
    let mut worker = rig.bus.join::<Reap>(&Subject::Reap, WORKERS, 8).await.unwrap();
    rig.clock.pass(LEASE);
    let presence = Presence { gateway_id: "b".to_owned(), ..Presence::default() };
    // Until b is heard, it is silent too.
    rig.bus.publish(&Subject::Presence, &presence).await.unwrap();
    let ask = loop {
        let ask = asked(&mut worker).await;
        if ask.gateway_id == "a" {
            break ask;
        }
    };
    let epochs: Vec<(u8, u64)> =
        ask.targets.iter().map(|target| (target.instance_uid[0], target.epoch)).collect();
    assert_eq!(epochs, [(1, 3), (3, 5)]);
    assert!(ask.targets.iter().all(|target| target.instance_uid.len() == 16));
}

#[tokio::test]
async fn one_control_at_a_time_keeps_house_and_another_takes_over() {
    let records = Watched::default();
    put(&records, &held(1, "a", 3)).await;
    let clock = Arc::<Time>::default();
    let one = Rig::reaping("one", records.clone(), clock.clone()).await;
    let mut asks_one = one.bus.join::<Reap>(&Subject::Reap, WORKERS, 8).await.unwrap();
    clock.pass(LEASE);
    asked(&mut asks_one).await;
    let two = Rig::reaping("two", records, clock.clone()).await;
    let mut asks_two = two.bus.join::<Reap>(&Subject::Reap, WORKERS, 8).await.unwrap();
    // The gateway is as silent to the second one; the lease is renewed under its eyes.
    for _ in 0..20 {
        clock.pass(Duration::from_secs(1));
        asked(&mut asks_one).await;
    }
    assert!(timeout(Duration::from_millis(50), asks_two.next()).await.is_err(), "it does not lead");
    one.shutdown.cancel();
    until("the lease runs out", async || {
        clock.pass(Duration::from_secs(1));
        asks_two.try_next().await.is_some()
    })
    .await;
}

#[tokio::test]
async fn lost_records_are_shown_while_agents_return_and_then_no_more() {
    let records = Watched::default();
    for byte in 1..=2 {
        put(&records, &agent(byte, "prod")).await;
    }
    let limits = Limits { return_window: Duration::from_millis(100), ..Limits::default() };
    let rig = Rig::start(records.clone(), limits).await;
    until("the fleet is read", async || rig.total("").await == 2).await;
    let tell = async |generation| {
        rig.bus
            .publish(&Subject::Generation, &Generation { generation, lost: Vec::new() })
            .await
            .unwrap();
    };
    tell(5).await;
    records.inner.lose(store::Generation(6));
    // It finds out, and begins anew.
    records.inner.ready().await.unwrap();
    put(&records, &agent(1, "prod")).await;
    tell(6).await;
    assert_eq!(rig.total("").await, 2, "not gone at once");
    until("who did not return is shown no more", async || rig.total("").await == 1).await;
}
