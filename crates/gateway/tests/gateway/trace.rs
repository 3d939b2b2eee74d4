//! A look at what an agent and the gateway say to each other.

use std::time::Duration;

use bus::v1::gateway_reply::Reply;
use bus::v1::gateway_request::Request;
use bus::v1::tap_reply::entry::Content;
use bus::v1::tap_reply::{Entry, fact};
use bus::v1::{Tap, TapDirection, TapReply, Transport};
use opamp::Message as _;
use opamp::v1::{
    AgentConfigFile, AgentConfigMap, AgentToServer, CustomMessage, EffectiveConfig, ServerToAgent,
};
use opamp::ws::Opcode;

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, accepted, unavailable, until_told};
use crate::plain::post;

/// What is asked for.
fn tap(number: u8, tap_id: u64) -> Tap {
    Tap { instance_uid: uid(number).into(), tap_id, last: 1_000, ..Tap::default() }
}

async fn ask(field: &Field, tap: Tap) -> TapReply {
    match field.ask(Request::Tap(tap)).await {
        Reply::Tap(reply) => reply,
        other => panic!("another answer: {other:?}"),
    }
}

/// What an entry is, in a word.
fn word(entry: &Entry) -> String {
    match entry.content.as_ref().unwrap() {
        Content::AgentToServer(message) => format!("in {}", message.sequence_num),
        Content::ServerToAgent(message) if message.error_response.is_some() => "error".to_owned(),
        Content::ServerToAgent(_) => "out".to_owned(),
        Content::Undecodable(_) => "undecodable".to_owned(),
        Content::Fact(fact) => format!("{:?} {}", fact.kind(), fact.close_code),
    }
}

fn words(reply: &TapReply) -> Vec<String> {
    reply.entries.iter().map(word).collect()
}

/// Asks until this is the last word.
async fn told(field: &Field, tap: Tap, last: &str) -> TapReply {
    let mut reply = TapReply::default();
    until_told("the last word", async || {
        reply = ask(field, tap.clone()).await;
        words(&reply).last().is_some_and(|word| word == last)
    })
    .await;
    reply
}

#[tokio::test]
async fn the_last_messages_are_told_after_the_agent_is_gone() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    agent.say(&heartbeat(1, 1)).await;
    let mut other = Agent::claimed(field.address, 2).await;
    other.say(&heartbeat(2, 1)).await;
    agent.send_frame(Opcode::Close, &1000_u16.to_be_bytes()).await;
    let reply = told(&field, tap(1, 0), "ClosedByAgent 1000").await;
    let expected = ["Opened 0", "in 0", "Claimed 0", "out", "in 1", "out", "ClosedByAgent 1000"];
    assert_eq!(words(&reply), expected);
    let [opened, first, .., closed] = &reply.entries[..] else { panic!("{reply:?}") };
    let Some(Content::Fact(opened)) = &opened.content else { panic!("{opened:?}") };
    assert!(opened.remote_address.starts_with("127.0.0.1:"));
    assert_eq!((first.transport(), first.direction()), (Transport::WebSocket, TapDirection::In));
    assert_eq!(first.size_bytes, report(1, 0).encoded_len() as u64);
    let Some(Content::Fact(closed)) = &closed.content else { panic!("{closed:?}") };
    assert_eq!((closed.kind(), closed.epoch), (fact::Kind::ClosedByAgent, 1));
    assert!(reply.entries.is_sorted_by_key(|entry| entry.position));
    let last = ask(&field, Tap { last: 2, ..tap(1, 0) }).await;
    assert_eq!(words(&last), expected[5..]);
    let out = ask(&field, Tap { direction: TapDirection::Out.into(), ..tap(1, 0) }).await;
    assert_eq!(words(&out), ["Opened 0", "Claimed 0", "out", "out", "ClosedByAgent 1000"]);
}

