//! Custom messages: in the log once each, in order, whatever comes twice and whatever is away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bus::Events;
use bus::v1::{Report, report_reply};
use model::custom::{DATA_BYTES_MAX, Received};
use opamp::v1::{AgentToServer, CustomMessage};

use crate::faults::Logless;
use crate::next;
use crate::rig::{PATIENCE, Rig, bare, claim, hello, poll, until};

fn says(uid: u8, seq: u64, data: impl Into<Vec<u8>>) -> AgentToServer {
    let (capability, r#type) = ("org.example.talk".to_owned(), "word".to_owned());
    let custom_message = Some(CustomMessage { capability, r#type, data: data.into() });
    AgentToServer { custom_message, ..bare(uid, seq) }
}

async fn start(rig: &Rig) -> Events {
    rig.bus.events(rig.bus.tail().await.unwrap()).await.unwrap()
}

/// The next custom message in the log.
async fn heard(events: &mut Events) -> Received {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time");
        let told = bus::event::decode(event.unwrap().unwrap().1).unwrap();
        assert_eq!(
            told.message.is_some(),
            told.events.contains(&model::Event::CustomMessageReceived)
        );
        if let Some(message) = told.message {
            return message;
        }
    }
}

async fn words(events: &mut Events, number: usize) -> Vec<String> {
    let mut words = Vec::new();
    for _ in 0..number {
        words.push(String::from_utf8(heard(events).await.data).unwrap());
    }
    words
}

#[tokio::test]
async fn each_is_in_the_log_once_and_in_order() {
    let rig = Rig::new().await;
    let mut events = start(&rig).await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    let mut n = 1;
    let mut report = |seq, word: &str| {
        n += 1;
        next("gw", 1, 1, n, &says(1, seq, word))
    };
    for (seq, word) in [(1, "a"), (2, "b"), (3, "b")] {
        let report = report(seq, word);
        let (_, first) = rig.accepted(report.clone()).await;
        assert_eq!(rig.accepted(report).await.1, first, "the gateway asks again");
    }
    // Its fate was unknown to the gateway, and the agent says it again.
    let again = report(3, "b");
    rig.accepted(Report { answered_sequence_num: Some(2), ..again }).await;
    rig.accepted(report(4, "c")).await;
    assert_eq!(words(&mut events, 4).await, ["a", "b", "b", "c"]);
    assert_eq!(rig.record(1).await.custom.taken, 4);
}

#[tokio::test]
async fn polls_that_come_twice_or_at_once_are_heard_once_each() {
    let rig = Rig::new().await;
    let mut events = start(&rig).await;
    rig.accepted(poll(&hello(1, 0))).await;
    for _ in 0..2 {
        rig.accepted(poll(&says(1, 1, "a"))).await;
    }
    // They make one batch, and an event has room for one.
    let polls = ["b", "c", "d"].into_iter().zip(2..);
    let polls = polls.map(|(word, seq)| rig.accepted(poll(&says(1, seq, word))));
    futures_util::future::join_all(polls.collect::<Vec<_>>()).await;
    assert_eq!(words(&mut events, 4).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn of_a_long_one_the_size_is_told_and_the_agent_is_answered() {
    let rig = Rig::new().await;
    let mut events = start(&rig).await;
    let mut long = says(1, 0, vec![7; DATA_BYTES_MAX + 1]);
    rig.accepted(poll(&long)).await;
    let told = heard(&mut events).await;
    assert_eq!((told.data.len(), told.size), (0, DATA_BYTES_MAX as u64 + 1));
    long = says(1, 1, vec![7; DATA_BYTES_MAX]);
    rig.accepted(poll(&long)).await;
    assert_eq!(heard(&mut events).await.data.len(), DATA_BYTES_MAX);
}

/// While the log is away, outboxes keep what was said up to their bound. Then their agents wait,
/// and nobody else.
#[tokio::test]
async fn nothing_is_lost_while_the_log_is_away() {
    let bus = Logless::default();
    let mut rig = Rig::idle(Arc::new(bus.clone())).await;
    rig.start_worker("w1", Arc::new(rig.records.clone())).await;
    let mut events = start(&rig).await;
    for uid in [1, 2] {
        rig.accepted(poll(&hello(uid, 0))).await;
    }
    bus.away.store(true, Ordering::Relaxed);
    let mut said = Vec::new();
    loop {
        let seq = said.len() as u64 + 1;
        let word = format!("{seq:0>30000}");
        let (full, other) =
            tokio::join!(rig.ask(poll(&says(1, seq, word.clone()))), rig.ask(poll(&bare(2, seq))));
        let is_taken = |answer: &Option<report_reply::Outcome>| {
            matches!(answer, Some(report_reply::Outcome::Accepted(_)))
        };
        assert!(is_taken(&other), "{other:?}");
        if !is_taken(&full) {
            break;
        }
        said.push(word);
        assert!(said.len() < 10, "an outbox has a bound");
    }
    assert!(said.len() > 1);
    bus.away.store(false, Ordering::Relaxed);
    let heard = words(&mut events, said.len()).await;
    assert_eq!(heard, said);
    until("the outbox is empty", async || rig.stored(1).await.unwrap().events.is_empty()).await;
    rig.accepted(poll(&says(1, said.len() as u64 + 1, "more"))).await;
    assert_eq!(words(&mut events, 1).await, ["more"]);
}
