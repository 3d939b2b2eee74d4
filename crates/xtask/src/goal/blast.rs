//! S9: how many agents a config reaches that kills every agent that tries to run it, with nothing
//! asked of the operator but a yes.

use std::path::Path;
use std::time::Duration;

use agent::{Handle, swarm};
use anyhow::{Context as _, ensure};
use serde_json::json;
use services::Muster;

use super::Figure;
use super::herd::operator;

/// How long agents may take to be answered.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (agents, seconds) = if smoke { (300, 5) } else { (10_000, 60) };
    // Agents that die by the hundred are not worth a line each.
    std::panic::set_hook(Box::new(|_| {}));
    let figure = runtime.block_on(blast(agents, Duration::from_secs(seconds)));
    drop(std::panic::take_hook());
    figure
}

async fn blast(count: usize, watched: Duration) -> anyhow::Result<Figure> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let muster = Muster::serve(&["--data-dir", data.to_str().context("no text")?])?;
    let url = muster.opamp.clone().context("no gateway")?;
    let agents: Result<Vec<Handle>, _> =
        (0..count).map(|number| agent::start(mortal(number), &url)).collect();
    let agents = agents?;
    for agent in &agents {
        ensure!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await, "no answer");
    }
    let (server, file) = (muster.control.clone().context("no control")?, dir.path().join("c"));
    std::fs::write(&file, "receivers: {}")?;
    let file = file.to_str().context("no text")?;
    operator(&server, &["config", "apply", "deadly", "-f", file])?;
    operator(&server, &["assign", "set", "all", "-l", "", "--config", "deadly", "--yes"])?;

    tokio::time::sleep(watched).await;
    let reached = |agent: &&Handle| agent.see(|agent| agent.ledger.offers > 0);
    let reached = agents.iter().filter(reached).count();
    let bar = 50.max(count / 100);
    let text = format!("{reached} of {count} agents reached and killed in {watched:?}");
    let values = json!({ "agents": count, "reached": reached, "bar": bar });
    // One that reaches nobody shows nothing.
    Ok(Figure { pass: (1..=bar).contains(&reached), text, values })
}

/// An agent that any config kills: it is gone without a word, as a process that crashes.
fn mortal(number: usize) -> agent::Settings {
    let settings = swarm::settings(number);
    agent::Settings { heartbeat_ms: 10_000, apply: |_| std::panic::panic_any(()), ..settings }
}
