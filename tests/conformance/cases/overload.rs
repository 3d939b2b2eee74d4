//! What agents are told when there is no room, or when what is behind the gateway is away.

use std::time::Duration;

use agent::link::WebSocket;
use http::StatusCode;
use opamp::v1::server_error_response::Details;
use opamp::v1::*;
use opamp::{InstanceUid, ws};
use prost::Message as _;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

/// The memory for messages that cases set.
const MEMORY: usize = 1 << 20;
/// What unfinished messages leave of it.
const LEFT: usize = 4 << 10;
/// What does not fit into that.
const MORE: usize = 12 << 10;
/// How long agents may be told to stay away.
const STAY_AWAY: std::ops::RangeInclusive<u64> = 30..=61;

/// A report that says something, in this many bytes and some.
fn large(uid: InstanceUid, seq: u64) -> AgentToServer {
    let last_error = "x".repeat(MORE);
    AgentToServer {
        health: Some(ComponentHealth { last_error, ..Default::default() }),
        ..bare(uid, seq)
    }
}

/// Sends each gateway a large part of a message, and waits until it has taken it.
async fn fill(fleet: &Fleet) -> Vec<WebSocket> {
    let mut sockets = Vec::new();
    for _ in 0..fleet.gateways() {
        let mut frames = Vec::new();
        ws::binary(&mut frames, &vec![0; MEMORY - LEFT], Some([0; 4]));
        // More is to follow.
        frames[0] &= 0x7f;
        ws::ping(&mut frames, b"taken", Some([0; 4]));
        let mut socket = fleet.connect().await;
        socket.send_raw(&frames).await.unwrap();
        let taken = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a pong");
        assert!(matches!(taken, Ok(ws::Event::Pong(_))), "{taken:?}");
        sockets.push(socket);
    }
    sockets
}

