//! R9: every record is lost at once, and agents report again at a pace; what was decided is
//! elsewhere and stays.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use services::{Answer, Cluster, Server, Size};

use super::herd::{self, full_state_requests, operator, seen_connected};
use super::{Figure, runtime};

const HEARTBEAT: Duration = Duration::from_secs(10);
/// Until every record is there again.
const BAR: Duration = Duration::from_secs(120);
const SHARDS: u8 = 64;

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    runtime()?.block_on(wipe(if smoke { 500 } else { 15_000 }))
}

async fn wipe(agents: usize) -> anyhow::Result<Figure> {
    let mut cluster = Cluster::start(Size { gateways: 3, ..Size::default() }, &[])?;
    let urls: Vec<String> = cluster.gateways.iter().map(herd::url).collect::<Result<_, _>>()?;
    let fleet = herd::gather(agents, &urls, HEARTBEAT).await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "receivers: {}")?;
    let server = cluster.controls[0].control.clone().context("no control")?;
    operator(&server, &["config", "apply", "c", "-f", file.path().to_str().context("no text")?])?;
    let in_flight = agents.to_string();
    let set = ["assign", "set", "all", "-l", "", "--config", "c", "--yes"];
    operator(&server, &[&set[..], &["--max-in-flight", &in_flight]].concat())?;
    wait("every agent has the config", || {
        Ok(fleet.iter().all(|agent| agent.see(|agent| agent.ledger.offers > 0)))
    })?;
    wait("every record is written", || Ok(records(&cluster.records)? == agents))?;
    let decided = |server: &str| -> anyhow::Result<String> {
        Ok(operator(server, &["config", "get", "c@1"])?
            + &operator(server, &["assign", "list", "-o", "name"])?)
    };
    let (before, asked) = (decided(&server)?, full_state_requests(&fleet));

    let wiped = Instant::now();
    cluster.records.command(&["FLUSHALL"])?;
    let mut seconds = None;
    while seconds.is_none() && wiped.elapsed() < 2 * BAR {
        if records(&cluster.records)? >= agents {
            seconds = Some(wiped.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A control that knows nothing reads what is there.
    cluster.controls[0].restart()?;
    let server = cluster.controls[0].control.clone().context("no control")?;
    let seen = wait("all are seen connected", || {
        Ok(seen_connected(&cluster).is_ok_and(|seen| seen >= agents as u64))
    });
    let kept = decided(&server)? == before;
    let asked = full_state_requests(&fleet) - asked;
    let cut = fleet.iter().filter(|agent| agent.see(|agent| agent.ledger.connections > 1)).count();
    let in_time = seconds.is_some_and(|seconds| seconds <= BAR.as_secs_f64());
    let took = seconds.map_or("never".to_owned(), |seconds| format!("within {seconds:.1} s"));
    let text = format!(
        "{agents} agents: all records rebuilt {took}, {asked} full-state requests, {cut} cut off, \
         decisions {}",
        if kept { "untouched" } else { "lost" }
    );
    let values = json!({
        "agents": agents,
        "seconds": seconds,
        "full_state_requests": asked,
        "cut_off": cut,
        "decisions_kept": kept,
    });
    Ok(Figure { pass: in_time && kept && cut == 0 && seen.is_ok(), text, values })
}

/// Records there are.
fn records(redis: &Server) -> anyhow::Result<usize> {
    let mut sum = 0;
    for shard in 0..SHARDS {
        match redis.command(&["HLEN", &format!("{{muster:{shard:02}}}:v1:agents")])? {
            Answer::Number(count) => sum += usize::try_from(count)?,
            other => anyhow::bail!("no number: {other:?}"),
        }
    }
    Ok(sum)
}

pub(super) fn wait(what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + BAR;
    while !holds()? {
        ensure!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
