//! Commands that wait: for agents that are away, and for polls.

use std::time::Duration;

use bus::WORKERS;
use bus::v1::commanded::Outcome;
use bus::v1::{Handover, HandoverReply, handover_reply};
use control::v1::*;
use prost_types::Timestamp as WireTime;

use super::*;
use crate::rig::agent;

/// An agent that is away, and can be restarted.
fn away(byte: u8) -> AgentRecord {
    let mut record = agent(byte, "prod");
    record.capabilities |= 0x400;
    record
}

fn polling(byte: u8) -> AgentRecord {
    let last_seen = model::Timestamp(1_700_000_000_000);
    AgentRecord { polls: true, last_seen, ..away(byte) }
}

#[tokio::test]
async fn an_agent_that_is_away_is_told_when_it_is_back() {
    let (rig, mut gateway) = rig(&[away(1)]).await;
    let given = give(&rig, queued(restart(&[1]))).await;
    assert_eq!(given.target.unwrap().state(), CommandState::Queued);
    assert!(gateway.is_left_alone().await);
    rig.commit(&restartable(1, "prod")).await;
    gateway.answer(Outcome::Delivered).await;
    becomes(&rig, &given.name, CommandState::Delivered).await;
}

#[tokio::test]
async fn what_was_not_sent_by_its_end_is_expired() {
    let (rig, mut gateway) = rig(&[away(1)]).await;
    let mut request = queued(restart(&[1]));
    let expire_time = WireTime { seconds: 1_700_000_060, nanos: 0 };
    request.command.as_mut().unwrap().expire_time = Some(expire_time);
    let given = give(&rig, request).await;
    rig.clock.pass(Duration::from_secs(60));
    let target = becomes(&rig, &given.name, CommandState::Expired).await;
    assert!(target.reason.contains("not connected"), "{}", target.reason);
    rig.commit(&restartable(1, "prod")).await;
    assert!(gateway.is_left_alone().await);
}

#[tokio::test]
async fn what_waits_can_be_taken_back_and_what_was_sent_cannot() {
    let (rig, mut gateway) = rig(&[away(1), restartable(2, "prod")]).await;
    let given = give(&rig, queued(restart(&[1, 2]))).await;
    gateway.answer(Outcome::Delivered).await;
    let cancel = || CancelCommandRequest { name: given.name.clone() };
    client(&rig).cancel_command(cancel()).await.unwrap();
    let states = async || {
        let parent = given.name.clone();
        let request = ListCommandTargetsRequest { parent, ..Default::default() };
        let targets = client(&rig).list_command_targets(request).await.unwrap().into_inner();
        targets.targets.iter().map(CommandTarget::state).collect::<Vec<_>>()
    };
    until("one is taken back, and the other told", async || {
        states().await == [CommandState::Cancelled, CommandState::Delivered]
    })
    .await;
    rig.commit(&restartable(1, "prod")).await;
    assert!(gateway.is_left_alone().await);
}

#[tokio::test]
async fn an_agent_that_polls_gets_it_by_its_record() {
    let (rig, mut gateway) = rig(&[polling(1)]).await;
    let mut worker = rig.bus.join::<Handover>(&Subject::Command, WORKERS, 8).await.unwrap();
    let given = give(&rig, queued(restart(&[1]))).await;
    let target = given.target.unwrap();
    assert_eq!((target.state(), target.gateway_id.as_str()), (CommandState::Routed, ""));
    // A worker that says nothing clear is asked again: the record takes nothing twice.
    for outcome in [handover_reply::Outcome::Unspecified, handover_reply::Outcome::Taken] {
        let mut received = None;
        until("the record is asked", async || {
            rig.clock.pass(Duration::from_millis(20));
            received = worker.try_next().await;
            received.is_some()
        })
        .await;
        let (asked, responder) = received.unwrap().split();
        assert_eq!((&asked.instance_uid[..], &asked.message[..]), (&[1; 16][..], &[0x4a, 0][..]));
        responder.send(&HandoverReply { outcome: outcome.into() }).await;
    }
    let again = tokio::time::timeout(Duration::from_millis(600), worker.next()).await;
    assert!(again.is_err(), "it has it");
    assert!(gateway.is_left_alone().await);
}
