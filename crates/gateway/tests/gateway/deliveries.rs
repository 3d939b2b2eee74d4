//! What the bus asks of a gateway.

use std::time::Duration;

use bus::v1::deliver::Target;
use bus::v1::delivered::Outcome;
use bus::v1::gateway_reply::Reply;
use bus::v1::gateway_request::Request;
use bus::v1::report_reply::Outcome as Answered;
use bus::v1::{Deliver, Probe, Supersede};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use opamp::Message as _;
use opamp::v1::{AgentRemoteConfig, ServerToAgent, ServerToAgentFlags};
use opamp::ws::{Event, Opcode};
use tokio::sync::Notify;

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, PATIENCE, accepted, until};

const FULL_STATE: u64 = ServerToAgentFlags::ReportFullState as u64;

fn target(number: u8, epoch: u64) -> Target {
    Target { instance_uid: uid(number).into(), epoch, ..Target::default() }
}

/// Pushes an offer of a decision, this large, to agent 1.
async fn push(field: &Field, decision: u64, bytes: usize) -> Outcome {
    let mut config_hash = vec![0; bytes];
    config_hash[..8].copy_from_slice(&decision.to_be_bytes());
    let remote_config = Some(AgentRemoteConfig { config_hash, config: None });
    let body = ServerToAgent { remote_config, ..Default::default() };
    let target = Target { decision, ..target(1, 1) };
    deliver(field, body, vec![target]).await[0]
}

/// The decision whose offer this is, if it is one.
fn decision(message: &ServerToAgent) -> Option<u64> {
    let offer = message.remote_config.as_ref()?;
    Some(u64::from_be_bytes(offer.config_hash[..8].try_into().unwrap()))
}

async fn deliver(field: &Field, body: ServerToAgent, targets: Vec<Target>) -> Vec<Outcome> {
    let message = body.encode_to_vec().into();
    let request = Request::Deliver(Deliver { message, targets, ..Default::default() });
    match field.ask(request).await {
        Reply::Delivered(delivered) => delivered.outcomes().collect(),
        other => panic!("not an answer to deliver: {other:?}"),
    }
}

async fn alive(field: &Field, number: u8, epoch: u64) -> bool {
    let request = Request::Probe(Probe { instance_uid: uid(number).into(), epoch });
    match field.ask(request).await {
        Reply::Probe(reply) => reply.alive,
        other => panic!("not an answer to probe: {other:?}"),
    }
}

fn offer() -> ServerToAgent {
    ServerToAgent { flags: FULL_STATE, ..Default::default() }
}

#[tokio::test]
async fn one_body_reaches_many_agents_each_under_its_uid() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    let mut lone = Agent::claimed(field.address, 3).await;
    let targets = vec![target(1, 1), target(2, 1), target(3, 1)];
    let outcomes = deliver(&field, offer(), targets).await;
    assert_eq!(outcomes, [Outcome::Sent; 3]);
    for number in [1, 2] {
        let heard = proxy.hear().await;
        assert_eq!((heard.instance_uid, heard.flags), (uid(number), FULL_STATE));
    }
    assert_eq!(lone.hear().await.instance_uid, uid(3));
}

#[tokio::test]
async fn other_epochs_and_strangers_are_not_owned() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let mut odd = target(1, 1);
    odd.instance_uid = vec![1; 3].into();
    let targets = vec![target(1, 2), target(1, 0), target(7, 1), odd, target(1, 1)];
    let outcomes = deliver(&field, offer(), targets).await;
    let expected = [[Outcome::NotOwner; 4].as_slice(), &[Outcome::Sent]].concat();
    assert_eq!(outcomes, expected);
    agent.hear().await;
    assert!(agent.event_within(Duration::from_millis(50)).await.is_err(), "only one came");
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_busy_and_its_delivery_taken_back() {
    let field = Field::with(|limits| {
        limits.deliver_deadline = Duration::from_millis(300);
    })
    .await;
    let _deaf = Agent::claimed(field.address, 1).await;
    let body = ServerToAgent {
        agent_identification: Some(opamp::v1::AgentIdentification {
            new_instance_uid: vec![0; 20_000],
        }),
        ..Default::default()
    };
    let mut outcomes = Vec::new();
    for _ in 0..64 {
        outcomes.extend(deliver(&field, body.clone(), vec![target(1, 1)]).await);
        if outcomes.contains(&Outcome::Busy) {
            break;
        }
    }
    assert_eq!(outcomes[0], Outcome::Sent, "fits into the system's buffers");
    assert_eq!(outcomes.last(), Some(&Outcome::Busy));
    let small = deliver(&field, offer(), vec![target(1, 1)]).await;
    assert_eq!(small, [Outcome::Busy], "behind the others");
}

