//! A running fleet, and how a case reaches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agent::link::{Answer, Endpoint, Poller, WebSocket};
use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use opamp::InstanceUid;
use opamp::v1::{AgentConfigFile, AgentToServer, ServerToAgent};
use prost::Message as _;
use services::{Muster, Server};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::messages::{full, offered};

/// How long anything that should be prompt may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// New agents that must be offered a config, one after the other, until it counts as known to
/// every worker: each is answered by any one of them.
const KNOWN_IN_A_ROW: usize = 8;

/// A fleet for cases to share.
#[derive(Debug)]
pub(crate) struct Fleet {
    gateways: Vec<String>,
    channel: Channel,
    next_gateway: AtomicUsize,
    next_uid: AtomicU64,
    // In the order in which they are to end.
    _muster: Vec<Muster>,
    _services: Vec<Server>,
    _data: TempDir,
}

impl Fleet {
    /// Starts a fleet of a shape; nothing where its services are missing, which CI does not pass.
    pub(crate) async fn start(shape: &str) -> Option<Arc<Self>> {
        let data = tempfile::tempdir().unwrap();
        let started = match shape {
            "embedded" => embedded(&data),
            _ => cluster(),
        };
        let (muster, services) = match started {
            Ok(started) => started,
            Err(error) => {
                let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
                assert!(!ci, "{shape}: {error:#}");
                eprintln!("SKIPPED: {shape}: {error:#}");
                return None;
            }
        };
        let gateways = muster.iter().filter_map(|process| process.opamp.clone()).collect();
        let control = muster.iter().find_map(|process| process.control.clone()).unwrap();
        let channel = Channel::from_shared(control).unwrap().connect().await.unwrap();
        let fleet = Self {
            gateways,
            channel,
            next_gateway: AtomicUsize::default(),
            next_uid: AtomicU64::new(1),
            _muster: muster,
            _services: services,
            _data: data,
        };
        fleet.until_ready().await;
        Some(Arc::new(fleet))
    }

    /// A uid of no other agent.
    pub(crate) fn uid(&self) -> InstanceUid {
        let mut bytes = [0xab; 16];
        bytes[8..].copy_from_slice(&self.next_uid.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        InstanceUid::from_bytes(bytes)
    }

    /// A WebSocket to the next gateway.
    pub(crate) async fn connect(&self) -> WebSocket {
        WebSocket::connect(&self.endpoint(false), &[]).await.unwrap()
    }

    /// A client that polls the next gateway.
    pub(crate) fn poller(&self) -> Poller {
        Poller::new(self.endpoint(true))
    }

    /// One poll of the next gateway.
    pub(crate) async fn poll(&self, message: &AgentToServer) -> ServerToAgent {
        self.poller().exchange(message).await.unwrap()
    }

    /// Posts a body to the next gateway as an OpAMP message, with more headers.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let all = [&[("content-type", "application/x-protobuf")], headers].concat();
        self.poller().post(&all, body.into()).await.unwrap()
    }

    /// Where the next gateway is.
    pub(crate) fn endpoint(&self, polls: bool) -> Endpoint {
        let turn = self.next_gateway.fetch_add(1, Ordering::Relaxed);
        let url = &self.gateways[turn % self.gateways.len()];
        Endpoint { polls, ..Endpoint::parse(url).unwrap() }
    }

    /// What operators see of an agent.
    pub(crate) async fn agent(&self, uid: InstanceUid) -> Option<Agent> {
        let name = format!("agents/{uid}");
        let got = AgentsClient::new(self.channel.clone()).get_agent(GetAgentRequest { name }).await;
        got.ok().map(tonic::Response::into_inner)
    }

    /// Waits until operators see an agent as it should be.
    pub(crate) async fn until(&self, uid: InstanceUid, holds: impl Fn(&Agent) -> bool) -> Agent {
        let mut last = None;
        let waiting = async {
            loop {
                last = self.agent(uid).await;
                if let Some(agent) = last.as_ref().filter(|agent| holds(agent)) {
                    return agent.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(agent) => agent,
            Err(_) => panic!("waited in vain; the agent is {last:#?}"),
        }
    }

    /// Stores a config with one file and returns its hash.
    pub(crate) async fn apply(&self, name: &str, body: &[u8]) -> Vec<u8> {
        let file = AgentConfigFile { body: body.to_vec().into(), ..Default::default() };
        self.apply_files(name, vec![(String::new(), file)]).await
    }

    /// Stores a config and returns its hash.
    pub(crate) async fn apply_files(
        &self,
        name: &str,
        files: Vec<(String, AgentConfigFile)>,
    ) -> Vec<u8> {
        let name = format!("configs/{name}");
        let request =
            ApplyConfigRequest { name, files: files.into_iter().collect(), allow_empty: false };
        let mut configs = ConfigsClient::new(self.channel.clone());
        configs.apply_config(request).await.unwrap().into_inner().hash
    }

    /// Assigns a config's newest revision to the agents of a case.
    pub(crate) async fn assign(&self, case: &str, config: &str) {
        let assignment = Assignment {
            name: format!("assignments/{case}"),
            selector: format!("case={case}"),
            config_revision: format!("configs/{config}"),
            ..Default::default()
        };
        let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
        AssignmentsClient::new(self.channel.clone()).set_assignment(request).await.unwrap();
    }

    /// Stores a config, assigns it to the agents of a case, and returns its hash once every
    /// worker knows: a decision reaches them a moment after it is made.
    pub(crate) async fn give(&self, case: &str, body: &[u8]) -> Vec<u8> {
        let hash = self.apply(case, body).await;
        self.assign(case, case).await;
        let known = async {
            let mut in_a_row = 0;
            while in_a_row < KNOWN_IN_A_ROW {
                let reply = self.poll(&full(self.uid(), 0, case)).await;
                in_a_row = if offered(&reply) == Some(&hash[..]) { in_a_row + 1 } else { 0 };
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the decision is known");
        hash
    }

    /// Polls a throw-away agent until the fleet answers it.
    async fn until_ready(&self) {
        let ready = async {
            for _ in &self.gateways {
                let uid = self.uid().as_bytes().to_vec();
                let message = AgentToServer { instance_uid: uid, ..Default::default() };
                let body = message.encode_to_vec();
                while self.post(&[], body.clone()).await.status != http::StatusCode::OK {
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

type Started = anyhow::Result<(Vec<Muster>, Vec<Server>)>;

fn embedded(data: &TempDir) -> Started {
    let dir = data.path().to_str().unwrap();
    Ok((vec![Muster::serve(&["--data-dir", dir])?], Vec::new()))
}

fn cluster() -> Started {
    let services = vec![Server::nats()?, Server::redis()?, Server::redis()?];
    let urls: Vec<String> = services.iter().map(Server::url).collect();
    let serve = |role: &str| {
        let role = ["--role", role, "--bus", &urls[0], "--store", &urls[1], "--ledger", &urls[2]];
        Muster::serve(&role)
    };
    let roles = ["fleet-state", "fleet-state", "control", "gateway", "gateway"];
    let muster: anyhow::Result<Vec<Muster>> = roles.into_iter().map(serve).collect();
    Ok((muster?, services))
}
