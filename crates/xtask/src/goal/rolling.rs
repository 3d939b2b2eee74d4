//! R5, F5: every gateway is replaced by a new one while agents are connected and decisions are
//! made.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use services::{Cluster, Muster, Size};

use super::herd::{self, full_state_requests, operator, seconds_until, seen_connected};
use super::{Figure, runtime};

const HEARTBEAT: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let agents = if smoke { 300 } else { 15_000 };
    runtime()?.block_on(roll(agents, smoke))
}

/// New gateways first, so that whoever is sent away finds one that stays; then the old ones end,
/// one after the other, as they would under a load balancer that no longer sends anybody to them.
async fn roll(agents: usize, smoke: bool) -> anyhow::Result<Figure> {
    let mut cluster = Cluster::start(Size { gateways: 3, ..Size::default() }, &[])?;
    let old: Vec<String> = cluster.gateways.iter().map(herd::url).collect::<Result<_, _>>()?;
    let fleet = herd::gather(agents, &old, HEARTBEAT).await?;
    let arguments = cluster.gateways[0].arguments().to_vec();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let new = (0..3).map(|_| Muster::serve(&arguments)).collect::<anyhow::Result<Vec<_>>>()?;
    let urls: Vec<String> = new.iter().map(herd::url).collect::<Result<_, _>>()?;
    for (number, agent) in fleet.iter().enumerate() {
        let mut to = urls.clone();
        // Evenly from each old gateway to each new one, as a load balancer would.
        to.rotate_left(number / 3 % 3);
        agent.fall_back_to(&to)?;
    }
    let asked = full_state_requests(&fleet);
    let server = cluster.controls[0].control.clone().context("no control")?;
    let mut old: Vec<Muster> = cluster.gateways.drain(..).collect();
    let mut longest = Duration::ZERO;
    for (number, gateway) in old.iter_mut().enumerate() {
        // A decision while they move: it must reach everybody all the same.
        decide(&server, number)?;
        let start = Instant::now();
        let status = gateway.terminate()?;
        ensure!(status.success(), "a gateway ended with {status}");
        longest = longest.max(start.elapsed());
    }
    drop(old);
    let back = seconds_until(&fleet, agents, LIMIT, |agent| agent.ledger.connections > 1).await;
    ensure!(back.is_some(), "not all came back");
    let deadline = Instant::now() + LIMIT;
    while seen_connected(&cluster)? < agents as u64 || applied(&server)? < agents {
        ensure!(Instant::now() < deadline, "not all are connected and have the last decision");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let most = fleet.iter().map(|agent| agent.see(|agent| agent.ledger.connections)).max();
    let most = most.unwrap_or(0) - 1;
    let mut gaps: Vec<u64> =
        fleet.iter().map(|agent| agent.see(|agent| agent.ledger.away_ms_max)).collect();
    gaps.sort_unstable();
    let p99 = gaps[(gaps.len() * 99).div_ceil(100) - 1];
    let asked = full_state_requests(&fleet) - asked;
    let pass = most <= 1 && asked * 1_000 <= agents as u64 && (smoke || p99 <= 2_000);
    let text = format!(
        "{agents} agents over 3 gateways replaced: each reconnected {most} times at most, away for \
         {p99} ms at p99, {asked} full-state requests, slowest end of a gateway {longest:.1?}"
    );
    let values = json!({
        "agents": agents,
        "reconnects_max": most,
        "away_ms_p99": p99,
        "full_state_requests": asked,
        "drain_seconds_max": longest.as_secs_f64(),
    });
    Ok(Figure { pass, text, values })
}

fn decide(server: &str, number: usize) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("receivers: {{ otlp: {number} }}"))?;
    let path = file.path().to_str().context("no text")?;
    operator(server, &["config", "apply", "rolling", "-f", path])?;
    let set = ["assign", "set", "all", "-l", "", "--config", "rolling", "--yes"];
    operator(server, &set).map(drop)
}

/// Agents that have the config they are to have.
fn applied(server: &str) -> anyhow::Result<usize> {
    let said = operator(server, &["status", "-o", "json"])?;
    let status: serde_json::Value = serde_json::from_str(&said)?;
    let agents = &status["agents"];
    let count = |name: &str| agents[name].as_u64().context("agents are not counted");
    let waiting = count("config_pending")? + count("config_failed")?;
    Ok(usize::try_from(count("total")?.saturating_sub(waiting))?)
}
