//! Publish, request, subscribe.

use std::time::{Duration, Instant};

use bus::{Error, Inbound, Subscription};
use bytes::Bytes;
use tokio::time::timeout;

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

pub(crate) async fn a_full_queue_drops_and_goes_on(pair: Pair) {
    let mut slow = pair.b.subscribe("s", None, 4).await.unwrap();
    for n in 0..100_u8 {
        pair.a.publish("s", vec![n].into()).await.unwrap();
    }
    // The answer to a request behind them shows that all have arrived.
    let mut behind = pair.b.subscribe("end", None, 4).await.unwrap();
    let (asked, ()) = tokio::join!(pair.a.request("end", Bytes::new(), PATIENCE), async {
        next(&mut behind).await.reply.unwrap().send(Bytes::new()).await;
    });
    asked.unwrap();
    let mut kept = 0;
    while slow.try_next().is_some() {
        kept += 1;
    }
    assert!((1..100).contains(&kept), "kept {kept}");
    pair.a.publish("s", "after".into()).await.unwrap();
    let after = async { while next(&mut slow).await.payload != "after" {} };
    timeout(PATIENCE, after).await.expect("it goes on");
}
