//! Traces: what control makes of what gateways hear, and what it refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::v1::tap_reply::Entry;
use bus::v1::tap_reply::entry::Content as Heard;
use bus::v1::{
    GatewayReply, GatewayRequest, Presence, Tap, TapDirection, TapReply, Transport, gateway_reply,
    gateway_request,
};
use bus::{Client, Subject};
use control::v1::trace_agent_response::Content;
use control::v1::trace_notice::Kind;
use control::v1::{TraceAgentRequest, TraceAgentResponse, TraceDirection};
use control::{Config, Limits};
use model::{Clock as _, GatewayId};
use opamp::v1::AgentToServer;
use tokio::task::JoinSet;
use tonic::{Code, Streaming};

use crate::rig::{PATIENCE, Rig, Watched, agent, until};

/// A hand to play gateways: what each hears, and what it was asked.
#[derive(Clone, Default)]
struct Gateways {
    hears: Arc<Mutex<BTreeMap<String, Vec<Entry>>>>,
    asked: Arc<Mutex<Vec<(String, Tap)>>>,
    refuse: Arc<Mutex<bool>>,
}

impl Gateways {
    /// One more, which answers from now on.
    async fn start(&self, rig: &Rig, tasks: &mut JoinSet<()>, name: &str) {
        let bus = Client::new(rig.raw.clone(), "test", name, rig.clock.clone()).await.unwrap();
        let subject = Subject::Gateway(GatewayId::new(name));
        let mut inbox = bus.subscribe::<GatewayRequest>(&subject, 64).await.unwrap();
        let (own, here) = (self.clone(), name.to_owned());
        tasks.spawn(async move {
            while let Some(received) = inbox.next().await {
                let (request, responder) = received.split();
                let Some(gateway_request::Request::Tap(tap)) = request.request else { continue };
                own.asked.lock().unwrap().push((here.clone(), tap.clone()));
                let reply = Some(gateway_reply::Reply::Tap(own.answer(&here, &tap)));
                if tap.wait_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                responder.send(&GatewayReply { reply }).await;
            }
        });
        self.is_heard(rig, name).await;
    }

    /// A sign of life, whether it answers or not.
    async fn is_heard(&self, rig: &Rig, name: &str) {
        let at_unix_ms = rig.clock.now().0;
        let presence = Presence { gateway_id: name.to_owned(), at_unix_ms, ..Default::default() };
        rig.bus.publish(&Subject::Presence, &presence).await.unwrap();
    }

    fn answer(&self, gateway: &str, tap: &Tap) -> TapReply {
        if *self.refuse.lock().unwrap() {
            return TapReply { refused: true, ..TapReply::default() };
        }
        let hears = self.hears.lock().unwrap();
        let all = hears.get(gateway).map_or(&[][..], Vec::as_slice);
        // At first the last ones, later all; two of them in an answer.
        let first = all.len().saturating_sub(tap.last as usize);
        let all = if tap.after == 0 { &all[first..] } else { all };
        let new = all.iter().filter(|entry| entry.position > tap.after);
        let entries: Vec<Entry> = new.take(2).cloned().collect();
        let position = entries.last().map_or(tap.after, |entry| entry.position);
        TapReply { entries, position, ..TapReply::default() }
    }

    /// An agent says something there.
    fn hear(&self, gateway: &str, number: u64) {
        let message = AgentToServer { sequence_num: number, ..Default::default() };
        let entry = Entry {
            position: number,
            at_unix_ms: number,
            direction: TapDirection::In.into(),
            transport: Transport::WebSocket.into(),
            size_bytes: 7,
            content: Some(Heard::AgentToServer(message)),
            ..Entry::default()
        };
        self.hears.lock().unwrap().entry(gateway.to_owned()).or_default().push(entry);
    }
}

async fn rig(limits: Limits) -> Rig {
    let config = Config { limits, name: "c1".to_owned(), ..Config::default() };
    let rig = Rig::configured(
        Arc::default(),
        Arc::default(),
        Watched::default(),
        Watched::default(),
        config,
    )
    .await;
    until("the view is ready", async || rig.control.ready()).await;
    rig
}