#[tokio::test]
async fn an_oversize_delivery_is_sent_to_nobody() {
    let field = Field::with(|limits| limits.send_bytes_max = 20).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let body = ServerToAgent {
        agent_identification: Some(opamp::v1::AgentIdentification {
            new_instance_uid: vec![0; 20],
        }),
        ..Default::default()
    };
    let outcomes = deliver(&field, body, vec![target(1, 1)]).await;
    assert_eq!(outcomes, [Outcome::Unspecified]);
    assert!(agent.event_within(Duration::from_millis(50)).await.is_err());
}

#[tokio::test]
async fn a_probe_is_answered_by_the_peer_s_pong_alone() {
    let field = Field::with(|limits| limits.probe_deadline = Duration::from_millis(300)).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let answer = async {
        let Some(Event::Ping(payload)) = agent.event().await else {
            panic!("no ping");
        };
        agent.send_frame(Opcode::Pong, &payload).await;
    };
    let (probed, ()) = tokio::join!(alive(&field, 1, 1), answer);
    assert!(probed);
    assert!(!alive(&field, 1, 1).await, "pinged and silent");
    assert!(!alive(&field, 1, 2).await, "another epoch");
    assert!(!alive(&field, 2, 1).await, "a stranger");
}

#[tokio::test]
async fn a_probe_is_answered_once_the_end_of_its_session_is_stored() {
    let field = Field::start().await;
    let agent = Agent::claimed(field.address, 1).await;
    field.seen.delay(Duration::from_millis(300));
    drop(agent);
    until("the end is told", || !field.seen.closes().is_empty()).await;
    assert!(!alive(&field, 1, 1).await);
    assert_eq!(field.seen.closes_answered(), 1, "who claims it now finds its last number");
}

#[tokio::test]
async fn a_superseded_session_ends_without_a_close_and_a_zombie_s_socket_too() {
    let field = Field::with(|limits| limits.probe_deadline = Duration::from_millis(100)).await;
    let mut zombie = Agent::claimed(field.address, 1).await;
    let mut proxy = Agent::claimed(field.address, 2).await;
    proxy.say(&report(3, 0)).await;
    let supersede = async |number, epoch| {
        let instance_uid = uid(number).into();
        field.ask(Request::Supersede(Supersede { instance_uid, epoch })).await
    };
    supersede(1, 1).await;
    assert_eq!(field.gateway.sessions(), 3, "not a newer epoch");
    supersede(1, 2).await;
    assert!(matches!(zombie.event().await, Some(Event::Ping(_))));
    assert_eq!(zombie.event().await, None);
    supersede(2, 9).await;
    until("the session is dropped", || field.gateway.sessions() == 1).await;
    assert_eq!(proxy.say(&heartbeat(3, 1)).await.error_response, None, "the other agent stays");
    assert_eq!(field.seen.closes(), []);
}

#[tokio::test]
async fn a_newer_session_of_this_gateway_supersedes_the_older() {
    let field = Field::with(|limits| limits.probe_deadline = Duration::from_millis(100)).await;
    let mut old = Agent::claimed(field.address, 1).await;
    let mut new = Agent::claimed(field.address, 1).await;
    assert!(matches!(old.event().await, Some(Event::Ping(_))));
    assert_eq!(old.event().await, None, "the old socket does not answer");
    assert_eq!(deliver(&field, offer(), vec![target(1, 1)]).await, [Outcome::NotOwner]);
    assert_eq!(deliver(&field, offer(), vec![target(1, 2)]).await, [Outcome::Sent]);
    assert_eq!(new.hear().await.flags, FULL_STATE);
    assert_eq!(field.seen.closes(), []);
}

