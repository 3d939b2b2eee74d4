//! A running fleet, and how a case reaches it.

mod agents;
mod commands;
mod credentials;
mod packages;
mod processes;
mod settings;
mod words;

pub(crate) use packages::file;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agent::link::{Answer, Endpoint, Poller, WebSocket};
use control::v1::ListAgentsRequest;
use control::v1::agents_client::AgentsClient;
use http::StatusCode;
use opamp::InstanceUid;
use opamp::v1::{AgentToServer, ServerToAgent};
use prost::Message as _;
use services::{Muster, Server};
use tempfile::TempDir;
use tonic::transport::Channel;

/// How long anything that should be prompt may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The forms of Muster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One process, no services.
    Embedded,
    /// Two gateways, two workers and a control, on NATS and two Redis.
    Cluster,
}

impl Form {
    pub(crate) const ALL: [Form; 2] = [Form::Embedded, Form::Cluster];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
        }
    }
}

/// A fleet: one that cases share, or a case's own.
#[derive(Debug)]
pub(crate) struct Fleet {
    form: Form,
    gateways: Vec<String>,
    channel: Channel,
    next_gateway: AtomicUsize,
    next_uid: AtomicU64,
    // In the order in which they are to end.
    muster: Vec<Muster>,
    services: Vec<Server>,
    data: TempDir,
}

impl Fleet {
    /// Starts a fleet to share; nothing where its services are missing, which CI does not pass.
    pub(crate) async fn shared(form: Form) -> Option<Arc<Self>> {
        match Self::start(form, &[]).await {
            Ok(fleet) => Some(Arc::new(fleet)),
            Err(error) => {
                let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
                assert!(!ci, "{}: {error:#}", form.name());
                eprintln!("SKIPPED: {}: {error:#}", form.name());
                None
            }
        }
    }

    /// A uid of no other agent.
    pub(crate) fn uid(&self) -> InstanceUid {
        let mut bytes = [0xab; 16];
        bytes[8..].copy_from_slice(&self.next_uid.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        InstanceUid::from_bytes(bytes)
    }

    /// How many gateways there are.
    pub(crate) fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// A WebSocket to the next gateway.
    pub(crate) async fn connect(&self) -> WebSocket {
        WebSocket::connect(&self.endpoint(false), &[]).await.unwrap()
    }

    /// A client that polls the next gateway.
    pub(crate) fn poller(&self) -> Poller {
        Poller::new(self.endpoint(true))
    }

    /// One poll of the next gateway. Like a client, it comes again if the server is busy.
    pub(crate) async fn poll(&self, message: &AgentToServer) -> ServerToAgent {
        let answer = self.post(&[("accept-encoding", "gzip")], message.encode_to_vec()).await;
        assert_eq!(answer.status, StatusCode::OK);
        ServerToAgent::decode(answer.body).unwrap()
    }

    /// Posts a body to the next gateway as an OpAMP message, with more headers. Comes again if
    /// the server is busy: machines that run tests are.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let posting = async {
            loop {
                let answer = self.post_once(headers, body.clone()).await;
                if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, posting).await.expect("a server that is not busy for ever")
    }

    /// The same, once.
    pub(crate) async fn post_once(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let all = [&[("content-type", "application/x-protobuf")], headers].concat();
        self.poller().post(&all, body.into()).await.unwrap()
    }

    /// Where the next gateway is.
    pub(crate) fn endpoint(&self, polls: bool) -> Endpoint {
        let turn = self.next_gateway.fetch_add(1, Ordering::Relaxed);
        let url = &self.gateways[turn % self.gateways.len()];
        Endpoint { polls, ..Endpoint::parse(url).unwrap() }
    }

    /// Polls a throw-away agent until the fleet answers it.
    async fn until_ready(&self) {
        let ready = async {
            for _ in &self.gateways {
                let uid = self.uid().as_bytes().to_vec();
                let message = AgentToServer { instance_uid: uid, ..Default::default() };
                let body = message.encode_to_vec();
                // Who is sent away was heard.
                let heard = [StatusCode::OK, StatusCode::UNAUTHORIZED];
                while !heard.contains(&self.post_once(&[], body.clone()).await.status) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            let list = ListAgentsRequest::default();
            while AgentsClient::new(self.channel.clone()).list_agents(list.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 2, ready).await.expect("the fleet answers");
    }
}
