//! How connections and sessions end.

use std::time::Duration;

use opamp::v1::AgentDisconnect;
use opamp::ws::{Event, Opcode};

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, until};

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
    assert!(tokio::net::TcpStream::connect(field.address).await.is_err());
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
