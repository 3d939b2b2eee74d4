//! R10: every NATS stands still, then every NATS is killed. Agents stay and are answered, operators
//! are told soon that nothing can be done, and all is right again soon after.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agent::Handle;
use anyhow::Context as _;
use serde_json::json;
use services::{Cluster, Signal, Size, binary};

use super::herd::{self, operator};
use super::wiped::wait;
use super::{Figure, runtime};

/// An operator is told within this.
const SOON: Duration = Duration::from_secs(2);
/// What starting a command costs, on top.
const COMMAND: Duration = Duration::from_millis(300);
/// Without a question to anybody for so long, no word of an agent is under way.
const QUIET: Duration = Duration::from_secs(2);
/// Until what was decided meanwhile has reached everybody.
const CONVERGED: Duration = Duration::from_secs(15);

/// What one outage did.
#[derive(Default)]
struct Outage {
    /// Commands that said that they were done, and those that took too long to say that not.
    done: usize,
    late: usize,
    slowest: Duration,
    asked: usize,
    /// Looks at the status that showed the bus as reachable.
    untold: usize,
    /// Agents that were not answered.
    unanswered: usize,
    converged: Option<f64>,
}

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (agents, seconds, nats) = if smoke { (200, 5, 1) } else { (2_000, 60, 3) };
    runtime()?.block_on(outages(agents, Duration::from_secs(seconds), nats))
}

