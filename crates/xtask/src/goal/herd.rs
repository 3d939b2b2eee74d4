//! What goals share that move many agents between gateways.

use std::process::Command;
use std::time::{Duration, Instant};

use agent::Handle;
use agent::swarm::Swarm;
use anyhow::{Context as _, ensure};
use services::{Cluster, Muster, binary};

/// How long agents may take to be answered for the first time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Agents at these gateways in turn.
pub(super) async fn gather(
    agents: usize,
    urls: &[String],
    heartbeat: Duration,
) -> anyhow::Result<Vec<Handle>> {
    let swarm = Swarm {
        components: false,
        agents,
        first: 0,
        urls: urls.to_vec(),
        heartbeat,
        connects_per_second: 2_000,
        custom_capabilities: Vec::new(),
        keeps_entries: false,
        trust: Default::default(),
    };
    let herd = swarm.start()?;
    for agent in &herd {
        ensure!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await, "no answer");
    }
    Ok(herd)
}

/// Where a gateway takes agents.
pub(super) fn url(gateway: &Muster) -> anyhow::Result<String> {
    gateway.opamp.clone().context("no gateway")
}

/// Seconds until so many agents satisfy something, or nothing if that takes too long.
pub(super) async fn seconds_until(
    herd: &[Handle],
    count: usize,
    limit: Duration,
    holds: impl Fn(&agent::Agent) -> bool,
) -> Option<f64> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if herd.iter().filter(|agent| agent.see(&holds)).count() >= count {
            return Some(start.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// Requests for full state that the agents have seen.
pub(super) fn full_state_requests(herd: &[Handle]) -> u64 {
    herd.iter().map(|agent| agent.see(|agent| agent.ledger.full_state_requests)).sum()
}

/// How many agents an operator sees connected.
pub(super) fn seen_connected(cluster: &Cluster) -> anyhow::Result<u64> {
    let server = cluster.controls[0].control.clone().context("no control")?;
    let said = operator(&server, &["status", "-o", "json"])?;
    let status: serde_json::Value = serde_json::from_str(&said)?;
    status["agents"]["connected"].as_u64().context("agents are not counted")
}

/// Types a command, and returns what it prints.
pub(super) fn operator(server: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary("muster")?).args(words).args(["--server", server]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "muster {}: {said}", words.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
