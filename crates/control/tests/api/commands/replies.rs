//! Answers to custom messages: whose they are, and until when.

use bus::v1::commanded::Outcome;
use control::v1::command::{Action, CustomMessage, Reply};
use control::v1::*;
use model::AgentRecord;
use model::custom::Received;
use opamp::v1::CustomCapabilities;
use prost_types::Duration;

use super::{Peer, becomes, give, read, respond, rig, uid};
use crate::rig::{Rig, connected, say};

const ECHO: &str = "org.example.echo";

fn agent(byte: u8) -> AgentRecord {
    let mut record = connected(byte, "prod");
    let capabilities = vec![ECHO.to_owned()];
    record.reported.custom_capabilities = Some(CustomCapabilities { capabilities });
    record
}

async fn ping(rig: &Rig, data: &str, key: &str, window: Option<Duration>) -> String {
    let message = CustomMessage {
        capability: ECHO.to_owned(),
        r#type: "ping".to_owned(),
        data: data.as_bytes().to_vec(),
        reply: Some(Reply { r#type: "pong".to_owned(), key: key.to_owned() }),
    };
    let action = Some(Action::CustomMessage(message));
    let command = Command { action, confirm_window: window, ..Default::default() };
    let agents = vec![format!("agents/{}", uid(1))];
    let request = CreateCommandRequest { command: Some(command), agents, ..Default::default() };
    give(rig, request).await.name
}

async fn says(rig: &Rig, byte: u8, (capability, kind): (&str, &str), data: &str) {
    let (capability, kind) = (capability.to_owned(), kind.to_owned());
    let size = data.len() as u64;
    let message = Received { capability, kind, data: data.as_bytes().to_vec(), size };
    let happened = [model::Event::CustomMessageReceived];
    say(&rig.raw, &rig.records, &agent(byte), &happened, Some(&message)).await;
}

fn data(target: &CommandTarget) -> Option<String> {
    target.reply.as_ref().map(|reply| String::from_utf8(reply.data.clone()).unwrap())
}

#[tokio::test]
async fn an_answer_confirms_even_before_the_gateway_has_its_proof() {
    let (rig, mut gateway) = rig(&[agent(1), agent(2)]).await;
    let name = ping(&rig, "hi", "", None).await;
    let (asked, responder) = gateway.asked().await;
    for (byte, what, data) in [
        (2, (ECHO, "pong"), "another agent"),
        (1, (ECHO, "other"), "another type"),
        (1, ("org.example.echo/v2", "pong"), "another capability"),
        (1, (ECHO, "pong"), "hi"),
    ] {
        says(&rig, byte, what, data).await;
    }
    respond(&asked, responder, Outcome::Delivered).await;
    let target = becomes(&rig, &name, CommandState::Confirmed).await;
    assert_eq!(data(&target).as_deref(), Some("hi"));
    assert!(target.settled && target.reply.unwrap().receive_time.is_some());
}

#[tokio::test]
async fn answers_are_told_apart_by_their_key_in_whatever_order_they_come() {
    let (rig, mut gateway) = rig(&[agent(1)]).await;
    let first = ping(&rig, r#"{"id": 1}"#, "id", None).await;
    gateway.answer(Outcome::Delivered).await;
    let second = ping(&rig, r#"{"id": 2}"#, "id", None).await;
    gateway.answer(Outcome::Sent).await;
    says(&rig, 1, (ECHO, "pong"), r#"{"id": 2, "text": "b"}"#).await;
    says(&rig, 1, (ECHO, "pong"), r#"{"id": 1, "text": "a"}"#).await;
    for (name, said) in [(&first, "a"), (&second, "b")] {
        let target = becomes(&rig, name, CommandState::Confirmed).await;
        assert!(data(&target).unwrap().contains(&format!("\"{said}\"")), "{target:?}");
    }
}

#[tokio::test]
async fn what_was_lost_on_its_way_is_found_by_its_answer() {
    let (rig, mut gateway) = rig(&[agent(1)]).await;
    let name = ping(&rig, "hi", "", None).await;
    gateway.answer(Outcome::Broken).await;
    becomes(&rig, &name, CommandState::Unknown).await;
    says(&rig, 1, (ECHO, "pong"), "hi").await;
    let target = becomes(&rig, &name, CommandState::Confirmed).await;
    assert_eq!((data(&target).as_deref(), target.reason.as_str()), (Some("hi"), ""));
}

#[tokio::test]
async fn an_answer_after_the_window_changes_nothing() {
    let (rig, mut gateway) = rig(&[agent(1)]).await;
    says(&rig, 1, (ECHO, "pong"), "before it was asked").await;
    let window = Duration { seconds: 0, nanos: 300_000_000 };
    let name = ping(&rig, "hi", "", Some(window)).await;
    gateway.answer(Outcome::Delivered).await;
    becomes(&rig, &name, CommandState::Delivered).await;
    rig.clock.pass(std::time::Duration::from_secs(1));
    crate::rig::until("it is settled", async || read(&rig, &name).await.settled).await;
    says(&rig, 1, (ECHO, "pong"), "late").await;
    assert!(gateway.is_left_alone().await, "two looks of the driver");
    let target = read(&rig, &name).await.target.unwrap();
    assert_eq!((target.state(), target.reply), (CommandState::Delivered, None));
}

#[tokio::test]
async fn a_control_that_goes_on_with_another_s_command_has_heard_the_answer() {
    let (first, mut gateway) = rig(&[agent(1)]).await;
    let name = ping(&first, "hi", "", None).await;
    gateway.answer(Outcome::Delivered).await;
    becomes(&first, &name, CommandState::Delivered).await;
    let second = first.restart(control::Limits::default()).await;
    let _gateway = Peer::new(&second, "gw").await;
    says(&second, 1, (ECHO, "pong"), "hi").await;
    let target = becomes(&second, &name, CommandState::Confirmed).await;
    assert_eq!(data(&target).as_deref(), Some("hi"));
}
