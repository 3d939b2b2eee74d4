//! F17: what operators see of one agent's wire, by the command line alone: everything that was
//! said, what follows, and what was said before it was gone. No secret in any of it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent::swarm::{self, Swarm};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use services::{Muster, binary};

use super::Figure;
use super::peer::operator;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// In every secret that is planted.
const CANARY: &str = "c4n4ry";
/// What an agent's trace has in it, from its first word on.
const EXPECTED: [&str; 6] = [
    "connected from",
    "full state #0",
    "session begins",
    "offer c@1",
    "config status",
    "heartbeat",
];

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (agents, looked_at) = if smoke { (50, 5) } else { (2_000, 50) };
    runtime.block_on(look(agents, looked_at))
}

async fn look(agents: usize, looked_at: usize) -> anyhow::Result<Figure> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let muster = Muster::serve(&["--data-dir", data.to_str().context("no text")?])?;
    let mut swarm = Swarm {
        components: false,
        agents,
        first: 0,
        urls: vec![muster.opamp.clone().context("no gateway")?],
        heartbeat: Duration::from_secs(1),
        connects_per_second: 500,
        custom_capabilities: Vec::new(),
        keeps_entries: false,
        trust: Default::default(),
    }
    .start()?;
    for agent in &swarm {
        ensure!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await, "no answer");
    }
    give(&muster, dir.path())?;
    for agent in &swarm {
        let runs = |agent: &agent::Agent| agent.config_status().status == 1;
        ensure!(agent.until(PATIENCE, runs).await, "an agent does not run its config");
    }
    let before = Instant::now();
    let live = live(&muster, 0)?;
    let live_ms = before.elapsed().as_millis();
    let (mut whole, mut leaks) = (0, usize::from(live.contains(CANARY)));
    for number in 0..looked_at {
        let (text, summaries) = remembered(&muster, number)?;
        leaks += usize::from(text.contains(CANARY));
        let has = |word: &&str| summaries.iter().any(|summary| summary.starts_with(word));
        whole += usize::from(EXPECTED.iter().all(has));
    }
    swarm.remove(0).stop().await;
    let gone = until_gone(&muster).await?;
    let pass = whole == looked_at && leaks == 0 && gone;
    let text = format!(
        "{whole} of {looked_at} traces whole among {agents} agents, {leaks} with a secret in \
         them; live after {live_ms} ms; last words of one that is gone: {gone}"
    );
    let values = json!({
        "agents": agents, "traced": looked_at, "whole": whole, "leaks": leaks, "gone": gone,
        "live_ms": u64::try_from(live_ms)?,
    });
    Ok(Figure { pass, text, values })
}

/// Has every agent run a config full of secrets.
fn give(muster: &Muster, dir: &Path) -> anyhow::Result<()> {
    let file = dir.join("c.yaml");
    let config = format!(
        "exporters:\n  otlp:\n    endpoint: https://u:{CANARY}@h:4317\n    headers:\n      \
         x-team: {CANARY}\n  kafka:\n    auth:\n      plain_text: {{user: u, password: {CANARY}}}\n"
    );
    std::fs::write(&file, config)?;
    operator(muster, &["config", "apply", "c", "-f", file.to_str().context("no text")?])?;
    let numbers = ["--max-in-flight", "10000", "--max-failures", "1000"];
    let assign = ["assign", "set", "all", "-l", "", "--config", "c", "--yes"];
    operator(muster, &[&assign[..], &numbers].concat())?;
    Ok(())
}

/// All that is remembered of an agent: as text, and what each entry is.
fn remembered(muster: &Muster, number: usize) -> anyhow::Result<(String, Vec<String>)> {
    let uid = swarm::settings(number).instance_uid.to_string();
    let words =
        ["agents", "trace", &uid, "--no-follow", "--bodies", "--last", "1000", "-o", "json"];
    let text = operator(muster, &words)?;
    let summaries = text.lines().map(summary).collect::<anyhow::Result<_>>()?;
    Ok((text, summaries))
}

fn summary(line: &str) -> anyhow::Result<String> {
    let entry: Value = serde_json::from_str(line)?;
    Ok(entry["summary"].as_str().unwrap_or_default().to_owned())
}

/// What comes live of an agent, up to a heartbeat and its answer.
fn live(muster: &Muster, number: usize) -> anyhow::Result<String> {
    let uid = swarm::settings(number).instance_uid.to_string();
    let server = muster.control.as_deref().context("no control")?;
    let mut command = Command::new(binary("muster")?);
    command.args(["agents", "trace", &uid, "--last", "0", "-o", "json", "--server", server]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut text = String::new();
    let mut beats = false;
    for line in lines.by_ref() {
        let line = line?;
        let said = summary(&line)?;
        text += &line;
        if beats && said == "acknowledgement" {
            break;
        }
        beats |= said.starts_with("heartbeat");
    }
    child.kill()?;
    child.wait()?;
    Ok(text)
}

/// Whether the last words of an agent that is gone are still told.
async fn until_gone(muster: &Muster) -> anyhow::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let (_, summaries) = remembered(muster, 0)?;
        if summaries.last().is_some_and(|last| last.starts_with("closed by the agent")) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(false)
}
