//! What becomes of a command when something fails.

use std::time::Duration;

use bus::v1::commanded::Outcome;
use control::Limits;
use control::v1::*;
use model::record::Owner;
use model::{GatewayId, SessionId};

use super::*;

/// The same agent with a session at another gateway.
fn moved(byte: u8, gateway: &str, epoch: u64) -> AgentRecord {
    let owner = Owner { gateway: GatewayId::new(gateway), session: SessionId([9; 16]) };
    AgentRecord { epoch, owner: Some(owner), ..restartable(byte, "prod") }
}

#[tokio::test]
async fn an_agent_that_moved_is_told_where_it_is_now() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let mut other = Peer::new(&rig, "other").await;
    let given = give(&rig, restart(&[1])).await;
    gateway.answer(Outcome::NotOwner).await;
    becomes(&rig, &given.name, CommandState::Queued).await;
    rig.commit(&moved(1, "other", 2)).await;
    rig.clock.pass(Duration::from_secs(1));
    let asked = other.answer(Outcome::Delivered).await;
    assert_eq!(asked.targets[0].epoch, 2);
    let target = becomes(&rig, &given.name, CommandState::Delivered).await;
    assert_eq!((target.attempts, target.gateway_id.as_str()), (2, "other"));
}

#[tokio::test]
async fn what_was_surely_not_sent_twice_is_refused_with_the_reason() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let given = give(&rig, restart(&[1])).await;
    gateway.answer(Outcome::Busy).await;
    becomes(&rig, &given.name, CommandState::Queued).await;
    rig.clock.pass(Duration::from_secs(2));
    gateway.answer(Outcome::Busy).await;
    let target = becomes(&rig, &given.name, CommandState::Refused).await;
    assert!(target.reason.contains("gateway gw (epoch 1)"), "{}", target.reason);
    assert!(target.settled && gateway.is_left_alone().await);
}

#[tokio::test]
async fn what_broke_on_its_way_is_unknown_and_never_sent_again() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let given = give(&rig, restart(&[1])).await;
    gateway.answer(Outcome::Broken).await;
    let target = becomes(&rig, &given.name, CommandState::Unknown).await;
    assert!(target.reason.contains("gateway gw (epoch 1)"), "{}", target.reason);
    rig.commit(&moved(1, "gw", 2)).await;
    assert!(gateway.is_left_alone().await, "not though the agent is back");
}

#[tokio::test]
async fn a_control_that_was_lost_after_routing_leaves_unknown_and_never_sends_again() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let given = give(&rig, restart(&[1])).await;
    let (asked, responder) = gateway.asked().await;
    let limits = Limits { command_look_interval: Duration::from_millis(20), ..Limits::default() };
    let rig = rig.restart(limits).await;
    // Its answer finds nobody.
    respond(&asked, responder, Outcome::Delivered).await;
    let mut gateway = Peer::new(&rig, "gw").await;
    assert!(gateway.is_left_alone().await);
    assert_eq!(read(&rig, &given.name).await.target.unwrap().state(), CommandState::Routed);
    rig.clock.pass(Duration::from_millis(model::command::ANSWER_MS));
    let target = becomes(&rig, &given.name, CommandState::Unknown).await;
    assert!(target.reason.contains("control"), "{}", target.reason);
    assert!(target.reason.contains("gateway gw (epoch 1)"), "{}", target.reason);
    assert!(gateway.is_left_alone().await);
}

#[tokio::test]
async fn a_watch_says_each_step_and_ends_with_the_command() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let given = give(&rig, restart(&[1])).await;
    let request = WatchCommandRequest { name: given.name.clone() };
    let mut watch = client(&rig).watch_command(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.changed[0].state(), CommandState::Routed);
    gateway.answer(Outcome::Sent).await;
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.changed[0].state(), CommandState::Sent);
    rig.clock.pass(Duration::from_secs(120));
    let last = watch.message().await.unwrap().unwrap();
    assert!(last.command.unwrap().settled && last.changed[0].settled);
    assert!(watch.message().await.unwrap().is_none(), "nothing more happens");
}

/// Another control on what this one works with, which takes it for gone: neither says that it is
/// there.
async fn another(rig: &Rig) -> Rig {
    let limits = Limits {
        lease_interval: Duration::from_millis(5),
        command_look_interval: Duration::from_millis(20),
        ..Limits::default()
    };
    let config = control::Config { limits, name: "other".to_owned(), ..Default::default() };
    let (raw, clock) = (rig.raw.clone(), rig.clock.clone());
    Rig::configured(raw, clock, rig.records.clone(), rig.ledger.clone(), config).await
}

#[tokio::test]
async fn a_control_that_takes_over_keeps_the_other_one_from_sending() {
    let mut away = restartable(2, "prod");
    away.owner = None;
    let (rig, mut gateway) = rig(&[restartable(1, "prod"), away]).await;
    let routed = give(&rig, restart(&[1])).await;
    let (_asked, _answer) = gateway.asked().await;
    let mut request = queued(restart(&[2]));
    let expire_time = prost_types::Timestamp { seconds: 1_700_086_400, nanos: 0 };
    request.command.as_mut().unwrap().expire_time = Some(expire_time);
    let waiting = give(&rig, request).await;
    let other = another(&rig).await;
    until("the other one has both", async || {
        rig.clock.pass(Duration::from_secs(1));
        let drivers =
            [read(&rig, &routed.name).await.driver, read(&rig, &waiting.name).await.driver];
        drivers.iter().all(|driver| driver == "other")
    })
    .await;
    until("what was on its way is unknown", async || {
        rig.clock.pass(Duration::from_secs(1));
        read(&rig, &routed.name).await.target.unwrap().state() == CommandState::Unknown
    })
    .await;
    // Both see it come, and both would tell it.
    let mut newer = Peer::new(&rig, "newer").await;
    rig.commit(&moved(2, "newer", 2)).await;
    newer.answer(Outcome::Delivered).await;
    assert!(newer.is_left_alone().await, "told by one of them");
    assert!(gateway.is_left_alone().await);
    drop(other);
}

#[tokio::test]
async fn what_is_settled_is_forgotten_after_its_time_and_what_is_open_is_not() {
    let mut away = restartable(1, "prod");
    away.owner = None;
    let store = crate::rig::Watched::default();
    crate::rig::put(&store, &away).await;
    let hour = Duration::from_secs(3600);
    let limits = Limits {
        lease_interval: Duration::from_millis(5),
        command_look_interval: Duration::from_millis(20),
        ..Limits::default()
    };
    let config = control::Config { limits, keep_commands: Some(hour), ..Default::default() };
    let ledger = crate::rig::Watched::default();
    let rig = Rig::configured(Default::default(), Default::default(), store, ledger, config).await;
    until("the view is ready", async || rig.control.ready()).await;
    let mut request = queued(restart(&[1]));
    let expire_time = prost_types::Timestamp { seconds: 1_700_086_400, nanos: 0 };
    request.command.as_mut().unwrap().expire_time = Some(expire_time);
    let open = give(&rig, request.clone()).await;
    let settled = give(&rig, request).await;
    client(&rig).cancel_command(CancelCommandRequest { name: settled.name.clone() }).await.unwrap();
    rig.clock.pass(hour / 2);
    tokio::time::timeout(PATIENCE / 25, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(count(&rig).await, 2, "not before its time");
    rig.clock.pass(hour / 2);
    until("the settled one is forgotten", async || count(&rig).await == 1).await;
    assert_eq!(read(&rig, &open.name).await.target.unwrap().state(), CommandState::Queued);
}
