//! What a cluster of real processes survives.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod brake;
mod commands;
mod ledger;
mod lost;
mod nodes;
mod trace;
mod watch;
mod words;

use std::time::Duration;

use agent::{Handle, swarm::Swarm};
use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use opamp::v1::{AgentConfigFile, RemoteConfigStatuses};
use services::{Muster, Size};
use tonic::Status;
use tonic::transport::Channel;

/// How long a fleet may take to be right again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Agents in each test.
const AGENTS: usize = 40;

struct Cluster {
    channel: Channel,
    real: services::Cluster,
}

impl Cluster {
    /// Two gateways, two workers, a control; nothing where NATS or Redis are missing, which CI
    /// does not let pass.
    async fn start() -> Option<Self> {
        Self::of(Size::default()).await
    }

    async fn of(size: Size) -> Option<Self> {
        let real = match services::Cluster::start(size, &[]) {
            Ok(real) => real,
            Err(error) => {
                let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
                assert!(!ci, "{error:#}");
                eprintln!("SKIPPED: {error:#}");
                return None;
            }
        };
        let url = real.controls[0].control.clone().unwrap();
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Some(Self { channel, real })
    }

    fn url(&self, gateway: usize) -> String {
        self.real.gateways[gateway].opamp.clone().unwrap()
    }

    /// Agents that connect to these gateways in turn, each with an answer.
    async fn agents(&self, gateways: &[usize]) -> Vec<Handle> {
        self.swarm(AGENTS, gateways, Duration::from_millis(500)).await
    }

    async fn swarm(&self, agents: usize, gateways: &[usize], heartbeat: Duration) -> Vec<Handle> {
        let swarm = Swarm {
            components: false,
            agents,
            first: 0,
            urls: gateways.iter().map(|gateway| self.url(*gateway)).collect(),
            heartbeat,
            connects_per_second: 0,
            custom_capabilities: vec![agent::core::ECHO.to_owned()],
            keeps_entries: true,
            trust: Default::default(),
        };
        let agents = swarm.start().unwrap();
        for agent in &agents {
            assert!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await);
        }
        agents
    }

    async fn list(&self) -> Vec<Agent> {
        list(&self.channel).await
    }
}

async fn list(channel: &Channel) -> Vec<Agent> {
    match try_list(channel).await {
        Ok(agents) => agents,
        Err(status) => panic!("{status}"),
    }
}

/// The same, or why it is refused.
async fn try_list(channel: &Channel) -> Result<Vec<Agent>, Status> {
    let request = ListAgentsRequest { page_size: 1000, ..Default::default() };
    Ok(AgentsClient::new(channel.clone()).list_agents(request).await?.into_inner().agents)
}

/// Applies a config with this body and assigns it to everybody.
async fn give(channel: &Channel, body: &str) -> Vec<u8> {
    try_give(channel, body).await.unwrap()
}

/// The same, or why it is refused.
async fn try_give(channel: &Channel, body: &str) -> Result<Vec<u8>, Status> {
    let file = AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
    let files = [(String::new(), file)].into();
    let request = ApplyConfigRequest { name: "configs/c".to_owned(), files, allow_empty: false };
    let applied = ConfigsClient::new(channel.clone()).apply_config(request).await?;
    let assignment = Assignment {
        name: "assignments/everyone".to_owned(),
        config_revision: "configs/c".to_owned(),
        ..Default::default()
    };
    let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
    AssignmentsClient::new(channel.clone()).set_assignment(request).await?;
    Ok(applied.into_inner().hash)
}

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

async fn until_within(patience: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(patience, waiting).await.is_ok(), "waited in vain: {what}");
}

fn connected(agents: &[Agent]) -> usize {
    agents.iter().filter(|agent| agent.status() == ConnectionStatus::Connected).count()
}

fn applied(agents: &[Agent], hash: &[u8]) -> usize {
    let is = |agent: &&Agent| {
        let config = agent.config.as_ref().unwrap();
        config.status() == ConfigStatus::Applied && config.reported_hash == hash
    };
    agents.iter().filter(is).count()
}

