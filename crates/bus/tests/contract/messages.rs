//! Publish, request, subscribe.

use std::time::{Duration, Instant};

use bus::{Error, Inbound, LogEntry, Subscription};
use bytes::Bytes;
use tokio::time::timeout;

use crate::log::entry;
use crate::{PATIENCE, Pair};

async fn next(subscription: &mut Subscription) -> Inbound {
    timeout(PATIENCE, subscription.next()).await.unwrap().unwrap()
}

pub(crate) async fn everybody_who_listens_hears(pair: Pair) {
    let mut one = pair.a.subscribe("s", None, 8).await.unwrap();
    let mut two = pair.b.subscribe("s", None, 8).await.unwrap();
    pair.a.publish("s", "hello".into()).await.unwrap();
    for subscription in [&mut one, &mut two] {
        let inbound = next(subscription).await;
        assert_eq!(inbound.payload, "hello");
        assert!(inbound.reply.is_none(), "nobody waits");
    }
    pair.a.publish("nobody", "there".into()).await.unwrap();
}

pub(crate) async fn a_group_shares_and_takes_turns(pair: Pair) {
    let mut one = pair.a.subscribe("s", Some("g"), 256).await.unwrap();
    let mut two = pair.b.subscribe("s", Some("g"), 256).await.unwrap();
    for _ in 0..100 {
        pair.a.publish("s", "x".into()).await.unwrap();
    }
    let (mut first, mut second) = (0, 0);
    while first + second < 100 {
        let received = async {
            tokio::select! {
                biased;
                Some(_) = one.next() => first += 1,
                Some(_) = two.next() => second += 1,
            }
        };
        timeout(PATIENCE, received).await.expect("each message reaches one of them");
    }
    assert!(first > 10 && second > 10, "{first} and {second}");
    assert!(one.try_next().is_none() && two.try_next().is_none(), "and only one");
}

pub(crate) async fn an_answer_reaches_its_asker(pair: Pair) {
    let mut answerer = pair.b.subscribe("s", Some("g"), 8).await.unwrap();
    let answering = async {
        for _ in 0..2 {
            let inbound = next(&mut answerer).await;
            let echo = [b"re: ", &inbound.payload[..]].concat();
            inbound.reply.unwrap().send(echo.into()).await;
        }
    };
    let ask =
        |text: &'static str| pair.a.request("s", Bytes::from_static(text.as_bytes()), PATIENCE);
    let (one, two, ()) = tokio::join!(ask("one"), ask("two"), answering);
    assert_eq!(one.unwrap(), "re: one");
    assert_eq!(two.unwrap(), "re: two");
}

pub(crate) async fn nobody_there_is_told_from_silence(pair: Pair) {
    let start = Instant::now();
    let nobody = pair.a.request("s", Bytes::new(), PATIENCE).await;
    assert!(matches!(nobody, Err(Error::NoResponder(_))), "{nobody:?}");
    assert!(start.elapsed() < PATIENCE / 2, "told at once");
    let mut silent = pair.b.subscribe("s", None, 8).await.unwrap();
    let patience = Duration::from_millis(100);
    let silence = pair.a.request("s", Bytes::new(), patience).await;
    assert!(matches!(silence, Err(Error::TimedOut(_))), "{silence:?}");
    // An answer after the deadline reaches nobody and hurts nobody.
    next(&mut silent).await.reply.unwrap().send("late".into()).await;
}

pub(crate) async fn a_dropped_subscription_hears_nothing_more(pair: Pair) {
    let subscription = pair.a.subscribe("s", None, 8).await.unwrap();
    drop(subscription);
    let gone = async {
        loop {
            let asked = pair.a.request("s", Bytes::new(), Duration::from_millis(200)).await;
            if matches!(asked, Err(Error::NoResponder(_))) {
                return;
            }
        }
    };
    timeout(PATIENCE, gone).await.expect("the subject has nobody left");
}