#[tokio::test]
async fn a_slow_agent_gets_the_newest_offer_and_only_what_it_got_counts_as_sent() {
    let field = Field::start().await;
    let mut slow = Agent::claimed(field.address, 1).await;
    let (field, asked) = (&field, Notify::new());
    let offer = async |number| (number, push(field, number, 30_000).await);
    // Those that it takes without reading, and those that find it behind.
    let behind = async {
        let (mut sent, mut waiting) = (Vec::new(), FuturesUnordered::new());
        for number in 1..=40 {
            waiting.push(offer(number));
            // One that is sent is so at once. The others wait for the agent.
            let settled = tokio::time::timeout(Duration::from_millis(50), waiting.next());
            sent.extend(settled.await.ok().flatten());
        }
        asked.notify_one();
        sent.extend(waiting.collect::<Vec<_>>().await);
        sent
    };
    let reads = async {
        asked.notified().await;
        let mut heard = Vec::new();
        while heard.last() != Some(&40) {
            heard.extend(decision(&slow.hear().await));
        }
        heard
    };
    let (mut outcomes, heard) = tokio::join!(behind, reads);
    outcomes.sort_unstable_by_key(|(number, _)| *number);
    let of = |wanted: Outcome| {
        let those = outcomes.iter().filter(|(_, outcome)| *outcome == wanted);
        those.map(|(number, _)| *number).collect::<Vec<_>>()
    };
    let (sent, queued) = (of(Outcome::Sent), of(Outcome::Queued));
    let superseded = of(Outcome::Superseded);
    assert_eq!(sent.len() + queued.len() + superseded.len(), 40, "{outcomes:?}");
    assert!(sent.iter().all(|number| heard.contains(number)), "what was sent came: {heard:?}");
    let neither = |number: &&u64| !sent.contains(number) && !queued.contains(number);
    assert_eq!(heard.iter().find(neither), None, "what was superseded did not come");
    assert!(heard.len() < 35 && heard.is_sorted(), "{heard:?}");
}

#[tokio::test]
async fn an_agent_that_does_not_read_keeps_nobody_waiting_for_what_others_got() {
    let field = Field::with(|limits| limits.deliver_deadline = PATIENCE * 2).await;
    let _deaf = Agent::claimed(field.address, 1).await;
    let mut fine = Agent::claimed(field.address, 2).await;
    let behind = async { while push(&field, 1, 30_000).await != Outcome::Queued {} };
    tokio::time::timeout(PATIENCE, behind).await.expect("it falls behind");
    let remote_config = Some(AgentRemoteConfig { config_hash: vec![0; 30_000], config: None });
    let body = ServerToAgent { remote_config, ..Default::default() };
    for _ in 0..20 {
        let targets = vec![target(1, 1), target(2, 1)];
        // The asker's own patience is shorter than the deadline for deliveries.
        let outcomes = deliver(&field, body.clone(), targets).await;
        assert_eq!(outcomes, [Outcome::Queued, Outcome::Sent]);
        assert_eq!(fine.hear().await.instance_uid, uid(2));
    }
}

#[tokio::test]
async fn an_older_decision_is_not_sent_after_a_newer_one() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    assert_eq!(push(&field, 7, 20).await, Outcome::Sent);
    assert_eq!(decision(&agent.hear().await), Some(7));
    assert_eq!(push(&field, 6, 20).await, Outcome::Superseded);
    assert_eq!(push(&field, 7, 20).await, Outcome::Sent, "the same may come again");
    assert_eq!(decision(&agent.hear().await), Some(7));

    for (number, expected) in [(6, None), (8, Some(8))] {
        field.seen.answer_with(move |_, message| {
            let mut config_hash = vec![0; 20];
            config_hash[..8].copy_from_slice(&u64::to_be_bytes(number));
            let mut answer = accepted(1, message, |reply| {
                reply.flags = FULL_STATE;
                reply.remote_config = Some(AgentRemoteConfig { config_hash, config: None });
            });
            if let Answered::Accepted(accepted) = &mut answer {
                accepted.offer_decision = number;
            }
            Some(answer)
        });
        let reply = agent.say(&report(1, number)).await;
        assert_eq!((decision(&reply), reply.flags), (expected, FULL_STATE), "{number}");
    }
    assert_eq!(push(&field, 7, 20).await, Outcome::Superseded, "a reply counts too");
}
