//! One agent looked at while it moves, polls, is offered secrets, and is gone.

use std::time::Duration;

use agent::Handle;
use agent::swarm::settings;
use control::v1::agents_client::AgentsClient;
use control::v1::trace_agent_response::Content;
use control::v1::trace_fact::Kind as Fact;
use control::v1::trace_notice::Kind as Notice;
use control::v1::{TraceAgentRequest, TraceAgentResponse};
use services::Muster;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::{Cluster, PATIENCE, give, until};

const HEARTBEAT: Duration = Duration::from_millis(100);

fn request(last: i32) -> TraceAgentRequest {
    let name = format!("agents/{}", settings(0).instance_uid);
    TraceAgentRequest { name, last, ..Default::default() }
}

/// Once gateways are heard: they say that they live once a second.
async fn open(channel: &Channel, request: TraceAgentRequest) -> Streaming<TraceAgentResponse> {
    let mut stream = None;
    until("a gateway is heard", async || {
        let traced = AgentsClient::new(channel.clone()).trace_agent(request.clone()).await;
        match traced {
            Ok(traced) => stream = Some(traced.into_inner()),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
        stream.is_some()
    })
    .await;
    stream.unwrap()
}

/// A trace as somebody reads it.
struct Reader {
    stream: Streaming<TraceAgentResponse>,
    heard: Vec<TraceAgentResponse>,
}

impl Reader {
    /// Reads on to an entry of this kind, and returns it.
    async fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&TraceAgentResponse) -> bool,
    ) -> TraceAgentResponse {
        let reading = async {
            loop {
                let entry = self.stream.message().await.unwrap().expect("it goes on");
                self.heard.push(entry.clone());
                if holds(&entry) {
                    return entry;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, reading).await;
        found.unwrap_or_else(|_| panic!("never told: {what}: {:#?}", self.heard))
    }

    /// Numbers of the agent's messages, as they came.
    fn numbers(&self) -> Vec<u64> {
        let messages = self.heard.iter().filter_map(|entry| match &entry.content {
            Some(Content::AgentToServer(message)) => Some(message.sequence_num),
            _ => None,
        });
        messages.collect()
    }
}

/// All that is remembered.
async fn remembered(channel: &Channel) -> Vec<TraceAgentResponse> {
    let mut stream = open(channel, request(1_000)).await;
    let mut entries = Vec::new();
    while let Some(entry) = stream.message().await.unwrap() {
        entries.push(entry);
    }
    entries
}

fn is_fact(entry: &TraceAgentResponse, kind: Fact) -> bool {
    matches!(&entry.content, Some(Content::Fact(fact)) if fact.kind() == kind)
}

fn is_notice(entry: &TraceAgentResponse, kind: Notice) -> bool {
    matches!(&entry.content, Some(Content::Notice(notice)) if notice.kind() == kind)
}

fn is_heartbeat(entry: &TraceAgentResponse) -> bool {
    matches!(&entry.content, Some(Content::AgentToServer(message))
        if message.agent_description.is_none() && message.health.is_none())
}

async fn one(cluster: &Cluster, gateway: usize) -> Handle {
    cluster.swarm(1, &[gateway], HEARTBEAT).await.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_follows_an_agent_from_gateway_to_gateway() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agent = one(&cluster, 0).await;
    let request = TraceAgentRequest { follow: true, ..request(1_000) };
    let stream = open(&cluster.channel, request).await;
    let mut reader = Reader { stream, heard: Vec::new() };
    let opened = reader.until("it connected", |entry| is_fact(entry, Fact::Opened)).await;
    reader.until("it is live", |entry| is_notice(entry, Notice::Following)).await;
    let first = reader.until("it beats", is_heartbeat).await;
    assert_eq!((&first.gateway_id, &first.transport[..]), (&opened.gateway_id, "websocket"));

    agent.redirect(&cluster.url(1)).await.unwrap();
    let moved = |entry: &TraceAgentResponse| {
        is_fact(entry, Fact::Claimed) && entry.gateway_id != opened.gateway_id
    };
    let moved = reader.until("it moved", moved).await;
    let beats =
        |entry: &TraceAgentResponse| is_heartbeat(entry) && entry.gateway_id == moved.gateway_id;
    reader.until("it beats there", beats).await;
    reader.until("it goes on beating", beats).await;
    let left = |entry: &TraceAgentResponse| {
        is_fact(entry, Fact::ClosedByAgent) && entry.gateway_id == opened.gateway_id
    };
    assert!(reader.heard.iter().any(left), "{:#?}", reader.heard);
    let numbers = reader.numbers();
    let expected: Vec<u64> = (numbers[0]..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "each message once, in order");

    // Where it is now dies: the trace says so and follows it back.
    cluster.real.gateways[1].kill().unwrap();
    agent.redirect(&cluster.url(0)).await.unwrap();
    let mut silent = false;
    let back = |entry: &TraceAgentResponse| {
        silent |= is_notice(entry, Notice::Silent) && entry.gateway_id == moved.gateway_id;
        silent && is_heartbeat(entry) && entry.gateway_id == opened.gateway_id
    };
    reader.until("it is back, and one is silent", back).await;
    drop(reader);

    agent.stop().await;
    until("its last word is told", async || {
        let entries = remembered(&cluster.channel).await;
        entries.iter().rev().find(|entry| entry.time.is_some()).is_some_and(|last| {
            last.gateway_id == opened.gateway_id && is_fact(last, Fact::ClosedByAgent)
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_are_traced_wherever_they_come() {
    let Some(cluster) = Cluster::start().await else { return };
    let polls = |gateway: usize| cluster.url(gateway).replace("ws://", "http://");
    let settings = agent::core::Settings { heartbeat_ms: 100, ..settings(0) };
    let agent = agent::start(settings, &polls(0)).unwrap();
    assert!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await);
    let request = TraceAgentRequest { follow: true, ..request(1_000) };
    let stream = open(&cluster.channel, request).await;
    let mut reader = Reader { stream, heard: Vec::new() };
    let answered =
        |entry: &TraceAgentResponse| entry.transport == "http" && entry.http_status == 200;
    let first = reader.until("a poll is answered", answered).await;
    agent.redirect(&polls(1)).await.unwrap();
    let elsewhere =
        |entry: &TraceAgentResponse| answered(entry) && entry.gateway_id != first.gateway_id;
    reader.until("another gateway answers", elsewhere).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_traces_without_a_secret_in_it() {
    const CANARY: &str = "c4n4ry";
    let data = tempfile::tempdir().unwrap();
    let muster = Muster::serve(&["--data-dir", data.path().to_str().unwrap()]).unwrap();
    let channel = Channel::from_shared(muster.control.clone().unwrap()).unwrap();
    let channel = channel.connect().await.unwrap();
    let agent = agent::start(settings(0), muster.opamp.as_ref().unwrap()).unwrap();
    assert!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await);
    let body = format!(
        "exporters:\n  otlp:\n    endpoint: https://u:{CANARY}@host:4317\n    headers:\n      \
         authorization: Bearer {CANARY}\nservice: {{}}\n"
    );
    let hash = give(&channel, &body).await;
    let runs = |agent: &agent::Agent| agent.config_status().last_remote_config_hash == hash;
    assert!(agent.until(PATIENCE, runs).await);
    for include_bodies in [false, true] {
        until("offer and effective config are told", async || {
            let request = TraceAgentRequest { include_bodies, ..request(1_000) };
            let mut stream = open(&channel, request).await;
            let (mut offered, mut runs, mut text) = (false, false, String::new());
            while let Some(entry) = stream.message().await.unwrap() {
                match &entry.content {
                    Some(Content::ServerToAgent(message)) if message.remote_config.is_some() => {
                        offered = true;
                        assert_eq!(entry.config_revision, "configs/c/revisions/1");
                    }
                    Some(Content::AgentToServer(message)) if message.effective_config.is_some() => {
                        runs = true;
                    }
                    _ => {}
                }
                text += &format!("{entry:?}");
            }
            assert!(!text.contains(CANARY), "{text}");
            assert_eq!(text.contains("https://[redacted]@host:4317"), include_bodies && offered);
            offered && runs
        })
        .await;
    }
    let stranger = TraceAgentRequest {
        name: "agents/018bcfe5-6800-7007-8707-070707070707".to_owned(),
        ..request(1)
    };
    let refused = AgentsClient::new(channel).trace_agent(stranger).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