/// Polls until each gateway says in a row that there is no room, and returns the last answer.
async fn until_refused(fleet: &Fleet, uid: InstanceUid) -> agent::link::Answer {
    let body = large(uid, 0).encode_to_vec();
    let refused = async {
        let mut in_a_row = 0;
        loop {
            let answer = fleet.post_once(&[], body.clone()).await;
            let is_refused = answer.status == StatusCode::SERVICE_UNAVAILABLE;
            in_a_row = if is_refused { in_a_row + 1 } else { 0 };
            if in_a_row > fleet.gateways() {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("a full gateway refuses")
}

/// An error UNAVAILABLE that stands alone and says when to come back.
fn assert_unavailable(reply: &ServerToAgent, uid: InstanceUid) {
    let error = reply.error_response.clone().expect("an error");
    assert_eq!(error.r#type(), ServerErrorResponseType::Unavailable, "a passing fault");
    assert!(!error.error_message.is_empty());
    let Some(Details::RetryInfo(retry)) = &error.details else { panic!("no retry info") };
    let seconds = retry.retry_after_nanoseconds / 1_000_000_000;
    assert!(STAY_AWAY.contains(&seconds), "{seconds} s");
    let alone = ServerToAgent {
        instance_uid: uid.as_bytes().to_vec(),
        error_response: Some(error),
        ..Default::default()
    };
    assert_eq!(*reply, alone);
}

fn retry_after(answer: &agent::link::Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

pub(crate) async fn err_04_without_room_agents_are_told_to_come_back(shared: &Fleet) {
    let bytes = MEMORY.to_string();
    let arguments = ["--opamp-message-max-bytes", &bytes, "--opamp-memory-max-bytes", &bytes];
    let fleet = shared.own(&arguments).await;
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();

    let full_up = fill(&fleet).await;
    let answer = until_refused(&fleet, fleet.uid()).await;
    assert!(STAY_AWAY.contains(&retry_after(&answer)), "{:?}", answer.headers);
    socket.send(&large(uid, 1)).await.unwrap();
    assert_unavailable(&socket.receive(PATIENCE).await.unwrap(), uid);
    let quiet = socket.receive(Duration::from_millis(300)).await;
    assert!(matches!(quiet, Err(agent::Error::TimedOut(_))), "no error is pushed: {quiet:?}");

    drop(full_up);
    let freed = async {
        let body = large(fleet.uid(), 0).encode_to_vec();
        while fleet.post_once(&[], body.clone()).await.status != StatusCode::OK
            || fleet.post_once(&[], body.clone()).await.status != StatusCode::OK
        {}
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("room again");
    socket.send(&bare(uid, 2)).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!(reply.flags, FULL, "the number of the refused message does not count");
    socket.send(&full(uid, 3, "none")).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
}

pub(crate) async fn err_10_a_full_gateway_refuses_the_handshake(shared: &Fleet) {
    let fleet = shared.own(&["--opamp-connections-max", "2"]).await;
    let mut held = Vec::new();
    for _ in 0..2 * fleet.gateways() {
        held.push(fleet.connect().await);
    }
    for _ in 0..fleet.gateways() {
        match WebSocket::connect(&fleet.endpoint(false), &[]).await {
            Err(agent::Error::Refused { status: 503, retry_after: Some(after) }) => {
                assert!(STAY_AWAY.contains(&after.as_secs()), "{after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    // Polls need no room of theirs.
    assert_eq!(fleet.poll(&full(fleet.uid(), 0, "none")).await.error_response, None);
    for socket in held {
        socket.close().await.unwrap();
    }
}

pub(crate) async fn msg_11_what_was_answered_survives_a_crash(shared: &Fleet) {
    let mut fleet = shared.own(&[]).await;
    let (by_socket, by_poll) = (fleet.uid(), fleet.uid());
    for round in 0..3_u64 {
        let health = Some(ComponentHealth { status: round.to_string(), ..Default::default() });
        let mut socket = fleet.connect().await;
        for uid in [by_socket, by_poll] {
            let message = if round == 0 { full(uid, 0, "none") } else { bare(uid, round) };
            let message = AgentToServer { health: health.clone(), ..message };
            let reply = if uid == by_socket {
                socket.send(&message).await.unwrap();
                socket.receive(PATIENCE).await.unwrap()
            } else {
                fleet.poll(&message).await
            };
            assert_eq!((reply.flags, reply.error_response), (0, None), "round {round}");
        }
        fleet.restart(&[]).await;
        for uid in [by_socket, by_poll] {
            let agent = fleet.until(uid, |_| true).await;
            assert_eq!(agent.health.unwrap().status, round.to_string());
        }
    }
}

pub(crate) async fn msg_11_nothing_is_acknowledged_without_the_store(shared: &Fleet) {
    let mut fleet = shared.own(&[]).await;
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    fleet.store().kill().unwrap();
    let word = |seq, status: &str| {
        let health = Some(ComponentHealth { status: status.to_owned(), ..Default::default() });
        AgentToServer { health, ..bare(uid, seq) }
    };
    socket.send(&word(1, "lost")).await.unwrap();
    let answer = fleet.post_once(&[], full(fleet.uid(), 0, "none").encode_to_vec()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(STAY_AWAY.contains(&retry_after(&answer)), "{:?}", answer.headers);
    assert_unavailable(&socket.receive(PATIENCE * 3).await.unwrap(), uid);

    // A heartbeat is answered all the same, and covers nothing up.
    socket.send(&bare(uid, 2)).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!((reply.flags, reply.error_response), (0, None));

    fleet.store().restart().unwrap();
    let asked = socket.receive(PATIENCE * 4).await.expect("the store is back");
    assert_eq!((asked.flags, asked.error_response), (FULL, None), "what was lost is asked for");
    let report = AgentToServer { health: word(0, "kept").health, ..full(uid, 3, "none") };
    socket.send(&report).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
    fleet.until(uid, |agent| agent.health.as_ref().unwrap().status == "kept").await;
}
