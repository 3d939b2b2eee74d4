//! Messages larger than one payload, over either backend.

use std::time::Duration;

use bus::v1::envelope::Body;
use bus::v1::{Envelope, Parcel, Presence, Report};
use bus::{Client, Error, Subject, WORKERS};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::timeout;

use crate::typed::clients;
use crate::typed::{echo, echoed};
use crate::{PATIENCE, Pair};

/// More than one payload.
fn big() -> Bytes {
    vec![7; 2 << 20].into()
}

/// An envelope whose parcel lies with whoever answers on a subject.
fn lies_at(subject: &str) -> Bytes {
    let parcel = Parcel { subject: subject.to_owned(), id: 1, size: 3 << 20 };
    let body = Some(Body::Parcel(parcel));
    Envelope { format: 1, body, ..Default::default() }.encode_to_vec().into()
}

async fn holds_nothing(client: &Client) {
    let gone = async {
        while client.held_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("nothing stays behind");
}

pub(crate) async fn nothing_stays_behind_once_an_answer_was_fetched(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let mut inbox = b.join::<Report>(&Subject::Report, WORKERS, 8).await.unwrap();
    let answering = async {
        let (asked, responder) = inbox.next().await.unwrap().split();
        assert!(a.held_bytes() > 0, "the asker holds it while it waits");
        responder.send(&echo(asked.message)).await;
    };
    let ask = Report { message: big(), ..Default::default() };
    let (answer, ()) = tokio::join!(a.request(&Subject::Report, &ask, PATIENCE), answering);
    assert_eq!(echoed(answer.unwrap()).len(), big().len());
    assert_eq!(a.held_bytes(), 0);
    holds_nothing(&b).await;
}

pub(crate) async fn a_question_nobody_waits_for_takes_its_parcel_along(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let mut inbox = b.subscribe::<Report>(&Subject::Report, 8).await.unwrap();
    let ask = Report { message: big(), ..Default::default() };
    tokio::select! {
        biased;
        answered = a.request(&Subject::Report, &ask, PATIENCE) => panic!("{answered:?}"),
        received = inbox.next() => assert_eq!(received.unwrap().body.message.len(), big().len()),
    }
    assert_eq!(a.held_bytes(), 0, "the request was dropped");
}

pub(crate) async fn everybody_who_listens_gets_a_large_message(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let mut one = b.subscribe::<Presence>(&Subject::Presence, 8).await.unwrap();
    let mut two = b.subscribe::<Presence>(&Subject::Presence, 8).await.unwrap();
    let message = Presence { gateway_id: "g".repeat(2 << 20), ..Default::default() };
    a.publish(&Subject::Presence, &message).await.unwrap();
    for inbox in [&mut one, &mut two] {
        let received = timeout(PATIENCE, inbox.next()).await.unwrap().unwrap();
        assert_eq!(received.body.gateway_id.len(), 2 << 20);
    }
    assert!(a.held_bytes() > 0, "others may still come");
}

pub(crate) async fn a_large_message_does_not_hold_up_small_ones(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let _never_answers = pair.a.subscribe("silent", None, 8).await.unwrap();
    let mut inbox = b.subscribe::<Presence>(&Subject::Presence, 64).await.unwrap();
    let subject = Subject::Presence.text("test");
    for _ in 0..20 {
        pair.a.publish(&subject, lies_at("silent")).await.unwrap();
    }
    let message = Presence { gateway_id: "small".to_owned(), ..Default::default() };
    a.publish(&Subject::Presence, &message).await.unwrap();
    let received = timeout(Duration::from_secs(2), inbox.next()).await.expect("it passes");
    assert_eq!(received.unwrap().body.gateway_id, "small");
}

pub(crate) async fn an_answer_lost_on_its_way_is_silence(pair: Pair) {
    let (a, _) = clients(&pair).await;
    let mut raw = pair.b.subscribe(&Subject::Report.text("test"), None, 8).await.unwrap();
    let answering = async {
        let asked = timeout(PATIENCE, raw.next()).await.unwrap().unwrap();
        asked.reply.unwrap().send(lies_at("nobody")).await;
    };
    let ask = Report::default();
    let (asked, ()) = tokio::join!(a.request(&Subject::Report, &ask, PATIENCE), answering);
    assert!(matches!(asked, Err(Error::TimedOut(_))), "the peer was there: {asked:?}");
}
