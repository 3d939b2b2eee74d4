//! Who may begin when more want to than the workers can take, and agents that come too often.

use std::collections::BTreeSet;
use std::time::Duration;

use gateway::Rate;
use opamp::Message as _;
use opamp::v1::ServerToAgent;
use opamp::v1::server_error_response::Details;
use opamp::ws::Event;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, PATIENCE, until};
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

/// What came of the agents that tried to begin.
#[derive(Default)]
struct Outcomes {
    begun: usize,
    /// Refused at once, and for how long.
    refused: Vec<u64>,
    /// Told so after they had waited.
    unavailable: usize,
    took: Duration,
}

/// A distinct agent.
fn nth(number: u32) -> opamp::v1::AgentToServer {
    let mut message = report(9, 0);
    message.instance_uid[..4].copy_from_slice(&number.to_be_bytes());
    message
}

/// Offers so many openings a second for so long.
async fn offer(field: &Field, per_second: u32, lasting: Duration, first: u32) -> Outcomes {
    let (mut tries, mut outcomes) = (JoinSet::new(), Outcomes::default());
    let (address, start) = (field.address, Instant::now());
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / per_second;
        if due > start + lasting {
            break;
        }
        tokio::time::sleep_until(due).await;
        tries.spawn(async move {
            let (mut agent, head) = Agent::try_connect(address).await;
            if head.starts_with("HTTP/1.1 503 ") {
                return Err(retry_after(&head));
            }
            Ok(agent.say(&nth(first + number)).await.error_response.is_none())
        });
    }
    while let Some(tried) = tries.join_next().await {
        match tried.unwrap() {
            Ok(true) => outcomes.begun += 1,
            Ok(false) => outcomes.unavailable += 1,
            Err(seconds) => outcomes.refused.push(seconds),
        }
    }
    outcomes.took = start.elapsed();
    outcomes
}

#[tokio::test]
async fn offered_three_times_what_the_workers_take_nearly_all_of_that_is_taken() {
    let field = Field::with(|limits| limits.report_turn_deadline = Duration::from_secs(1)).await;
    let mut resident = Agent::claimed(field.address, 1).await;
    field.seen.delay(Duration::from_millis(10));
    let lasting = Duration::from_secs(4);
    let storm = offer(&field, 300, lasting, 0);
    let speaks = async {
        let mut longest = Duration::ZERO;
        for number in 1..=20 {
            let began = Instant::now();
            let reply = resident.say(&report(1, number)).await;
            assert_eq!(reply.error_response, None, "who is here stays served");
            longest = longest.max(began.elapsed());
            sleep(Duration::from_millis(150)).await;
        }
        longest
    };
    let (outcomes, longest) = tokio::join!(storm, speaks);
    let capacity = {
        // What they take of one after the other: a pause ends on the next tick of the timer.
        let began = Instant::now();
        for number in 21..=60 {
            resident.say(&report(1, number)).await;
        }
        40.0 / began.elapsed().as_secs_f64()
    };
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let goodput = outcomes.begun as f64 / outcomes.took.as_secs_f64();
    // The resident's reports have their part of it.
    let bar = 0.9 * capacity - 5.0;
    assert!(goodput >= bar, "{goodput} of {capacity} a second in {:?}", outcomes.took);
    assert!(outcomes.refused.len() > 300, "{}", outcomes.refused.len());
    assert!(outcomes.refused.iter().all(|seconds| (30..=61).contains(seconds)));
    let spread: BTreeSet<_> = outcomes.refused.iter().collect();
    assert!(spread.len() > 20, "they do not come back at once: {spread:?}");
    // Those who came while nothing was known of the workers.
    let in_vain = outcomes.unavailable;
    assert!(in_vain * 5 < outcomes.begun, "{in_vain} waited in vain");
    assert!(longest < Duration::from_secs(1), "{longest:?} behind a storm");
}

