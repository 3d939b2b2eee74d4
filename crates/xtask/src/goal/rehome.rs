//! R4, F6: a gateway is killed, and its agents come back to the others.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use services::{Cluster, Size};

use super::herd::{self, full_state_requests, seconds_until, seen_connected};
use super::{Figure, runtime};

/// How often agents speak when there is nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long all of it may take before it counts as never.
const LIMIT: Duration = Duration::from_secs(120);

/// What became of a fleet whose gateway died.
struct Return {
    agents: usize,
    /// Seconds until 99 %, and all, had an answer elsewhere.
    most: Option<f64>,
    all: Option<f64>,
    /// Seconds until operators saw all of them connected.
    seen: Option<f64>,
    asked: u64,
    restless: usize,
}

/// R4: all agents are at the gateway that is killed.
pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let agents = if smoke { 500 } else { 15_000 };
    let found = runtime()?.block_on(kill(agents, &[0]))?;
    let within = |seconds: Option<f64>, bar: f64| seconds.is_some_and(|seconds| seconds <= bar);
    let in_time = within(found.most, 10.0) && within(found.all, 45.0) && within(found.seen, 45.0);
    Ok(found.figure(found.restless == 0 && (smoke && found.seen.is_some() || in_time)))
}

/// F6: every gateway has a third; those at the others notice nothing.
pub(super) fn storm(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let agents = if smoke { 600 } else { 15_000 };
    let found = runtime()?.block_on(kill(agents, &[0, 1, 2]))?;
    Ok(found.figure(found.restless == 0 && found.seen.is_some()))
}

impl Return {
    fn figure(&self, pass: bool) -> Figure {
        let Self { agents, asked, restless, .. } = *self;
        let text = |seconds: Option<f64>| {
            seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s"))
        };
        let [most, all, seen] = [self.most, self.all, self.seen].map(text);
        let text = format!(
            "{agents} agents: 99 % of those hit back in {most}, all in {all}, all seen connected \
             in {seen}; {asked} full-state requests, {restless} others disconnected"
        );
        let values = json!({
            "agents": agents,
            "seconds_99": self.most,
            "seconds_all": self.all,
            "seconds_seen": self.seen,
            "full_state_requests": asked,
            "others_disconnected": restless,
        });
        Figure { pass, text, values }
    }
}

async fn kill(agents: usize, homes: &[usize]) -> anyhow::Result<Return> {
    let mut cluster = Cluster::start(Size { gateways: 3, ..Size::default() }, &[])?;
    let urls: Vec<String> = cluster.gateways.iter().map(herd::url).collect::<Result<_, _>>()?;
    let at: Vec<String> = homes.iter().map(|home| urls[*home].clone()).collect();
    let fleet = herd::gather(agents, &at, HEARTBEAT).await?;
    for (number, agent) in fleet.iter().enumerate() {
        let mut others = urls[1..].to_vec();
        others.rotate_left(number / homes.len() % 2);
        agent.fall_back_to(&others)?;
    }
    let deadline = Instant::now() + LIMIT;
    while seen_connected(&cluster)? < agents as u64 {
        ensure!(Instant::now() < deadline, "not all were connected to begin with");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let asked = full_state_requests(&fleet);
    let connections = |agent: &agent::Agent| agent.ledger.connections;
    let (mut hit, mut others) = (Vec::new(), Vec::new());
    for (number, agent) in fleet.into_iter().enumerate() {
        if homes[number % homes.len()] == 0 { &mut hit } else { &mut others }.push(agent);
    }
    let killed = Instant::now();
    cluster.gateways[0].kill()?;
    let back = |agent: &agent::Agent| connections(agent) > 1 && agent.ledger.away_ms_max > 0;
    let most = seconds_until(&hit, hit.len().div_ceil(100) * 99, LIMIT, back).await;
    let all = seconds_until(&hit, hit.len(), LIMIT, back).await;
    let all = most.zip(all).map(|(most, rest)| most + rest);
    let mut seen = None;
    while seen.is_none() && killed.elapsed() < LIMIT {
        if seen_connected(&cluster)? >= agents as u64 {
            seen = Some(killed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let restless = others.iter().filter(|agent| agent.see(connections) > 1).count();
    let asked = full_state_requests(&hit) + full_state_requests(&others) - asked;
    Ok(Return { agents, most, all, seen, asked, restless })
}
