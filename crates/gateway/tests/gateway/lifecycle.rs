//! How connections and sessions end.

use std::time::Duration;

use opamp::v1::AgentDisconnect;
use opamp::ws::{Event, Opcode};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, PATIENCE, until};

#[tokio::test]
async fn a_close_is_echoed_and_told_to_the_workers_with_the_last_number() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    agent.say(&heartbeat(1, 1)).await;
    agent.send_frame(Opcode::Close, &1000_u16.to_be_bytes()).await;
    assert_eq!(agent.event().await, Some(Event::Close(Some(1000))));
    assert_eq!(agent.event().await, None);
    until("the workers know", || field.seen.closes().len() == 1).await;
    let close = &field.seen.closes()[0];
    assert_eq!((&close.instance_uid[..], close.epoch), (&uid(1)[..], 1));
    assert_eq!(close.answered_sequence_num, Some(1));
    assert_eq!(close.session_id, field.seen.reports()[0].0.session_id);
    assert_eq!(field.gateway.sessions(), 0);
}

#[tokio::test]
async fn a_report_just_before_the_close_is_taken_and_answered() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.delay(Duration::from_millis(100));
    agent.send(&report(1, 1)).await;
    agent.send_frame(Opcode::Close, &[]).await;
    assert_eq!(agent.hear().await.error_response, None);
    assert_eq!(agent.event().await, Some(Event::Close(None)));
    until("the workers know", || field.seen.closes().len() == 1).await;
    assert_eq!(field.seen.closes()[0].answered_sequence_num, Some(1));
}

#[tokio::test]
async fn a_close_waits_only_so_long_for_a_report_in_flight() {
    let field = Field::with(|limits| limits.close_grace = Duration::from_millis(100)).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.answer_with(|_, _| None);
    agent.send(&report(1, 1)).await;
    agent.send_frame(Opcode::Close, &[]).await;
    assert_eq!(agent.event().await, Some(Event::Close(None)));
}

#[tokio::test]
async fn a_lost_socket_ends_all_its_sessions() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    drop(proxy);
    until("the workers know", || field.seen.closes().len() == 2).await;
    assert_eq!(field.gateway.sessions(), 0);
}

#[tokio::test]
async fn a_report_in_flight_when_the_socket_is_lost_still_ends_its_session() {
    let field = Field::with(|limits| limits.report_timeout = Duration::from_millis(200)).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.answer_with(|_, _| None);
    agent.send(&report(1, 1)).await;
    until("the report is out", || field.seen.reports().len() == 2).await;
    drop(agent);
    field.seen.answer_as_usual();
    until("the workers know", || field.seen.closes().len() == 1).await;
    until("nothing is held", || field.gateway.sessions() == 0).await;
}

#[tokio::test]
async fn a_goodbye_is_a_report_and_ends_the_session_without_a_close() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    let mut goodbye = heartbeat(1, 1);
    goodbye.agent_disconnect = Some(AgentDisconnect {});
    assert_eq!(proxy.say(&goodbye).await.instance_uid, uid(1));
    assert_eq!(field.seen.reports().len(), 3);
    assert_eq!(field.gateway.sessions(), 1);
    drop(proxy);
    until("the workers know", || !field.seen.closes().is_empty()).await;
    assert_eq!(field.gateway.sessions(), 0);
    let closed: Vec<_> = field.seen.closes().iter().map(|c| c.instance_uid.to_vec()).collect();
    assert_eq!(closed, [uid(2)]);
}

