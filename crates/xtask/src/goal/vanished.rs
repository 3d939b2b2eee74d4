//! R8: connections whose peers are gone without a word, because the way to them swallows
//! everything.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use agent::link::Endpoint;
use anyhow::{Context as _, ensure};
use proxy::{Direction, Proxy, Toxics};
use serde_json::json;
use services::Muster;
use tokio::task::JoinSet;

use super::Figure;
use super::peer::{Peer, endpoint, open_files, operator};

/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(200);
/// Connected at once, so that nobody waits for the connection behind a crowd.
const TOGETHER: usize = 50;
/// Files that come and go by themselves: whoever asks for metrics and status.
const FILES_SLACK: usize = 4;

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (agents, heartbeat) = if smoke { (300, 2) } else { (5_000, 10) };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(vanish(agents, Duration::from_secs(heartbeat)))
}

async fn vanish(agents: usize, heartbeat: Duration) -> anyhow::Result<Figure> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let ping_after = format!("{}s", heartbeat.as_secs());
    let data = ["--data-dir", data.to_str().context("no text")?];
    let muster = Muster::serve(&[&data[..], &["--opamp-ping-after", &ping_after]].concat())?;
    let mut endpoint = endpoint(&muster)?;
    let proxy = Proxy::start(endpoint.authority.parse::<SocketAddr>()?).await?;
    endpoint.authority = proxy.address().to_string();
    connected(&muster)?;
    let files = open_files(&muster)?;
    let mut peers = JoinSet::new();
    connect(&endpoint, agents, &mut peers).await?;
    let held = open_files(&muster)?;
    ensure!(held >= files + agents, "{held} files for {agents} connections");
    ensure!(connected(&muster)? == agents as u64, "not all are connected");

    let blackhole = Toxics { blackhole: true, ..Toxics::default() };
    let start = Instant::now();
    Direction::BOTH.into_iter().for_each(|direction| proxy.set(direction, blackhole));
    let bar = heartbeat.mul_f64(2.5);
    let (mut offline, mut freed) = (None, None);
    while start.elapsed() < bar * 2 && (offline.is_none() || freed.is_none()) {
        if offline.is_none() && connected(&muster)? == 0 {
            offline = Some(start.elapsed());
        }
        if freed.is_none() && open_files(&muster)? <= files + FILES_SLACK {
            freed = Some(start.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    let left = open_files(&muster)?.saturating_sub(files);
    let in_time = |at: Option<Duration>| at.is_some_and(|at| at <= bar);
    let said = |at: Option<Duration>| {
        at.map_or("never".to_owned(), |at| format!("{:.1} s", at.as_secs_f64()))
    };
    Ok(Figure {
        pass: in_time(offline) && in_time(freed),
        text: format!(
            "{agents} connections fell silent at once, heartbeats of {heartbeat:?}: all offline \
             after {}, files back after {} (bar {:.1} s), {left} more open than before",
            said(offline),
            said(freed),
            bar.as_secs_f64(),
        ),
        values: json!({
            "agents": agents,
            "heartbeat_s": heartbeat.as_secs(),
            "offline_s": offline.map(|at| at.as_secs_f64()),
            "files_back_s": freed.map(|at| at.as_secs_f64()),
            "files_before": files,
            "files_held": held,
            "files_left": left,
        }),
    })
}

/// Connects agents that live, as far as they can tell, until the end.
async fn connect(
    endpoint: &Endpoint,
    agents: usize,
    peers: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    for first in (0..agents).step_by(TOGETHER) {
        let numbers = first..agents.min(first + TOGETHER);
        let mut together = JoinSet::new();
        for number in numbers {
            let endpoint = endpoint.clone();
            together.spawn(async move { Peer::connect(&endpoint, number).await });
        }
        while let Some(peer) = together.join_next().await {
            let mut peer = peer??;
            // It answers pings, if one comes through.
            peers.spawn(async move { while peer.listen().await.is_ok() {} });
        }
    }
    Ok(())
}

/// Agents that operators see connected.
fn connected(muster: &Muster) -> anyhow::Result<u64> {
    let status: serde_json::Value =
        serde_json::from_str(&operator(muster, &["status", "-o", "json"])?)?;
    status["agents"]["connected"].as_u64().context("no count")
}