fn request(byte: u8) -> TraceAgentRequest {
    let uid = opamp::InstanceUid::from_bytes([byte; 16]);
    TraceAgentRequest { name: format!("agents/{uid}"), last: 3, ..Default::default() }
}

async fn trace(
    rig: &Rig,
    request: TraceAgentRequest,
) -> Result<Streaming<TraceAgentResponse>, tonic::Status> {
    Ok(rig.agents.clone().trace_agent(request).await?.into_inner())
}

/// What comes next, in a word.
async fn next(stream: &mut Streaming<TraceAgentResponse>) -> Option<String> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time").unwrap();
    let message = message?;
    Some(match message.content.unwrap() {
        Content::AgentToServer(said) => format!("{} {}", message.gateway_id, said.sequence_num),
        Content::Notice(notice) => format!("{} {:?}", message.gateway_id, notice.kind()),
        other => panic!("{other:?}"),
    })
}

/// Skips signs of life.
async fn next_news(stream: &mut Streaming<TraceAgentResponse>) -> String {
    loop {
        let word = next(stream).await.unwrap();
        if word != format!(" {:?}", Kind::Following) {
            return word;
        }
    }
}

#[tokio::test]
async fn the_last_of_all_gateways_come_in_order_then_what_follows_on_any() {
    let rig = rig(Limits::default()).await;
    let (gateways, mut tasks) = (Gateways::default(), JoinSet::new());
    for (gateway, number) in [("g1", 1), ("g2", 2), ("g1", 3), ("g2", 4)] {
        gateways.hear(gateway, number);
    }
    gateways.start(&rig, &mut tasks, "g1").await;
    gateways.start(&rig, &mut tasks, "g2").await;
    rig.commit(&agent(1, "prod")).await;
    let request = TraceAgentRequest { follow: true, ..request(1) };
    let mut stream = loop {
        // Until both are heard of.
        let mut stream = trace(&rig, request.clone()).await.unwrap();
        if next(&mut stream).await.unwrap() == "g2 2" {
            break stream;
        }
    };
    assert_eq!(next(&mut stream).await.unwrap(), "g1 3");
    assert_eq!(next(&mut stream).await.unwrap(), "g2 4");
    assert_eq!(next(&mut stream).await.unwrap(), " Following");
    gateways.hear("g1", 5);
    assert_eq!(next_news(&mut stream).await, "g1 5");
    gateways.hear("g2", 6);
    assert_eq!(next_news(&mut stream).await, "g2 6");
    // The agent goes where nobody was before.
    gateways.hear("g3", 7);
    gateways.start(&rig, &mut tasks, "g3").await;
    assert_eq!(next_news(&mut stream).await, "g3 7");
    drop(stream);
    let asked = gateways.asked.clone();
    until("gateways are told of the end", async || {
        let asked = asked.lock().unwrap();
        let ends = asked.iter().filter(|(_, tap)| tap.end);
        ends.map(|(gateway, _)| gateway.clone()).collect::<std::collections::BTreeSet<_>>().len()
            == 3
    })
    .await;
}

