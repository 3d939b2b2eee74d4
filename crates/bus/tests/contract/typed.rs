//! The typed client, over either backend.

use std::sync::Arc;
use std::time::Duration;

use bus::v1::{Envelope, IntentChanged, Report, ReportReply, envelope, report_reply};
use bus::{Client, Error, Subject, WORKERS};
use bytes::Bytes;
use model::{Clock, Timestamp};
use opentelemetry::trace::TracerProvider as _;
use prost::Message as _;
use tokio::time::timeout;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{PATIENCE, Pair};

#[derive(Debug)]
struct Fixed(u64);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }
}

pub(crate) async fn clients(pair: &Pair) -> (Client, Client) {
    let client = |bus: &Arc<dyn bus::Bus>, name: &'static str| {
        let bus = bus.clone();
        async move { Client::new(bus, "test", name, Arc::new(Fixed(1_000))).await.unwrap() }
    };
    (client(&pair.a, "a").await, client(&pair.b, "b").await)
}

/// An answer that is as large as its question.
pub(crate) fn echo(message: Bytes) -> ReportReply {
    let accepted = report_reply::Accepted { message, ..Default::default() };
    ReportReply { outcome: Some(report_reply::Outcome::Accepted(accepted)) }
}

/// What was echoed.
pub(crate) fn echoed(reply: ReportReply) -> Bytes {
    match reply.outcome {
        Some(report_reply::Outcome::Accepted(accepted)) => accepted.message,
        other => panic!("not an echo: {other:?}"),
    }
}

pub(crate) async fn large_messages_cross_both_ways(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let mut inbox = b.join::<Report>(&Subject::Report, WORKERS, 8).await.unwrap();
    let big = vec![7_u8; 3 << 20];
    let answering = async {
        let (asked, responder) = inbox.next().await.unwrap().split();
        responder.send(&echo(asked.message)).await;
    };
    let ask = Report { message: big.clone().into(), ..Default::default() };
    let (answer, ()) = tokio::join!(a.request(&Subject::Report, &ask, PATIENCE), answering);
    assert!(echoed(answer.unwrap()) == big);
}

pub(crate) async fn a_message_over_the_limit_is_refused(pair: Pair) {
    let (a, _) = clients(&pair).await;
    let ask = Report { message: vec![0; 70 << 20].into(), ..Default::default() };
    let refused = a.request(&Subject::Report, &ask, PATIENCE).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

pub(crate) async fn nonsense_is_skipped(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let mut inbox = b.subscribe::<IntentChanged>(&Subject::Intent, 8).await.unwrap();
    let subject = Subject::Intent.text("test");
    for nonsense in [&b"\xff\xff\xff"[..], b"", b"\x08\x63"] {
        pair.a.publish(&subject, nonsense.to_vec().into()).await.unwrap();
    }
    a.publish(&Subject::Intent, &IntentChanged { decision: 5 }).await.unwrap();
    let received = timeout(PATIENCE, inbox.next()).await.unwrap().unwrap();
    assert_eq!(received.body.decision, 5);
    assert_eq!(b.malformed(), 3);
}

pub(crate) async fn an_envelope_is_what_the_protocol_says(pair: Pair) {
    let (a, _) = clients(&pair).await;
    let mut raw = pair.b.subscribe("test.v1.intent", None, 8).await.unwrap();
    let message = IntentChanged { decision: 5 };
    a.publish(&Subject::Intent, &message).await.unwrap();
    let inbound = timeout(PATIENCE, raw.next()).await.unwrap().unwrap();
    let expected = Envelope {
        format: 1,
        body: Some(envelope::Body::Inline(message.encode_to_vec().into())),
        ..Default::default()
    };
    assert_eq!(Envelope::decode(inbound.payload).unwrap(), expected);
}

pub(crate) async fn a_deadline_travels_with_the_message(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let late = Client::new(pair.b.clone(), "test", "late", Arc::new(Fixed(2_000))).await.unwrap();
    let mut in_time = b.subscribe::<Report>(&Subject::Report, 8).await.unwrap();
    let mut too_late = late.subscribe::<Report>(&Subject::Report, 8).await.unwrap();
    let ask = Report::default();
    let silence = a.request(&Subject::Report, &ask, Duration::from_millis(300)).await;
    assert!(matches!(silence, Err(Error::TimedOut(_))));
    let received = timeout(PATIENCE, in_time.next()).await.unwrap().unwrap();
    assert_eq!(received.deadline, Some(Timestamp(1_300)));
    assert!(!received.expired());
    assert!(timeout(PATIENCE, too_late.next()).await.unwrap().unwrap().expired());
}

pub(crate) async fn fleets_do_not_hear_each_other(pair: Pair) {
    let (a, b) = clients(&pair).await;
    let other = Client::new(pair.b.clone(), "other", "o", Arc::new(Fixed(1_000))).await.unwrap();
    let mut theirs = other.subscribe::<IntentChanged>(&Subject::Intent, 8).await.unwrap();
    let mut ours = b.subscribe::<IntentChanged>(&Subject::Intent, 8).await.unwrap();
    a.publish(&Subject::Intent, &IntentChanged { decision: 1 }).await.unwrap();
    other.publish(&Subject::Intent, &IntentChanged { decision: 2 }).await.unwrap();
    assert_eq!(timeout(PATIENCE, ours.next()).await.unwrap().unwrap().body.decision, 1);
    assert_eq!(timeout(PATIENCE, theirs.next()).await.unwrap().unwrap().body.decision, 2);
}

pub(crate) async fn a_trace_goes_on_at_the_other_end(pair: Pair) {
    use opentelemetry::trace::TraceContextExt as _;
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _tracing = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    opentelemetry::global::set_text_map_propagator(
        opentelemetry_sdk::propagation::TraceContextPropagator::new(),
    );
    let (a, b) = clients(&pair).await;
    let mut inbox = b.subscribe::<IntentChanged>(&Subject::Intent, 8).await.unwrap();
    let sent = tracing::info_span!("sent");
    let message = IntentChanged { decision: 1 };
    a.publish(&Subject::Intent, &message).instrument(sent.clone()).await.unwrap();
    let received = timeout(PATIENCE, inbox.next()).await.unwrap().unwrap();
    let taken = tracing::info_span!("taken");
    received.parent(&taken);
    let trace = |span: &tracing::Span| span.context().span().span_context().trace_id();
    assert_eq!(trace(&taken), trace(&sent));
    assert_ne!(trace(&taken), opentelemetry::TraceId::INVALID);
}
