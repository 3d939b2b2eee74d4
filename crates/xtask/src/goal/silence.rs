//! P8: what it costs that nothing happens. Counted by the server itself, in both its forms.

use std::path::Path;
use std::time::{Duration, Instant};

use agent::swarm::Swarm;
use anyhow::{Context as _, ensure};
use serde_json::json;
use services::Muster;

use super::Figure;

/// How long agents may take to be answered, and to settle.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after the last report whatever it set in motion may go on.
const SETTLE: Duration = Duration::from_secs(3);

/// Counters of one process.
#[derive(Debug, Clone, Copy)]
struct Counters {
    heartbeats: f64,
    records_written: f64,
    presence_commands: f64,
    reports: f64,
    bus_messages: f64,
}

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (agents, seconds) = if smoke { (300, 5) } else { (5_000, 60) };
    runtime.block_on(silence(agents, seconds))
}

async fn silence(agents: usize, seconds: u64) -> anyhow::Result<Figure> {
    let data = tempfile::tempdir()?;
    let data = data.path().to_str().context("temporary directory is no text")?;
    let muster = Muster::serve(&["--data-dir", data])?;
    let url = muster.opamp.clone().context("no gateway")?;
    let swarm = Swarm {
        components: false,
        agents,
        first: 0,
        urls: vec![url],
        heartbeat: Duration::from_secs(1),
        connects_per_second: 500,
        custom_capabilities: Vec::new(),
        keeps_entries: false,
        trust: Default::default(),
    };
    let swarm = swarm.start()?;
    for agent in &swarm {
        ensure!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await, "no answer");
    }
    tokio::time::sleep(SETTLE).await;
    let (before, start) = (counters(&muster)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (after, elapsed) = (counters(&muster)?, start.elapsed().as_secs_f64());
    drop(swarm);

    let heartbeats = after.heartbeats - before.heartbeats;
    let written = after.records_written - before.records_written;
    let reports = after.reports - before.reports;
    let commands = (after.presence_commands - before.presence_commands) / elapsed;
    let messages = (after.bus_messages - before.bus_messages) / elapsed;
    let expected = 0.8 * f64::from(u32::try_from(agents)?) * elapsed;
    // One presence command a second, and the tick that falls on the edge.
    let silent = written == 0.0 && reports == 0.0;
    let pass = silent && commands <= 1.25 && messages <= 2.0 && heartbeats >= expected;
    Ok(Figure {
        pass,
        text: format!(
            "{heartbeats} heartbeats of {agents} agents in {elapsed:.1} s: {written} record \
             writes, {reports} reports; a second: {commands:.2} presence commands, \
             {messages:.2} bus messages"
        ),
        values: json!({
            "heartbeats": heartbeats,
            "records_written": written,
            "reports": reports,
            "presence_commands_per_second": commands,
            "bus_messages_per_second": messages,
        }),
    })
}

fn counters(muster: &Muster) -> anyhow::Result<Counters> {
    let metrics = muster.metrics()?;
    let counted = metrics.text().contains("muster_store_commands_total");
    ensure!(counted, "the store's counters are missing");
    let sum = |name: &str, label: &str| metrics.sum_where(name, label);
    Ok(Counters {
        heartbeats: sum("muster_gateway_heartbeats_total", ""),
        records_written: sum("muster_store_records_written_total", "agents"),
        presence_commands: sum("muster_store_commands_total", "put_presence"),
        reports: sum("muster_fleet_reports_total", ""),
        bus_messages: sum("muster_bus_messages_total", ""),
    })
}