async fn outages(agents: usize, length: Duration, nats: usize) -> anyhow::Result<Figure> {
    let mut cluster = Cluster::start(Size { nats, ..Size::default() }, &[])?;
    let urls: Vec<String> = cluster.gateways.iter().map(herd::url).collect::<Result<_, _>>()?;
    // One more, which leaves: to forget it takes a worker.
    let mut fleet = herd::gather(agents + 1, &urls, length / 5).await?;
    drop(fleet.pop());
    let gone = gone(&cluster)?;
    decide(&cluster, "first")?;
    let mut found = Vec::new();
    for killed in [false, true] {
        // With a word under way, an agent would wait for what becomes of it.
        wait("all say that they have it", || Ok(applied(&cluster)? >= agents))?;
        quiet(&fleet).await;
        for server in &mut cluster.nats {
            match killed {
                true => server.kill()?,
                false => server.signal(Signal::Stop)?,
            }
        }
        let mut outage = away(&cluster, &fleet, &gone, length).await?;
        decide(&cluster, if killed { "third" } else { "second" })?;
        let before = offers(&fleet);
        for server in &mut cluster.nats {
            match killed {
                true => server.relaunch()?,
                false => server.signal(Signal::Continue)?,
            }
        }
        let back = Instant::now();
        while outage.converged.is_none() && back.elapsed() < 4 * CONVERGED {
            if offers(&fleet) >= before + agents as u64 {
                outage.converged = Some(back.elapsed().as_secs_f64());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        found.push(outage);
    }
    let cut = fleet.iter().filter(|agent| agent.see(|agent| agent.ledger.connections > 1)).count();
    Ok(figure(agents, cut, &found))
}

fn figure(agents: usize, cut: usize, found: &[Outage]) -> Figure {
    let converged = |outage: &Outage| {
        outage.converged.is_some_and(|seconds| seconds <= CONVERGED.as_secs_f64())
    };
    let silent = |outage: &Outage| {
        outage.done == 0
            && outage.late == 0
            && outage.untold == 0
            && outage.unanswered == 0
            && outage.asked > 0
    };
    let pass = cut == 0 && found.iter().all(|outage| converged(outage) && silent(outage));
    let part = |(name, outage): (&str, &Outage)| {
        let took = outage.converged.map_or("never".to_owned(), |took| format!("in {took:.1} s"));
        format!(
            "{name}: {} commands, {} said done, slowest refusal {:.1} s, {} looks saw a bus, {} \
             agents unanswered, converged {took}",
            outage.asked,
            outage.done,
            outage.slowest.as_secs_f64(),
            outage.untold,
            outage.unanswered
        )
    };
    let parts: Vec<String> = ["stopped", "killed"].into_iter().zip(found).map(part).collect();
    let text = format!("{agents} agents, {cut} cut off; {}", parts.join("; "));
    let value = |outage: &Outage| {
        json!({
            "commands": outage.asked,
            "done": outage.done,
            "slowest_seconds": outage.slowest.as_secs_f64(),
            "untold": outage.untold,
            "unanswered": outage.unanswered,
            "converged_seconds": outage.converged,
        })
    };
    let outages: Vec<_> = found.iter().map(value).collect();
    Figure { pass, text, values: json!({ "agents": agents, "cut_off": cut, "outages": outages }) }
}

/// While the bus is away: what needs a worker is refused, soon, and every agent is answered.
async fn away(
    cluster: &Cluster,
    fleet: &[Handle],
    gone: &str,
    length: Duration,
) -> anyhow::Result<Outage> {
    let server = cluster.controls[0].control.clone().context("no control")?;
    let received = |agent: &Handle| agent.see(|agent| agent.ledger.received);
    let before: Vec<u64> = fleet.iter().map(received).collect();
    let (mut outage, start) = (Outage::default(), Instant::now());
    while start.elapsed() < length {
        let asked = Instant::now();
        let output = Command::new(binary("muster")?)
            .args(["agents", "delete", gone, "--server", &server])
            .output()?;
        let took = asked.elapsed();
        outage.asked += 1;
        let said = String::from_utf8_lossy(&output.stderr);
        outage.done += usize::from(output.status.success() || !said.contains("unavailable"));
        outage.late += usize::from(took > SOON + COMMAND);
        outage.slowest = outage.slowest.max(took);
        let status: serde_json::Value =
            serde_json::from_str(&operator(&server, &["status", "-o", "json"])?)?;
        outage.untold += usize::from(status["services"]["bus"]["reachable"] != false);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let unanswered = fleet.iter().zip(before).filter(|(agent, before)| received(agent) <= *before);
    outage.unanswered = unanswered.count();
    Ok(outage)
}

/// What is decided goes into the ledger, which is there.
fn decide(cluster: &Cluster, body: &str) -> anyhow::Result<()> {
    let server = cluster.controls[0].control.clone().context("no control")?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("receivers: {{{body}: {{}}}}"))?;
    operator(&server, &["config", "apply", "c", "-f", file.path().to_str().context("no text")?])?;
    let set = ["assign", "set", "all", "-l", "", "--config", "c", "--yes"];
    operator(&server, &[&set[..], &["--max-in-flight", "100000"]].concat()).map(drop)
}

/// The agent that has left.
fn gone(cluster: &Cluster) -> anyhow::Result<String> {
    let server = cluster.controls[0].control.clone().context("no control")?;
    let list = || operator(&server, &["agents", "list", "--status", "disconnected", "-o", "name"]);
    wait("one has left", || Ok(list()?.lines().count() == 1))?;
    Ok(list()?.trim().to_owned())
}

/// Waits until nobody has been asked for anything for a while.
async fn quiet(fleet: &[Handle]) {
    let (mut asked, mut since) = (herd::full_state_requests(fleet), Instant::now());
    while since.elapsed() < QUIET {
        tokio::time::sleep(QUIET / 20).await;
        let now = herd::full_state_requests(fleet);
        if now != asked {
            (asked, since) = (now, Instant::now());
        }
    }
}

/// Agents that say that they run what they are to run.
fn applied(cluster: &Cluster) -> anyhow::Result<usize> {
    let server = cluster.controls[0].control.clone().context("no control")?;
    let list = ["agents", "list", "--config-status", "applied", "-o", "name"];
    Ok(operator(&server, &list)?.lines().count())
}

fn offers(fleet: &[Handle]) -> u64 {
    fleet.iter().map(|agent| agent.see(|agent| agent.ledger.offers)).sum()
}