#[tokio::test]
async fn polls_beyond_what_the_workers_take_are_refused_and_the_others_answered() {
    let field = Field::start().await;
    field.seen.delay(Duration::from_millis(20));
    let body = |number| nth(number).encode_to_vec();
    let (start, mut number) = (Instant::now(), 0);
    let mut answers = Vec::new();
    let mut under_way = futures_util::stream::FuturesUnordered::new();
    while start.elapsed() < Duration::from_secs(5) {
        use futures_util::StreamExt as _;
        let (field, body) = (&field, body(number));
        under_way.push(async move { post(field, "", &body).await });
        number += 1;
        let due = start + Duration::from_secs(1) * number / 150;
        let rest = due.saturating_duration_since(Instant::now());
        while let Ok(Some(answer)) = timeout(rest.min(due - start), under_way.next()).await {
            answers.push((start.elapsed(), answer));
            if Instant::now() >= due {
                break;
            }
        }
    }
    // The first second is for finding out.
    let steady = answers.iter().filter(|(at, _)| *at >= Duration::from_secs(2));
    let (taken, refused): (Vec<_>, Vec<_>) =
        steady.map(|(_, answer)| answer).partition(|answer| answer.status == 200);
    assert!(refused.iter().all(|answer| answer.status == 503));
    assert!(refused.iter().all(|answer| answer.header("retry-after").is_some()));
    assert!(refused.len() > 100, "{} refused", refused.len());
    // 50 a second at the most, and the pauses' ticks.
    assert!(taken.len() >= 115, "{} of 130 in three seconds", taken.len());
}

#[tokio::test]
async fn handshakes_beyond_their_rate_are_refused() {
    let rate = Rate { per_second: 1, burst: 3 };
    let field = Field::with(|limits| limits.handshakes = rate).await;
    let mut heads = Vec::new();
    for _ in 0..6 {
        heads.push(Agent::try_connect(field.address).await.1);
    }
    let refused = heads.iter().filter(|head| head.starts_with("HTTP/1.1 503 "));
    assert!(refused.inspect(|head| assert!(retry_after(head) >= 30)).count() >= 2, "{heads:?}");
    assert!(heads[..3].iter().all(|head| head.starts_with("HTTP/1.1 101 ")));
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
    for number in 1..=20 {
        agent.send(&heartbeat(1, number)).await;
    }
    for _ in 1..=4 {
        assert_eq!(agent.hear().await.error_response, None);
    }
    for _ in 0..3 {
        assert!(wait(&agent.hear().await) >= Duration::from_secs(30));
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
        limits.messages = Rate { per_second: 20, burst: 1 };
        limits.floods_in_a_row_max = 5;
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let mut refused = 0;
    for number in 1..=60 {
        let reply = agent.say(&report(1, number)).await;
        refused += usize::from(reply.error_response.is_some());
        sleep(Duration::from_millis(30)).await;
    }
    assert!((5..55).contains(&refused), "{refused} of 60");
}

#[tokio::test]
async fn polls_of_one_agent_have_a_rate_too() {
    let rate = Rate { per_second: 1, burst: 3 };
    let field = Field::with(|limits| limits.messages = rate).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let answer = post(&field, "", &heartbeat(1, 1).encode_to_vec()).await;
        if answer.status == 503 {
            assert!(wait(&answer.message()) >= Duration::from_secs(30));
            assert!(answer.header("retry-after").is_some());
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..3], [200; 3]);
    assert!(statuses[3..].contains(&503), "{statuses:?}");
    let other = post(&field, "", &heartbeat(2, 1).encode_to_vec()).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn an_agent_that_crashes_in_a_loop_begins_one_session_a_second() {
    let field = Field::with(|limits| {
        limits.claims = Rate { per_second: 4, burst: 2 };
        limits.claim_wait_max = Duration::from_millis(600);
    })
    .await;
    let (start, mut claims) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(2_200) {
        let mut agent = Agent::connect(field.address).await;
        let reply = agent.say(&report(1, 0)).await;
        assert_eq!(reply.error_response, None, "it waits, and is served");
        claims += 1;
    }
    assert!((8..=12).contains(&claims), "{claims} in 2.2 s at 4 a second and 2");

    // Many at once are not kept waiting: each would be a file and a message held.
    let mut crowd = Vec::new();
    for _ in 0..12 {
        let mut agent = Agent::connect(field.address).await;
        agent.send(&report(1, 0)).await;
        crowd.push(agent);
    }
    let mut away = 0;
    for agent in &mut crowd {
        let reply = agent.hear().await;
        if reply.error_response.is_some() {
            assert!(wait(&reply) >= Duration::from_secs(30));
            assert!(matches!(agent.event().await, Some(Event::Close(Some(1013)))));
            away += 1;
        }
    }
    assert!(away >= 6, "{away} of 12");
    let other = Agent::claimed(field.address, 2).await;
    until("nobody else notices", || field.gateway.sessions() >= 1).await;
    drop(other);
    assert_eq!(field.seen.reports().last().unwrap().1.instance_uid, uid(2));
}