#[tokio::test]
async fn a_tap_hears_what_follows_on_one_of_many_agents_of_a_socket() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    let first = ask(&field, Tap { last: 1, ..tap(1, 7) }).await;
    assert_eq!(words(&first), ["out"]);
    proxy.say(&heartbeat(2, 1)).await;
    proxy.say(&heartbeat(1, 1)).await;
    let next = Tap { after: first.position, wait_ms: 1_000, ..tap(1, 7) };
    let reply = told(&field, next.clone(), "out").await;
    assert_eq!(words(&reply), ["in 1", "out"]);
    // Unacknowledged, it is told again; acknowledged, the question waits for news.
    assert_eq!(ask(&field, next).await, reply);
    let waiting = Tap { after: reply.position, wait_ms: 2_000, ..tap(1, 7) };
    let (reply, _) = tokio::join!(ask(&field, waiting), async {
        tokio::task::yield_now().await;
        proxy.say(&heartbeat(1, 2)).await
    });
    assert_eq!(words(&reply)[0], "in 2");
}

#[tokio::test]
async fn what_is_refused_is_told_too() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    // A uid, and then damage.
    let damaged = [&[0], &heartbeat(1, 1).encode_to_vec()[..], &[0x1a, 0x7f]].concat();
    agent.send_message(&damaged).await;
    agent.hear().await;
    let reply = told(&field, tap(1, 0), "error").await;
    let undecodable = &reply.entries[reply.entries.len() - 2];
    let Some(Content::Undecodable(content)) = &undecodable.content else { panic!("{reply:?}") };
    assert!(content.head_hex.starts_with("0a100101"), "{content:?}");
    assert!(!content.reason.is_empty());
    // As many as a gateway takes.
    for _ in 1..8 {
        agent.send_message(&damaged).await;
        agent.hear().await;
    }
    assert_eq!(agent.closed().await, Some(1008));
    told(&field, tap(1, 0), "ClosedByServer 1008").await;
    let agent = Agent::claimed(field.address, 1).await;
    drop(agent);
    told(&field, tap(1, 0), "Broken 0").await;
}

#[tokio::test]
async fn polls_are_told_with_their_status() {
    let field = Field::start().await;
    assert_eq!(post(&field, "", &report(3, 0).encode_to_vec()).await.status, 200);
    assert_eq!(post(&field, "", b"\x0a\x10\x03\x03").await.status, 400);
    let first = ask(&field, tap(3, 0)).await;
    assert_eq!(words(&first), ["in 0", "out"]);
    assert_eq!((first.entries[0].transport(), first.entries[0].http_status), (Transport::Http, 0));
    assert_eq!(
        (first.entries[1].transport(), first.entries[1].http_status),
        (Transport::Http, 200)
    );
    field.seen.answer_with(|_, _| Some(unavailable()));
    assert_eq!(post(&field, "", &report(3, 1).encode_to_vec()).await.status, 503);
    let reply = ask(&field, Tap { last: 1, ..tap(3, 0) }).await;
    let [refused] = &reply.entries[..] else { panic!("{reply:?}") };
    assert_eq!((refused.http_status, word(refused)), (503, "error".to_owned()));
    assert!((31..=61).contains(&refused.retry_after_seconds), "{refused:?}");
}

#[tokio::test]
async fn a_long_message_is_told_as_far_as_it_is_kept() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let body = "x: 1\n".repeat(10_000);
    let file = AgentConfigFile { body: body.into(), ..Default::default() };
    let config_map = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
    let effective_config = Some(EffectiveConfig { config_map });
    let long = AgentToServer { effective_config, ..heartbeat(1, 1) };
    agent.say(&long).await;
    let reply = told(&field, tap(1, 0), "out").await;
    let entry = reply.entries.iter().find(|entry| word(entry) == "in 1").unwrap();
    assert_eq!((entry.truncated, entry.size_bytes), (true, long.encoded_len() as u64));
    let [hidden] = &entry.hidden[..] else { panic!("{entry:?}") };
    assert_eq!((hidden.cut, hidden.size_bytes), (true, 50_000));
}