fn full_state_requests(agents: &[Handle]) -> u64 {
    agents.iter().map(|agent| agent.see(|agent| agent.ledger.full_state_requests)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_reaches_every_agent_on_every_gateway() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    until("all are listed", async || connected(&cluster.list().await) == AGENTS).await;
    let hash = give(&cluster.channel, "receivers: {}").await;
    for agent in &agents {
        let runs = |agent: &agent::Agent| {
            let status = agent.config_status();
            status.last_remote_config_hash == hash
                && status.status() == RemoteConfigStatuses::Applied
        };
        assert!(agent.until(PATIENCE, runs).await);
    }
    until("all are seen to run it", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    let repeated: u64 =
        agents.iter().map(|agent| agent.see(|agent| agent.ledger.repeated_offers)).sum();
    assert_eq!(repeated, 0, "each is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_takes_nothing_with_it() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0]).await;
    let hash = give(&cluster.channel, "receivers: {}").await;
    until("all run it", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    let before = cluster.list().await;

    cluster.real.gateways[0].kill().unwrap();
    let other = cluster.url(1);
    for agent in &agents {
        agent.redirect(&other).await.unwrap();
    }
    let name = |agent: &Agent| agent.gateway_id.clone();
    let dead = name(&before[0]);
    until("all are back elsewhere", async || {
        let now = cluster.list().await;
        connected(&now) == AGENTS && now.iter().all(|agent| name(agent) != dead)
    })
    .await;
    let after = cluster.list().await;
    assert_eq!(applied(&after, &hash), AGENTS, "nothing is forgotten");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.identifying_attributes, after.identifying_attributes);
        assert_eq!(before.first_seen_time, after.first_seen_time);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_close_costs_no_full_state() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0]).await;
    until("all are listed", async || connected(&cluster.list().await) == AGENTS).await;
    let other = cluster.url(1);
    // Half move by themselves, half are sent away by a gateway that stops.
    for agent in &agents[..AGENTS / 2] {
        agent.redirect(&other).await.unwrap();
    }
    let back = |agent: &agent::Agent| agent.ledger.connections >= 2;
    for agent in &agents[..AGENTS / 2] {
        assert!(agent.until(PATIENCE, back).await);
    }
    let stopping = cluster.real.gateways.remove(0);
    let stopped = tokio::task::spawn_blocking(move || {
        let mut stopping = stopping;
        stopping.terminate().unwrap()
    });
    for agent in &agents[AGENTS / 2..] {
        agent.redirect(&other).await.unwrap();
    }
    assert!(stopped.await.unwrap().success());
    until("all are back", async || connected(&cluster.list().await) == AGENTS).await;
    for agent in &agents {
        let heard = agent.see(|agent| agent.ledger.received);
        assert!(agent.until(PATIENCE, |agent| agent.ledger.received > heard + 1).await);
    }
    assert_eq!(full_state_requests(&agents), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_killed_and_started_again_has_everything() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--data-dir", data.path().to_str().unwrap()];
    let mut muster = Muster::serve(&arguments).unwrap();
    let connect = async |muster: &Muster| {
        let url = muster.control.clone().unwrap();
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    };
    let channel = connect(&muster).await;
    let swarm = Swarm {
        components: false,
        agents: AGENTS,
        first: 0,
        urls: vec![muster.opamp.clone().unwrap()],
        heartbeat: Duration::from_millis(500),
        connects_per_second: 0,
        custom_capabilities: vec![agent::core::ECHO.to_owned()],
        keeps_entries: false,
        trust: Default::default(),
    };
    let agents = swarm.start().unwrap();
    for agent in &agents {
        assert!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await);
    }
    let hash = give(&channel, "receivers: {}").await;
    until("all run it", async || applied(&list(&channel).await, &hash) == AGENTS).await;
    muster.kill().unwrap();
    drop(agents);

    let muster = Muster::serve(&arguments).unwrap();
    let channel = connect(&muster).await;
    let mut agents = AgentsClient::new(channel.clone());
    until("the view is there", async || {
        agents.list_agents(ListAgentsRequest::default()).await.is_ok()
    })
    .await;
    assert_eq!(applied(&list(&channel).await, &hash), AGENTS);
    let mut assignments = AssignmentsClient::new(channel);
    let all = assignments.list_assignments(ListAssignmentsRequest {}).await.unwrap().into_inner();
    assert_eq!(all.assignments[0].config_revision, "configs/c/revisions/1");
}
