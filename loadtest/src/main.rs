//! The load generator: many agents against any OpAMP server, and what they saw of it.
//!
//! One process holds as many agents as it may open files; larger fleets are several processes
//! with different `--first`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent::link::Trust;
use agent::swarm::Swarm;
use agent::{Handle, Ledger};
use anyhow::{Context as _, ensure};
use clap::Parser;
use serde::Serialize;

/// How often the ledgers are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Many OpAMP agents at once, against any server.
#[derive(Debug, Parser)]
#[command(name = "muster-loadtest", version)]
struct Arguments {
    /// Where agents connect: ws://HOST:PORT/PATH, or http:// to poll; wss:// or https:// inside TLS.
    /// Repeat it to spread them.
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// How many agents.
    #[arg(long, default_value_t = 100)]
    agents: usize,
    /// Number of the first agent; processes with different ranges are different agents.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Seconds to go on once all have been answered.
    #[arg(long, default_value_t = 10)]
    duration: u64,
    /// Seconds from one message to the next of an agent that has nothing to say.
    #[arg(long, default_value_t = 30)]
    heartbeat: u64,
    /// Connections begun per second; 0 begins all at once.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Seconds that connecting may take in all.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Authorities that servers' certificates must be of, as PEM; for wss:// and https://.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with a token that every agent shows.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn trust(&self) -> anyhow::Result<Trust> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("reading {}", path.display()))
        };
        let mut trust = Trust::default();
        if let Some(path) = &self.ca_file {
            trust = trust.authorities(&read(path)?, None).context("--ca-file")?;
        }
        if let Some(path) = &self.token_file {
            trust = trust.token(String::from_utf8(read(path)?).context("--token-file")?.trim());
        }
        Ok(trust)
    }
}

/// What the agents saw.
#[derive(Debug, Default, Serialize)]
struct Report {
    agents: usize,
    /// Agents that got an answer.
    answered: usize,
    seconds_until_all_answered: f64,
    connects_per_second: f64,
    /// Of the time after all were answered.
    steady_seconds: f64,
    messages_per_second: f64,
    /// Connections beyond the first of each agent.
    reconnects: u64,
    full_state_requests: u64,
    offers: u64,
    errors: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.agents > 0, "--agents must be at least 1");
    let swarm = Swarm {
        components: false,
        agents: arguments.agents,
        first: arguments.first,
        urls: arguments.urls.clone(),
        heartbeat: Duration::from_secs(arguments.heartbeat),
        connects_per_second: arguments.rate,
        custom_capabilities: Vec::new(),
        keeps_entries: false,
        trust: arguments.trust()?,
    };
    let start = Instant::now();
    let agents = swarm.start().context("starting agents")?;
    let patience = Duration::from_secs(arguments.patience);
    let answered = until_answered(&agents, start, patience).await;
    let connecting = start.elapsed().as_secs_f64();
    let before = total(&agents, |ledger| ledger.sent);
    let steady = Instant::now();
    tokio::time::sleep(Duration::from_secs(arguments.duration)).await;
    let steady_seconds = steady.elapsed().as_secs_f64();
    let sent = total(&agents, |ledger| ledger.sent) - before;
    let connections = total(&agents, |ledger| ledger.connections);
    let report = Report {
        agents: agents.len(),
        answered,
        seconds_until_all_answered: connecting,
        connects_per_second: rate(answered as u64, connecting),
        steady_seconds,
        messages_per_second: rate(sent, steady_seconds),
        reconnects: connections.saturating_sub(agents.len() as u64),
        full_state_requests: total(&agents, |ledger| ledger.full_state_requests),
        offers: total(&agents, |ledger| ledger.offers),
        errors: total(&agents, |ledger| ledger.errors),
    };
    let mut stopping: tokio::task::JoinSet<()> = agents.into_iter().map(Handle::stop).collect();
    while stopping.join_next().await.is_some() {}
    print(&report, arguments.json)?;
    ensure!(answered == report.agents, "{} agents got no answer", report.agents - answered);
    Ok(())
}

async fn until_answered(agents: &[Handle], start: Instant, patience: Duration) -> usize {
    loop {
        let answered =
            agents.iter().filter(|agent| agent.see(|agent| agent.ledger.received > 0)).count();
        if answered == agents.len() || start.elapsed() > patience {
            return answered;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn total(agents: &[Handle], what: impl Fn(&Ledger) -> u64) -> u64 {
    agents.iter().map(|agent| agent.see(|agent| what(&agent.ledger))).sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test run fit a double exactly")]
fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(f64::MIN_POSITIVE)
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("agents answered      {} of {}", report.answered, report.agents);
    println!("until all answered   {:.2} s", report.seconds_until_all_answered);
    println!("connects             {:.0} /s", report.connects_per_second);
    println!("messages, steady     {:.1} /s", report.messages_per_second);
    println!("reconnects           {}", report.reconnects);
    println!("full state requests  {}", report.full_state_requests);
    println!("configs offered      {}", report.offers);
    println!("error responses      {}", report.errors);
    Ok(())
}
