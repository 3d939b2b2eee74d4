//! Commands: only where accepted, alone, by their presence, at most once.

use agent::link::WebSocket;
use control::v1::{CommandState, ConnectionStatus};
use opamp::InstanceUid;
use opamp::v1::{AgentCapabilities, AgentToServer, ServerToAgent};
use prost::Message as _;
use tonic::Code;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::{self, offered};

const BIT: u64 = AgentCapabilities::AcceptsRestartCommand as u64;

/// The same from an agent that can be restarted.
fn able(message: AgentToServer) -> AgentToServer {
    AgentToServer { capabilities: message.capabilities | BIT, ..message }
}

fn full(uid: InstanceUid, seq: u64, case: &str) -> AgentToServer {
    able(messages::full(uid, seq, case))
}

fn bare(uid: InstanceUid, seq: u64) -> AgentToServer {
    able(messages::bare(uid, seq))
}

/// An agent with a session, as operators see it.
async fn with_session(fleet: &Fleet, first: &AgentToServer) -> (InstanceUid, WebSocket) {
    let uid = InstanceUid::try_from(&first.instance_uid[..]).unwrap();
    let mut socket = fleet.connect().await;
    socket.send(first).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    fleet.until(uid, |agent| agent.status() == ConnectionStatus::Connected).await;
    (uid, socket)
}

/// An agent that polls, as operators see it.
async fn with_polls(fleet: &Fleet, first: &AgentToServer) -> InstanceUid {
    fleet.poll(first).await;
    let uid = InstanceUid::try_from(&first.instance_uid[..]).unwrap();
    fleet.until(uid, |agent| agent.status() == ConnectionStatus::Connected).await;
    uid
}

/// The command, and nothing beside it but who it is for and what the server can do.
fn is_alone(message: &ServerToAgent) -> bool {
    let ServerToAgent { instance_uid, capabilities, command, .. } = message.clone();
    let alone = ServerToAgent { instance_uid, capabilities, command, ..Default::default() };
    alone == *message && message.command.is_some()
}

pub(crate) async fn cmd_01_only_who_accepts_it_is_told_to_restart(fleet: &Fleet) {
    let first = messages::full(fleet.uid(), 0, "none");
    let (uid, mut socket) = with_session(fleet, &first).await;
    let refused = fleet.restart_agent(uid, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("AcceptsRestartCommand"), "{refused}");
    socket.send(&messages::bare(uid, 1)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().command, None);
    // It accepts it from now on.
    socket.send(&bare(uid, 2)).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    fleet.until(uid, |agent| agent.capabilities & BIT != 0).await;
    fleet.restart_agent(uid, false).await.unwrap();
    assert!(socket.receive(PATIENCE).await.unwrap().command.is_some());
}

pub(crate) async fn cmd_02_a_command_travels_alone(fleet: &Fleet) {
    let case = "cmd-02";
    let (uid, mut socket) = with_session(fleet, &full(fleet.uid(), 0, case)).await;
    let polls = with_polls(fleet, &full(fleet.uid(), 0, case)).await;
    fleet.restart_agent(polls, true).await.unwrap();
    let hash = fleet.give(case, b"a: 1").await;
    let command = fleet.restart_agent(uid, false).await.unwrap();
    let (mut told, mut config) = (0, 0);
    while told == 0 || config == 0 {
        let message = socket.receive(PATIENCE).await.unwrap();
        told += usize::from(message.command.is_some());
        config += usize::from(offered(&message) == Some(&hash[..]));
        assert!(message.command.is_none() || is_alone(&message), "{message:?}");
    }
    // Nobody read the ping behind it: on the socket is all that is known.
    fleet.until_command(&command, CommandState::Sent).await;
    // What is on offer waits for the next poll.
    let mut replies = Vec::new();
    while !replies.iter().any(|reply| offered(reply) == Some(&hash[..])) {
        assert!(replies.len() < 50, "{replies:?}");
        replies.push(fleet.poll(&bare(polls, replies.len() as u64 + 1)).await);
    }
    let told: Vec<_> = replies.iter().filter(|reply| reply.command.is_some()).collect();
    assert!(told.len() == 1 && is_alone(told[0]), "{told:?}");
}

pub(crate) async fn cmd_03_a_restart_is_there_without_a_value(fleet: &Fleet) {
    let uid = with_polls(fleet, &full(fleet.uid(), 0, "none")).await;
    fleet.restart_agent(uid, true).await.unwrap();
    let headers = [("Content-Type", "application/x-protobuf")];
    for seq in 1.. {
        let answer = fleet.post(&headers, bare(uid, seq).encode_to_vec()).await;
        let message = ServerToAgent::decode(answer.body.clone()).unwrap();
        if message.command.is_some() {
            // Field 9, no bytes: the type is left out, since Restart is 0.
            assert!(answer.body.windows(2).any(|bytes| bytes == [0x4a, 0x00]));
            return;
        }
        assert!(seq < 50, "never told");
    }
}

pub(crate) async fn cmd_04_who_polls_is_told_once(fleet: &Fleet) {
    let uid = with_polls(fleet, &full(fleet.uid(), 0, "none")).await;
    let command = fleet.restart_agent(uid, true).await.unwrap();
    let (mut told, mut seq) = (0, 0);
    while told == 0 {
        seq += 1;
        assert!(seq < 50, "never told");
        let message = bare(uid, seq);
        told += usize::from(fleet.poll(&message).await.command.is_some());
    }
    // The same poll again, as if its reply was lost, and three more.
    assert_eq!(fleet.poll(&bare(uid, seq)).await.command, None);
    for seq in seq + 1..=seq + 3 {
        assert_eq!(fleet.poll(&bare(uid, seq)).await.command, None);
    }
    let restarted = AgentToServer {
        health: Some(opamp::v1::ComponentHealth {
            healthy: true,
            start_time_unix_nano: 1_700_000_000_000_000_000,
            ..Default::default()
        }),
        ..full(uid, 0, "none")
    };
    assert_eq!(fleet.poll(&restarted).await.command, None);
    fleet.until_command(&command, CommandState::Confirmed).await;
}

pub(crate) async fn cmd_04_who_comes_back_is_not_told_again(fleet: &Fleet) {
    let (uid, mut socket) = with_session(fleet, &full(fleet.uid(), 7, "none")).await;
    let command = fleet.restart_agent(uid, false).await.unwrap();
    assert!(is_alone(&socket.receive(PATIENCE).await.unwrap()));
    drop(socket);
    let mut socket = fleet.connect().await;
    for message in [full(uid, 0, "none"), bare(uid, 1), bare(uid, 2)] {
        socket.send(&message).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().command, None);
    }
    // Its numbers begin anew: it did.
    fleet.until_command(&command, CommandState::Confirmed).await;
}