pub(crate) async fn a_full_queue_drops_counts_and_goes_on(pair: Pair) {
    let mut slow = pair.b.subscribe("s", None, 4).await.unwrap();
    for n in 0..100_u8 {
        pair.a.publish("s", vec![n].into()).await.unwrap();
    }
    let counted = async {
        while pair.b.traffic().dropped < 96 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counted).await.expect("what found no room is counted");
    for n in 0..4 {
        assert_eq!(next(&mut slow).await.payload[..], [n], "the first ones were kept");
    }
    assert!(slow.try_next().is_none());
    pair.a.publish("s", "after".into()).await.unwrap();
    assert_eq!(next(&mut slow).await.payload, "after");
    assert_eq!(pair.b.traffic().dropped, 96);
}

pub(crate) async fn a_payload_over_the_limit_is_refused(pair: Pair) {
    let mut heard = pair.b.subscribe("s", None, 4).await.unwrap();
    let limit = pair.a.payload_max();
    let over = Bytes::from(vec![0; limit + 1]);
    let refused = [
        pair.a.publish("s", over.clone()).await.unwrap_err(),
        pair.a.request("s", over.clone(), PATIENCE).await.unwrap_err(),
        pair.a.append(vec![LogEntry { payload: over.clone(), ..entry("big") }]).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }
    pair.a.publish("s", over.slice(..limit)).await.unwrap();
    assert_eq!(next(&mut heard).await.payload.len(), limit);
}

pub(crate) async fn an_answer_after_the_deadline_reaches_nobody(pair: Pair) {
    let mut slow = pair.b.subscribe("s", None, 8).await.unwrap();
    let first = pair.a.request("s", "first".into(), Duration::from_millis(50)).await;
    assert!(matches!(first, Err(Error::TimedOut(_))), "{first:?}");
    let asked_first = next(&mut slow).await.reply.unwrap();
    let answering = async {
        let asked_second = next(&mut slow).await.reply.unwrap();
        asked_first.send("to the first".into()).await;
        asked_second.send("to the second".into()).await;
    };
    let (second, ()) = tokio::join!(pair.a.request("s", "second".into(), PATIENCE), answering);
    assert_eq!(second.unwrap(), "to the second");
}

pub(crate) async fn silence_lasts_until_the_deadline(pair: Pair) {
    let mut listener = pair.b.subscribe("s", None, 8).await.unwrap();
    let start = Instant::now();
    let dropping = async { drop(next(&mut listener).await) };
    let patience = Duration::from_millis(200);
    let (asked, ()) = tokio::join!(pair.a.request("s", Bytes::new(), patience), dropping);
    assert!(matches!(asked, Err(Error::TimedOut(_))), "{asked:?}");
    assert!(start.elapsed() >= patience, "who drops a question does not hurry its asker");
}

pub(crate) async fn all_who_hear_a_question_may_answer(pair: Pair) {
    let mut silent = pair.b.subscribe("s", None, 8).await.unwrap();
    let mut member = pair.b.subscribe("s", Some("g"), 8).await.unwrap();
    let answering = async {
        next(&mut silent).await;
        next(&mut member).await.reply.unwrap().send("mine".into()).await;
    };
    let (answer, ()) = tokio::join!(pair.a.request("s", Bytes::new(), PATIENCE), answering);
    assert_eq!(answer.unwrap(), "mine");
}

pub(crate) async fn what_is_sent_is_counted(pair: Pair) {
    let mut answerer = pair.b.subscribe("s", None, 8).await.unwrap();
    let (a, b) = (pair.a.traffic(), pair.b.traffic());
    pair.a.publish("s", Bytes::new()).await.unwrap();
    let answering = async {
        assert!(next(&mut answerer).await.reply.is_none());
        next(&mut answerer).await.reply.unwrap().send(Bytes::new()).await;
    };
    let (asked, ()) = tokio::join!(pair.a.request("s", Bytes::new(), PATIENCE), answering);
    asked.unwrap();
    pair.a.append(vec![entry("one"), entry("two")]).await.unwrap();
    let (a, b) = (pair.a.traffic().since(&a), pair.b.traffic().since(&b));
    assert_eq!((a.publishes, a.requests, a.appends), (1, 1, 2));
    assert_eq!(b.replies, 1);
}