#[tokio::test]
async fn without_following_it_ends_and_leaves_no_tap() {
    let rig = rig(Limits::default()).await;
    let (gateways, mut tasks) = (Gateways::default(), JoinSet::new());
    (1..=5).for_each(|number| gateways.hear("g1", number));
    gateways.start(&rig, &mut tasks, "g1").await;
    let direction = TraceDirection::In.into();
    let request = TraceAgentRequest { direction, include_bodies: true, ..request(1) };
    // Nobody knows it but the gateway.
    let mut stream = loop {
        match trace(&rig, request.clone()).await {
            Ok(stream) => break stream,
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    };
    for expected in ["g1 3", "g1 4", "g1 5"] {
        assert_eq!(next(&mut stream).await.unwrap(), expected);
    }
    assert_eq!(next(&mut stream).await, None);
    for (_, tap) in gateways.asked.lock().unwrap().iter() {
        assert_eq!((tap.tap_id, tap.include_bodies), (0, true));
        assert_eq!(tap.direction(), TapDirection::In);
    }
}

#[tokio::test]
async fn bad_requests_name_the_field() {
    let rig = rig(Limits::default()).await;
    for (request, field) in [
        (TraceAgentRequest { name: "agents/x".to_owned(), ..request(1) }, "name"),
        (TraceAgentRequest { last: -1, ..request(1) }, "last"),
        (TraceAgentRequest { last: 1001, ..request(1) }, "last"),
        (TraceAgentRequest { last: 0, ..request(1) }, "last"),
        (TraceAgentRequest { direction: 9, ..request(1) }, "direction"),
    ] {
        let status = trace(&rig, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(&format!("{field}: ")), "{status}");
    }
}

#[tokio::test]
async fn who_nobody_knows_is_not_found_and_without_gateways_nothing_is() {
    let rig = rig(Limits::default()).await;
    let (gateways, mut tasks) = (Gateways::default(), JoinSet::new());
    let status = trace(&rig, request(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "none is heard");
    gateways.is_heard(&rig, "mute").await;
    let begun = Instant::now();
    assert_eq!(trace(&rig, request(1)).await.unwrap_err().code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(2));
    gateways.start(&rig, &mut tasks, "g1").await;
    until("it is asked", async || {
        trace(&rig, request(9)).await.is_err_and(|status| status.code() == Code::NotFound)
    })
    .await;
    // Who is known and said nothing lately is no error, and who does not answer is named.
    rig.commit(&agent(1, "prod")).await;
    let mut words = Vec::new();
    until("it is known", async || {
        let Ok(mut stream) = trace(&rig, request(1)).await else { return false };
        words.clear();
        while let Some(word) = next(&mut stream).await {
            words.push(word);
        }
        true
    })
    .await;
    assert_eq!(words, ["mute Silent"]);
}

#[tokio::test]
async fn traces_are_bounded_here_and_at_the_gateways() {
    let rig = rig(Limits { traces_max: 1, ..Limits::default() }).await;
    let (gateways, mut tasks) = (Gateways::default(), JoinSet::new());
    gateways.hear("g1", 1);
    gateways.start(&rig, &mut tasks, "g1").await;
    let request = TraceAgentRequest { follow: true, ..request(1) };
    let mut first = None;
    until("the gateway is heard", async || {
        first = trace(&rig, request.clone()).await.ok();
        first.is_some()
    })
    .await;
    let status = trace(&rig, request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(first);
    *gateways.refuse.lock().unwrap() = true;
    until("the gateway's bound is told", async || {
        let status = trace(&rig, request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        status.message().contains("gateway g1")
    })
    .await;
}

#[tokio::test]
async fn who_does_not_read_is_ended() {
    let limits =
        Limits { trace_stall: Duration::from_millis(20), trace_queue_max: 1, ..Limits::default() };
    let rig = rig(limits).await;
    let (gateways, mut tasks) = (Gateways::default(), JoinSet::new());
    // More than connections and queues hold.
    let mut entry = Entry::default();
    let words = "w".repeat(60_000);
    let health = opamp::v1::ComponentHealth { status: words, ..Default::default() };
    let message = AgentToServer { health: Some(health), ..Default::default() };
    entry.content = Some(Heard::AgentToServer(message));
    let entries = (1..=300).map(|position| Entry { position, ..entry.clone() });
    gateways.hears.lock().unwrap().insert("g1".to_owned(), entries.collect());
    gateways.start(&rig, &mut tasks, "g1").await;
    let request = TraceAgentRequest { follow: true, last: 1_000, ..request(1) };
    let mut stream = None;
    until("the gateway is heard", async || {
        stream = trace(&rig, request.clone()).await.ok();
        stream.is_some()
    })
    .await;
    let mut stream = stream.unwrap();
    let asked = gateways.asked.clone();
    until("it is over", async || asked.lock().unwrap().iter().any(|(_, tap)| tap.end)).await;
    let ended = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "it says why"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Aborted);
}