#[tokio::test]
async fn who_does_not_ask_loses_entries_and_holds_up_nobody() {
    let field = Field::with(|limits| {
        limits.tap_bytes_max = 4_000;
        limits.taps_max = 1;
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let first = ask(&field, Tap { last: 0, ..tap(1, 7) }).await;
    assert!(first.entries.is_empty());
    assert!(ask(&field, tap(2, 8)).await.refused, "one too many");
    for number in 1..=100 {
        agent.say(&heartbeat(1, number)).await;
    }
    let last = Tap { direction: TapDirection::In.into(), last: 1, ..tap(1, 0) };
    assert_eq!(words(&ask(&field, last).await), ["in 100"], "the ring has it");
    let reply = told(&field, tap(1, 7), "out").await;
    assert_eq!(reply.lost + reply.entries.len() as u64, 200);
    assert!(reply.lost > 100, "{}", reply.lost);
    ask(&field, Tap { end: true, ..tap(1, 7) }).await;
    assert!(!ask(&field, tap(2, 8)).await.refused);
}

#[tokio::test]
async fn a_tap_that_is_not_asked_for_any_more_ends() {
    let field = Field::with(|limits| {
        limits.taps_max = 1;
        limits.tap_idle = Duration::from_millis(50);
    })
    .await;
    ask(&field, tap(1, 7)).await;
    until_told("the tap ends", async || !ask(&field, tap(2, 8)).await.refused).await;
}

#[tokio::test]
async fn without_a_ring_only_what_follows_is_told() {
    let field = Field::with(|limits| limits.trace_ring_bytes = 0).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    assert!(ask(&field, tap(1, 0)).await.entries.is_empty());
    let first = ask(&field, tap(1, 7)).await;
    assert!(first.entries.is_empty());
    agent.say(&heartbeat(1, 1)).await;
    assert_eq!(words(&told(&field, tap(1, 7), "out").await), ["in 1", "out"]);
}

#[tokio::test]
async fn no_secret_leaves_the_gateway() {
    const CANARY: &str = "c4n4ry";
    let field = Field::start().await;
    field.seen.answer_with(|_, message| {
        Some(accepted(1, message, |reply: &mut ServerToAgent| {
            let headers = Some(opamp::v1::Headers {
                headers: vec![opamp::v1::Header {
                    key: "authorization".to_owned(),
                    value: CANARY.to_owned(),
                }],
            });
            let opamp = Some(opamp::v1::OpAmpConnectionSettings { headers, ..Default::default() });
            reply.connection_settings =
                Some(opamp::v1::ConnectionSettingsOffers { opamp, ..Default::default() });
        }))
    });
    let body = format!("exporters:\n  otlp:\n    headers:\n      x-team: {CANARY}\n");
    let file = AgentConfigFile { body: body.into(), ..Default::default() };
    let config_map = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
    let message = AgentToServer {
        effective_config: Some(EffectiveConfig { config_map }),
        custom_message: Some(CustomMessage {
            data: format!("{{\"password\":\"{CANARY}\"}}").into(),
            ..Default::default()
        }),
        ..heartbeat(1, 0)
    };
    let mut agent = Agent::connect(field.address).await;
    assert!(format!("{:?}", agent.say(&message).await).contains(CANARY), "the agent gets it");
    for include_bodies in [false, true] {
        let reply = told(&field, Tap { include_bodies, ..tap(1, 0) }, "out").await;
        assert_eq!(words(&reply).len(), 4);
        assert!(format!("{reply:?}").contains("exporters") == include_bodies);
        let bytes = String::from_utf8_lossy(&reply.encode_to_vec()).into_owned();
        assert!(!bytes.contains(CANARY) && !format!("{reply:?}").contains(CANARY), "{reply:?}");
    }
}
