//! Custom messages and capabilities, as operators see them.

use std::time::Duration;

use control::Limits;
use control::v1::custom_messages_client::CustomMessagesClient;
use control::v1::*;
use model::AgentRecord;
use model::custom::{DATA_BYTES_MAX, Received};
use opamp::v1::CustomCapabilities;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::rig::{PATIENCE, Rig, Watched, agent, put, say, until};

type Stream = Streaming<WatchCustomMessagesResponse>;

const ECHO: &str = "org.example.echo/v1";

fn want(selector: &str, capability: &str, kind: &str) -> WatchCustomMessagesRequest {
    WatchCustomMessagesRequest {
        selector: selector.to_owned(),
        capability: capability.to_owned(),
        r#type: kind.to_owned(),
        position: String::new(),
    }
}

async fn watch(rig: &Rig, request: WatchCustomMessagesRequest) -> Result<Stream, Status> {
    let mut client = CustomMessagesClient::new(rig.channel.clone());
    client.watch_custom_messages(request).await.map(tonic::Response::into_inner)
}

async fn next(stream: &mut Stream) -> Result<WatchCustomMessagesResponse, Status> {
    let message = timeout(PATIENCE, stream.message()).await.expect("a message in time");
    message.map(|message| message.expect("streams end with a status"))
}

/// The first message, which says where the watch begins.
async fn begun(stream: &mut Stream) -> String {
    let mark = next(stream).await.unwrap();
    assert_eq!(mark.message, None, "the first is a bookmark");
    mark.position
}

/// The next words, and the position after them.
async fn heard(stream: &mut Stream) -> (String, String) {
    loop {
        let WatchCustomMessagesResponse { message, position } = next(stream).await.unwrap();
        if let Some(message) = message {
            return (String::from_utf8(message.data).unwrap(), position);
        }
    }
}

async fn says(rig: &Rig, record: &AgentRecord, (capability, kind): (&str, &str), word: &str) {
    let data = word.as_bytes().to_vec();
    let (capability, kind) = (capability.to_owned(), kind.to_owned());
    let message = Received { capability, kind, size: data.len() as u64, data };
    let happened = [model::Event::CustomMessageReceived];
    say(&rig.raw, &rig.records, record, &happened, Some(&message)).await;
}

