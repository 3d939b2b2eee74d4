//! Who may begin when more want to than the workers can take, and agents that come too often.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gateway::Rate;
use opamp::Message as _;
use opamp::v1::ServerToAgent;
use opamp::v1::server_error_response::Details;
use opamp::ws::Event;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, PATIENCE};
use crate::plain::post;

/// How long agents were told to stay away.
fn retry_after(head: &str) -> u64 {
    let head = head.to_lowercase();
    let value = head.split("retry-after: ").nth(1).and_then(|rest| rest.lines().next());
    value.expect("a refusal says when to come back").trim().parse().unwrap()
}

/// What an error UNAVAILABLE says.
fn wait(reply: &ServerToAgent) -> Duration {
    let error = reply.error_response.as_ref().expect("an error");
    assert_eq!(error.r#type, 2, "unavailable");
    match &error.details {
        Some(Details::RetryInfo(retry)) => Duration::from_nanos(retry.retry_after_nanoseconds),
        other => panic!("no retry info: {other:?}"),
    }
}

/// A distinct agent.
fn nth(number: u32) -> opamp::v1::AgentToServer {
    let mut message = report(9, 0);
    message.instance_uid[..4].copy_from_slice(&number.to_be_bytes());
    message
}

#[tokio::test]
async fn in_a_storm_everybody_is_answered_or_told_when_to_come_back() {
    let field = Field::with(|limits| {
        limits.openings_in_flight_max = 8;
        limits.report_turn_deadline = Duration::from_millis(200);
    })
    .await;
    let mut resident = Agent::claimed(field.address, 1).await;
    field.seen.delay(Duration::from_millis(5));
    let (mut tries, address) = (JoinSet::new(), field.address);
    for number in 0..400 {
        tries.spawn(async move {
            let (mut agent, head) = Agent::try_connect(address).await;
            if head.starts_with("HTTP/1.1 503 ") {
                return retry_after(&head);
            }
            let reply = agent.say(&nth(number)).await;
            reply.error_response.as_ref().map_or(30, |_| wait(&reply).as_secs())
        });
    }
    for number in 1..=20 {
        let reply = resident.say(&report(1, number)).await;
        assert_eq!(reply.error_response, None, "who is here stays served");
    }
    while let Some(seconds) = tries.join_next().await {
        assert!((30..=61).contains(&seconds.unwrap()));
    }
    assert_eq!(resident.say(&heartbeat(1, 21)).await.error_response, None);
}

#[tokio::test]
async fn while_openings_are_not_answered_handshakes_are_refused() {
    let field = Field::with(|limits| {
        limits.openings_in_flight_max = 1;
        limits.report_turn_deadline = Duration::from_secs(1);
    })
    .await;
    field.seen.answer_with(|_, _| None);
    let mut waiting = Vec::new();
    let refused = async {
        for number in 0.. {
            let (mut agent, head) = Agent::try_connect(field.address).await;
            if !head.starts_with("HTTP/1.1 101 ") {
                return head;
            }
            agent.send(&nth(number)).await;
            waiting.push(agent);
            // Not so many that they would be refused for being many.
            sleep(Duration::from_millis(10)).await;
        }
        unreachable!("somebody is refused")
    };
    let refused = timeout(PATIENCE, refused).await.expect("it is seen that nobody is answered");
    assert!(refused.starts_with("HTTP/1.1 503 ") && retry_after(&refused) >= 30, "{refused}");
    drop(waiting);
    field.seen.answer_as_usual();
    let again =
        async { while !Agent::try_connect(field.address).await.1.starts_with("HTTP/1.1 101 ") {} };
    timeout(PATIENCE, again).await.expect("once nobody waits there is room");
}

#[tokio::test]
async fn while_polls_are_not_answered_others_are_refused_before_they_are_read() {
    let field = Field::with(|limits| limits.reports_in_flight_max = 1).await;
    field.seen.answer_with(|_, _| None);
    let (mut posts, mut number) = (FuturesUnordered::new(), 0);
    let refused = async {
        loop {
            let body = nth(number).encode_to_vec();
            number += 1;
            let field = &field;
            posts.push(async move { post(field, "", &body).await });
            while let Ok(Some(answer)) = timeout(Duration::from_millis(5), posts.next()).await {
                assert_eq!(answer.status, 503);
                if answer.header("content-type") != Some("application/x-protobuf") {
                    return answer;
                }
            }
        }
    };
    let refused = timeout(PATIENCE, refused).await.expect("it is seen that nobody is answered");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn handshakes_beyond_their_rate_are_refused() {
    let rate = Rate { per_second: 1, burst: 3 };
    let field = Field::with(|limits| limits.handshakes = rate).await;
    let (start, mut taken) = (Instant::now(), 0);
    let refused = loop {
        let (_, head) = Agent::try_connect(field.address).await;
        if !head.starts_with("HTTP/1.1 101 ") {
            break head;
        }
        taken += 1;
        assert!(taken <= 4 + start.elapsed().as_secs(), "{taken}");
    };
    assert!(refused.starts_with("HTTP/1.1 503 ") && retry_after(&refused) >= 30, "{refused}");
    assert!(taken >= 3, "{taken}");
    let again =
        async { while !Agent::try_connect(field.address).await.1.starts_with("HTTP/1.1 101 ") {} };
    timeout(PATIENCE, again).await.expect("a second later there is room");
}

#[tokio::test]
async fn an_agent_that_floods_is_told_so_then_closed_and_kept_away() {
    let field = Field::with(|limits| {
        limits.messages = Rate { per_second: 1, burst: 5 };
        limits.floods_in_a_row_max = 3;
    })
    .await;
    let mut neighbour = Agent::claimed(field.address, 2).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let mut flood = Vec::new();
    for number in 1..=20 {
        let message = opamp::envelope::encode(&heartbeat(1, number));
        opamp::ws::binary(&mut flood, &message, Some(crate::agent::MASK));
    }
    agent.write(&flood).await;
    let mut taken = 0;
    let first = loop {
        let reply = agent.hear().await;
        if reply.error_response.is_some() {
            break reply;
        }
        taken += 1;
    };
    assert!((4..=6).contains(&taken), "{taken}: the claim took one");
    for reply in [first, agent.hear().await, agent.hear().await] {
        assert!(wait(&reply) >= Duration::from_secs(30));
    }
    assert_eq!(agent.closed().await, Some(1013));
    assert_eq!(neighbour.say(&heartbeat(2, 1)).await.error_response, None);

    let mut again = Agent::connect(field.address).await;
    let stay = wait(&again.say(&report(1, 0)).await);
    assert!(stay >= Duration::from_secs(25), "{stay:?}");
    assert_eq!(again.closed().await, Some(1013));
    assert_eq!(field.seen.reports().len(), 2, "the two claims");
}

#[tokio::test]
async fn who_speaks_a_little_too_often_is_told_so_and_stays() {
    let field = Field::with(|limits| {
        limits.messages = Rate { per_second: 5, burst: 2 };
        limits.floods_in_a_row_max = 2;
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let (mut number, mut refused) = (0, 0);
    while refused < 4 {
        number += 1;
        assert!(number < 2_000, "never told");
        if agent.say(&report(1, number)).await.error_response.is_some() {
            refused += 1;
            // Long enough for the next to be taken, however long it takes.
            sleep(Duration::from_millis(220)).await;
        }
    }
    assert_eq!(agent.say(&report(1, number + 1)).await.error_response, None);
}

#[tokio::test]
async fn polls_of_one_agent_have_a_rate_too() {
    let rate = Rate { per_second: 1, burst: 3 };
    let field = Field::with(|limits| limits.messages = rate).await;
    let (start, mut taken) = (Instant::now(), 0);
    let refused = loop {
        let answer = post(&field, "", &heartbeat(1, 1).encode_to_vec()).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken <= 4 + start.elapsed().as_secs(), "{taken}");
    };
    assert_eq!(refused.status, 503);
    assert!(wait(&refused.message()) >= Duration::from_secs(30));
    assert!(refused.header("retry-after").is_some());
    let other = post(&field, "", &heartbeat(2, 1).encode_to_vec()).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn an_agent_that_crashes_in_a_loop_begins_one_session_after_the_other() {
    let field = Field::with(|limits| limits.claims = Rate { per_second: 4, burst: 2 }).await;
    let (start, mut claims) = (Instant::now(), 0);
    while claims < 8 {
        let mut agent = Agent::connect(field.address).await;
        let reply = agent.say(&report(1, 0)).await;
        assert_eq!(reply.error_response, None, "it waits, and is served");
        claims += 1;
    }
    assert!(start.elapsed() >= Duration::from_millis(1_450), "{:?}", start.elapsed());
}

#[tokio::test]
async fn of_many_with_one_uid_at_once_most_are_sent_away() {
    let field = Field::with(|limits| {
        limits.claims = Rate { per_second: 1, burst: 2 };
        limits.claim_wait_max = Duration::from_millis(100);
    })
    .await;
    let (start, mut served) = (Instant::now(), 0);
    for _ in 0..30 {
        let mut agent = Agent::connect(field.address).await;
        let reply = agent.say(&report(1, 0)).await;
        if reply.error_response.is_none() {
            served += 1;
            continue;
        }
        assert!(wait(&reply) >= Duration::from_secs(30));
        assert!(matches!(agent.event().await, Some(Event::Close(Some(1013)))));
    }
    assert!((2..=3 + start.elapsed().as_secs()).contains(&served), "{served} of 30");
    let _other = Agent::claimed(field.address, 2).await;
    assert_eq!(field.seen.reports().last().unwrap().1.instance_uid, uid(2));
}