#[tokio::test]
async fn quiet_sockets_are_pinged_and_cut_when_they_do_not_answer() {
    let field = Field::with(|limits| {
        limits.ping_interval = Duration::from_millis(100);
        limits.pong_deadline = Duration::from_millis(300);
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    for _ in 0..3 {
        let Some(Event::Ping(payload)) = agent.event().await else {
            panic!("no ping");
        };
        agent.send_frame(Opcode::Pong, &payload).await;
    }
    while let Some(event) = agent.event().await {
        assert!(matches!(event, Event::Ping(_)));
    }
    until("the workers know", || field.seen.closes().len() == 1).await;
}

#[tokio::test]
async fn a_message_that_never_ends_is_closed() {
    let field = Field::with(|limits| limits.message_deadline = Duration::from_millis(100)).await;
    let mut agent = Agent::connect(field.address).await;
    agent.write(&[0x82, 0x85, 1, 2, 3, 4, 0]).await;
    assert_eq!(agent.closed().await, Some(1008));
}

#[tokio::test]
async fn a_drain_closes_with_1001_and_tells_every_session_s_end() {
    let mut field = Field::start().await;
    let mut agents = Vec::new();
    for number in 1..=20 {
        agents.push(Agent::claimed(field.address, number).await);
    }
    field.stop.cancel();
    for agent in &mut agents {
        assert_eq!(agent.closed().await, Some(1001));
    }
    assert!(!field.gateway.ready());
    field.stopped().await.unwrap();
    assert_eq!(field.seen.closes().len(), 20);
    assert!(TcpStream::connect(field.address).await.is_err());
    until("the last presence", || {
        field.seen.presence().last().is_some_and(|presence| presence.sessions == 0)
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_by_its_deadline_whatever_peers_do() {
    let mut field = Field::with(|limits| limits.drain_deadline = Duration::from_millis(500)).await;
    let _deaf = Agent::claimed(field.address, 1).await;
    field.stop.cancel();
    let began = tokio::time::Instant::now();
    field.stopped().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(field.seen.closes().len(), 1);
}

#[tokio::test]
async fn no_more_sockets_than_allowed() {
    let field = Field::with(|limits| limits.connections_max = 2).await;
    let _held = [Agent::connect(field.address).await, Agent::connect(field.address).await];
    let (_, head) = Agent::try_connect(field.address).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let retry = head.to_lowercase();
    let retry = retry.split("retry-after: ").nth(1).and_then(|rest| rest.lines().next());
    let seconds: u64 = retry.unwrap().parse().unwrap();
    assert!((30..=61).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn slow_peers_are_cut_at_each_phase() {
    let field = Field::with(|limits| {
        limits.handshake_deadline = Duration::from_secs(1);
        limits.opening_deadline = Duration::from_secs(1);
        limits.body_deadline = Duration::from_secs(1);
        // What is slow and what is wrong is told apart by what ends first.
        limits.header_deadline = PATIENCE * 2;
    })
    .await;
    let answer = |head: &'static [u8]| async move {
        let mut stream = TcpStream::connect(field.address).await.unwrap();
        let mut answer = Vec::new();
        let drip = async {
            for byte in head {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stream.read_to_end(&mut answer).await
        };
        // One that writes on behind the end is told so by an error.
        let _ = tokio::time::timeout(PATIENCE, drip).await.expect("is cut");
        String::from_utf8(answer).unwrap()
    };
    assert_eq!(answer(b"").await, "", "says nothing");
    assert_eq!(answer(b"GET /v1/opamp HTTP/1.1\r\nHost: somebody").await, "");
    let posts = b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\
        Content-Type: application/x-protobuf\r\n\r\n";
    let mut poster = TcpStream::connect(field.address).await.unwrap();
    poster.write_all(posts).await.unwrap();
    let mut head = [0; 12];
    tokio::time::timeout(PATIENCE, poster.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    drop(poster);
    let mut mute = Agent::connect(field.address).await;
    mute.send_frame(Opcode::Ping, b"is no message").await;
    assert!(matches!(mute.event().await, Some(Event::Pong(_))));
    assert_eq!(mute.closed().await, Some(1008));
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let field = Field::with(|limits| limits.connections_per_address_max = 3).await;
    let held = [Agent::claimed(field.address, 1).await, Agent::claimed(field.address, 2).await];
    let mut waiting = TcpStream::connect(field.address).await.unwrap();
    let mut refused = TcpStream::connect(field.address).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, refused.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    // A socket counts like a connection that has not said yet what it is.
    drop(held);
    until("they are gone", || field.gateway.sessions() == 0).await;
    waiting.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(field.address).await.unwrap();
            let mut head = [0; 12];
            // The old ones may not be gone yet.
            let _ = stream.write_all(crate::agent::HANDSHAKE.as_bytes()).await;
            if stream.read_exact(&mut head).await.is_ok() {
                return head;
            }
        }
    };
    let head = tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
    assert_eq!(&head, b"HTTP/1.1 101");
}
