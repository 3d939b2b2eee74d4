//! What is not done: the right code, the field named, and nothing changed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bus::v1::commanded::Outcome;
use control::v1::command::{Action, CustomMessage, Disconnect, Reidentify, Reply};
use control::v1::*;
use prost_types::Timestamp as WireTime;
use tonic::Code;

use super::*;
use crate::rig::agent;

fn with(action: Action, agents: &[u8]) -> CreateCommandRequest {
    let mut request = restart(agents);
    request.command.as_mut().unwrap().action = Some(action);
    request
}

fn expiring(seconds: i64) -> CreateCommandRequest {
    let mut request = restart(&[1]);
    request.command.as_mut().unwrap().expire_time = Some(WireTime { seconds, nanos: 0 });
    request
}

fn custom(capability: &str, size: usize) -> CreateCommandRequest {
    said(|message| {
        capability.clone_into(&mut message.capability);
        message.data = vec![0; size];
    })
}

/// A custom message, but for something.
fn said(but: impl FnOnce(&mut CustomMessage)) -> CreateCommandRequest {
    let (capability, r#type) = ("com.example".to_owned(), "go".to_owned());
    let mut message = CustomMessage { capability, r#type, ..Default::default() };
    but(&mut message);
    with(Action::CustomMessage(message), &[1])
}

/// One that wants an answer.
fn asked(kind: &str, key: &str, data: &str) -> CreateCommandRequest {
    said(|message| {
        message.reply = Some(Reply { r#type: kind.to_owned(), key: key.to_owned() });
        message.data = data.as_bytes().to_vec();
    })
}

fn cases() -> Vec<(&'static str, CreateCommandRequest, Code, &'static str)> {
    use Code::{FailedPrecondition, InvalidArgument, NotFound};
    let both = CreateCommandRequest { selector: "env=prod".to_owned(), ..restart(&[1]) };
    let long = CreateCommandRequest { request_id: "x".repeat(129), ..restart(&[1]) };
    let rate = |rate| {
        let mut request = restart(&[1]);
        request.command.as_mut().unwrap().max_per_second = rate;
        request
    };
    let mut window = restart(&[1]);
    let two_hours = prost_types::Duration { seconds: 7200, nanos: 0 };
    window.command.as_mut().unwrap().confirm_window = Some(two_hours);
    let action = {
        let mut request = restart(&[1]);
        request.command.as_mut().unwrap().action = None;
        request
    };
    let undeclared = custom("com.example.unheard", 1);
    let name = |text: &str| CreateCommandRequest { agents: vec![text.to_owned()], ..restart(&[]) };
    let reidentify = |agents: &[u8]| with(Action::Reidentify(Reidentify::default()), agents);
    vec![
        ("no command", CreateCommandRequest::default(), InvalidArgument, "command"),
        ("no action", action, InvalidArgument, "command.action"),
        ("empty selector", restart(&[]), InvalidArgument, "selector"),
        ("bad selector", restart_selected("a in"), InvalidArgument, "selector"),
        ("selector of nobody", restart_selected("env=none"), FailedPrecondition, "selector"),
        ("both", both, InvalidArgument, "selector"),
        ("no name of an agent", name("nonsense"), InvalidArgument, "agents"),
        ("unknown agent", restart(&[9]), NotFound, "agents/"),
        ("without the bit", restart(&[2]), FailedPrecondition, "agents"),
        ("one of them without the bit", restart(&[1, 2]), FailedPrecondition, "agents"),
        ("away", restart(&[3]), FailedPrecondition, "agents"),
        ("polls", restart(&[4]), FailedPrecondition, "agents"),
        (
            "no connection to close",
            queued(with(Action::Disconnect(Disconnect {}), &[4])),
            FailedPrecondition,
            "agents",
        ),
        ("deadline in the past", expiring(1_600_000_000), InvalidArgument, "command.expire_time"),
        ("too far away", expiring(1_700_700_000), InvalidArgument, "command.expire_time"),
        ("negative rate", rate(-1), InvalidArgument, "command.max_per_second"),
        ("too fast", rate(10_001), InvalidArgument, "command.max_per_second"),
        ("waits too long", window, InvalidArgument, "command.confirm_window"),
        ("two new uids", reidentify(&[1, 5]), InvalidArgument, "agents"),
        ("long id", long, InvalidArgument, "request_id"),
        ("undeclared capability", undeclared, FailedPrecondition, "agents"),
        (
            "payload over the limit",
            custom("x", (64 << 10) + 1),
            InvalidArgument,
            "command.custom_message.data",
        ),
        ("no capability", custom("", 1), InvalidArgument, "command.custom_message.capability"),
        (
            "no type",
            said(|message| message.r#type.clear()),
            InvalidArgument,
            "command.custom_message.type",
        ),
        (
            "an answer of no type",
            asked("", "", ""),
            InvalidArgument,
            "command.custom_message.reply.type",
        ),
        (
            "a key that the data lack",
            asked("done", "id", "{}"),
            InvalidArgument,
            "command.custom_message.reply.key",
        ),
        (
            "a key of no object",
            asked("done", "id", "[1]"),
            InvalidArgument,
            "command.custom_message.reply.key",
        ),
    ]
}

#[tokio::test]
async fn bad_input_names_the_field_and_changes_nothing() {
    let mut away = agent(3, "prod");
    away.capabilities |= 0x400;
    let mut polls = agent(4, "prod");
    (polls.polls, polls.capabilities) = (true, polls.capabilities | 0x400);
    polls.last_seen = model::Timestamp(1_700_000_000_000);
    let all = [restartable(1, "prod"), connected(2, "prod"), away, polls, restartable(5, "prod")];
    let (rig, mut gateway) = rig(&all).await;
    for (what, request, code, field) in cases() {
        let error = client(&rig).create_command(request).await.unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.message().starts_with(field), "{what}: {error}");
    }
    assert_eq!(count(&rig).await, 0);
    assert!(gateway.is_left_alone().await);
}

#[tokio::test]
async fn of_those_a_selector_selects_the_unable_are_left_out_and_counted() {
    let mut away = agent(3, "prod");
    away.capabilities |= 0x400;
    let (rig, mut gateway) = rig(&[restartable(1, "prod"), connected(2, "prod"), away]).await;
    let mut request = restart_selected("env=prod");
    request.validate_only = true;
    let told = client(&rig).create_command(request.clone()).await.unwrap().into_inner();
    assert_eq!((told.matched_agents, told.told.unwrap().agents), (3, 1));
    assert_eq!((told.disconnected_agents, told.unable.unwrap().agents), (1, 1));
    assert!(told.command.is_none());
    assert_eq!(count(&rig).await, 0);
    request.validate_only = false;
    let given = give(&rig, request).await;
    assert_eq!(gateway.answer(Outcome::Delivered).await.targets.len(), 1);
    becomes(&rig, &given.name, CommandState::Delivered).await;
}

#[tokio::test]
async fn a_request_that_is_repeated_is_one_command_and_another_one_is_refused() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod"), restartable(2, "prod")]).await;
    let same = CreateCommandRequest { request_id: "r-1".to_owned(), ..restart(&[1]) };
    let tries = (0..4).map(|_| {
        let (mut client, request) = (client(&rig), same.clone());
        async move { client.create_command(request).await.unwrap().into_inner().command }
    });
    let given = futures_util::future::join_all(tries).await;
    let names: std::collections::BTreeSet<String> =
        given.into_iter().map(|command| command.unwrap().name).collect();
    assert_eq!(names.len(), 1);
    gateway.answer(Outcome::Delivered).await;
    assert!(gateway.is_left_alone().await);
    let other = CreateCommandRequest { request_id: "r-1".to_owned(), ..restart(&[2]) };
    let error = client(&rig).create_command(other).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("request_id"), "{error}");
    assert!(gateway.is_left_alone().await);
    assert_eq!(count(&rig).await, 1);
}

#[tokio::test]
async fn while_the_ledger_is_away_it_says_so_and_nothing_is_sent() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    for silent in [false, true] {
        let how = if silent { &rig.ledger.silent } else { &rig.ledger.away };
        how.store(true, Ordering::Relaxed);
        let asked = Instant::now();
        let error = client(&rig).create_command(restart(&[1])).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        how.store(false, Ordering::Relaxed);
        assert!(gateway.is_left_alone().await, "nothing is sent, then or later");
        until("the ledger is back", async || {
            client(&rig).list_commands(ListCommandsRequest::default()).await.is_ok()
        })
        .await;
        assert_eq!(count(&rig).await, 0);
    }
    give(&rig, restart(&[1])).await;
    gateway.answer(Outcome::Delivered).await;
}