#[tokio::test]
async fn messages_come_by_selector_capability_and_type_each_compared_as_a_whole() {
    let rig = Rig::new().await;
    let mut all = watch(&rig, want("", "", "")).await.unwrap();
    let mut some = watch(&rig, want("env=prod", ECHO, "ping")).await.unwrap();
    begun(&mut all).await;
    begun(&mut some).await;
    let (prod, dev) = (agent(1, "prod"), agent(2, "dev"));
    for (agent, what, word) in [
        (&prod, ("org.example.echo/v2", "ping"), "a"),
        (&prod, (ECHO, "pong"), "b"),
        (&dev, (ECHO, "ping"), "c"),
        (&prod, ("org.example.echo", "ping"), "d"),
        (&prod, (ECHO, "ping"), "e"),
    ] {
        says(&rig, agent, what, word).await;
    }
    for word in ["a", "b", "c", "d", "e"] {
        assert_eq!(heard(&mut all).await.0, word);
    }
    let last = loop {
        if let Some(message) = next(&mut some).await.unwrap().message {
            break message;
        }
    };
    assert_eq!((&*last.data, last.size_bytes, last.version), (&b"e"[..], 1, 4));
    assert_eq!(last.agent, "agents/01010101-0101-0101-0101-010101010101");
    assert_eq!((&*last.capability, &*last.r#type), (ECHO, "ping"));
}

#[tokio::test]
async fn who_goes_on_from_a_position_hears_what_came_after_it() {
    let rig = Rig::new().await;
    let request = want("", ECHO, "");
    let mut stream = watch(&rig, request.clone()).await.unwrap();
    begun(&mut stream).await;
    let record = agent(1, "prod");
    says(&rig, &record, (ECHO, "ping"), "a").await;
    let (_, position) = heard(&mut stream).await;
    drop(stream);
    says(&rig, &record, ("org.example.other", "x"), "not this").await;
    says(&rig, &record, (ECHO, "ping"), "b").await;
    let rig = rig.restart(Limits::default()).await;
    let resumed = WatchCustomMessagesRequest { position: position.clone(), ..request };
    let mut stream = watch(&rig, resumed).await.unwrap();
    assert_eq!(heard(&mut stream).await.0, "b");
    for other in [want("", "", ""), want("", ECHO, "ping"), want("a=b", ECHO, "")] {
        let other = WatchCustomMessagesRequest { position: position.clone(), ..other };
        let error = watch(&rig, other).await.unwrap_err();
        assert_eq!(error.code(), Code::OutOfRange, "{error}");
    }
}

#[tokio::test]
async fn a_quiet_watch_says_where_it_is() {
    let limits = Limits { watch_bookmark: Duration::from_millis(20), ..Limits::default() };
    let rig = Rig::start(Watched::default(), limits).await;
    let mut stream = watch(&rig, want("", ECHO, "")).await.unwrap();
    let first = begun(&mut stream).await;
    rig.commit(&agent(1, "prod")).await;
    until("the position moved", async || next(&mut stream).await.unwrap().position != first).await;
}

#[tokio::test]
async fn bad_input_is_named() {
    let rig = Rig::new().await;
    let long = "x".repeat(300);
    let bad_position = WatchCustomMessagesRequest { position: "x".to_owned(), ..want("", "", "") };
    for (request, field) in [
        (want("env in", "", ""), "selector"),
        (want("", "a b", ""), "capability"),
        (want("", &long, ""), "capability"),
        (want("", ECHO, "a\n"), "type"),
        (want("", "", "ping"), "capability"),
        (bad_position, "position"),
    ] {
        let error = watch(&rig, request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().starts_with(&format!("{field}: ")), "{error}");
    }
    let request = ListAgentsRequest { custom_capability: long, ..Default::default() };
    let error = rig.agents.clone().list_agents(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.message().starts_with("custom_capability: "), "{error}");
}

#[tokio::test]
async fn of_a_long_one_only_the_size_is_told() {
    let rig = Rig::new().await;
    let mut stream = watch(&rig, want("", "", "")).await.unwrap();
    begun(&mut stream).await;
    let (capability, kind) = (ECHO.to_owned(), "ping".to_owned());
    let size = DATA_BYTES_MAX as u64 + 1;
    let message = Received { capability, kind, data: Vec::new(), size };
    say(&rig.raw, &rig.records, &agent(1, "prod"), &[], Some(&message)).await;
    let told = next(&mut stream).await.unwrap().message.unwrap();
    assert_eq!((told.data.len(), told.size_bytes), (0, i64::try_from(size).unwrap()));
}

#[tokio::test]
async fn agents_are_listed_by_what_they_declare() {
    let records = Watched::default();
    for (byte, names) in [
        (1, None),
        (2, Some(vec![])),
        (3, Some(vec![ECHO])),
        (4, Some(vec!["org.example.echo/v2", ECHO])),
        (5, Some(vec!["org.example.echo"])),
    ] {
        let mut record = agent(byte, "prod");
        record.reported.custom_capabilities = names.map(|names: Vec<&str>| CustomCapabilities {
            capabilities: names.into_iter().map(str::to_owned).collect(),
        });
        put(&records, &record).await;
    }
    let rig = Rig::with(records).await;
    let list = async |page_size, page_token: &str| {
        let request = ListAgentsRequest {
            custom_capability: ECHO.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        rig.agents.clone().list_agents(request).await.unwrap().into_inner()
    };
    let first = list(1, "").await;
    assert_eq!((&first.agents[0].instance_uid[..2], first.total_size), ("03", 2));
    let second = list(1, &first.next_page_token).await;
    assert_eq!(second.agents[0].custom_capabilities, ["org.example.echo/v2", ECHO]);
    assert_eq!(second.next_page_token, "");
    let all = ListAgentsRequest { page_token: first.next_page_token, ..Default::default() };
    assert!(rig.agents.clone().list_agents(all).await.is_err(), "a token of another list");
}
