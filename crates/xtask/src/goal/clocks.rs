//! R12: the clock of one process steps by an hour, forth and back, role by role; nobody else
//! notices. The steps are real to the process: they come from Debian's libfaketime.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agent::Handle;
use anyhow::{Context as _, ensure};
use serde_json::json;
use services::{Cluster, Muster, Size};

use super::herd::{self, operator};
use super::wiped::wait;
use super::{Figure, runtime};

const HEARTBEAT: Duration = Duration::from_secs(2);
/// Where the library is, by architecture.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (agents, seconds) = if smoke { (90, 2) } else { (3_000, 30) };
    runtime()?.block_on(steps(agents, Duration::from_secs(seconds)))
}

/// A clock that can be stepped from outside.
struct Stepped {
    role: &'static str,
    offset: tempfile::NamedTempFile,
    library: &'static str,
}

impl Stepped {
    fn new(role: &'static str) -> anyhow::Result<Self> {
        let library = LIBRARIES.into_iter().find(|path| Path::new(path).is_file());
        let library = library.context("libfaketime is missing: install Debian's faketime")?;
        let clock = Self { role, offset: tempfile::NamedTempFile::new()?, library };
        clock.set(0)?;
        Ok(clock)
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.path().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // A step is of the wall clock alone.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// Steps it, and makes sure that who lives by it sees that.
    fn set(&self, seconds: i64) -> anyhow::Result<()> {
        std::fs::write(self.offset.path(), format!("{seconds:+}"))?;
        let date = |variables: &[(&str, String)]| -> anyhow::Result<i64> {
            let mut date = Command::new("date");
            date.arg("+%s").envs(variables.iter().map(|(name, value)| (name, value)));
            Ok(String::from_utf8(date.output()?.stdout)?.trim().parse()?)
        };
        let seen = date(&self.variables())? - date(&[])?;
        ensure!((seen - seconds).abs() <= 2, "the clock is off by {seen} s, not by {seconds} s");
        Ok(())
    }

    fn start(&self, cluster: &Cluster) -> anyhow::Result<Muster> {
        let [bus, store, ledger] =
            [cluster.nats[0].url(), cluster.records.url(), cluster.ledger.url()];
        let mut arguments = vec!["--role", self.role, "--bus", &bus];
        if self.role != "gateway" {
            arguments.extend(["--store", &store, "--ledger", &ledger]);
        }
        let variables = self.variables();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Muster::serve_with(&arguments, &variables)
    }
}

/// What was seen, all roles and steps together.
#[derive(Default)]
struct Seen {
    looks: usize,
    /// Looks at which some agent was shown as gone.
    offline: usize,
    leader_changes: usize,
    commands: usize,
    refused: usize,
}

async fn steps(agents: usize, pause: Duration) -> anyhow::Result<Figure> {
    let size = Size { gateways: 1, workers: 1, controls: 1, nats: 1 };
    let mut cluster = Cluster::start(size, &[])?;
    let clocks = ["gateway", "fleet-state", "control"]
        .into_iter()
        .map(Stepped::new)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let started: Vec<Muster> =
        clocks.iter().map(|clock| clock.start(&cluster)).collect::<anyhow::Result<_>>()?;
    let [gateway, worker, control] = <[Muster; 3]>::try_from(started).ok().context("three")?;
    cluster.gateways.push(gateway);
    cluster.workers.push(worker);
    cluster.controls.push(control);
    cluster.wait_ready()?;
    let urls: Vec<String> = cluster.gateways.iter().map(herd::url).collect::<Result<_, _>>()?;
    let fleet = herd::gather(agents, &urls, HEARTBEAT).await?;
    wait("all are seen", || Ok(connected(&cluster)?.iter().all(|seen| *seen == agents as u64)))?;
    let mut seen = Seen::default();
    for clock in &clocks {
        for offset in [3600, 0, -3600, 0] {
            clock.set(offset)?;
            watch(&cluster, agents as u64, pause, &mut seen)?;
        }
    }
    Ok(figure(agents, cut_off(&fleet), &seen))
}

fn figure(agents: usize, cut: usize, seen: &Seen) -> Figure {
    let Seen { looks, offline, leader_changes, commands, refused } = *seen;
    let text = format!(
        "{agents} agents, 12 steps: {offline} of {looks} looks saw somebody offline, {cut} cut \
         off, {leader_changes} leases moved, {refused} of {commands} commands refused"
    );
    let values = json!({
        "agents": agents,
        "looks": looks,
        "offline": offline,
        "cut_off": cut,
        "leader_changes": leader_changes,
        "commands": commands,
        "refused": refused,
    });
    let pass = looks > 0 && offline + cut + leader_changes + refused == 0;
    Figure { pass, text, values }
}

fn watch(cluster: &Cluster, agents: u64, pause: Duration, seen: &mut Seen) -> anyhow::Result<()> {
    let (start, mut leader) = (Instant::now(), leader(cluster)?);
    while start.elapsed() < pause {
        seen.looks += 1;
        seen.offline += usize::from(connected(cluster)?.iter().any(|seen| *seen < agents));
        let now = self::leader(cluster)?;
        seen.leader_changes += usize::from(now != leader);
        leader = now;
        // It goes from any control to any worker, and is about agents at any gateway.
        for control in &cluster.controls {
            let server = control.control.clone().context("no control")?;
            let label = format!("step={}", seen.commands);
            let labelled = operator(&server, &["agents", "label", "-l", "*", &label, "--yes"]);
            seen.commands += 1;
            seen.refused += usize::from(labelled.is_err());
        }
    }
    Ok(())
}

/// Agents that each control sees connected.
fn connected(cluster: &Cluster) -> anyhow::Result<Vec<u64>> {
    let seen = |control: &Muster| {
        let server = control.control.clone().context("no control")?;
        let status: serde_json::Value =
            serde_json::from_str(&operator(&server, &["status", "-o", "json"])?)?;
        status["agents"]["connected"].as_u64().context("agents are not counted")
    };
    cluster.controls.iter().map(seen).collect()
}

/// Which controls lead.
fn leader(cluster: &Cluster) -> anyhow::Result<Vec<bool>> {
    let leads = |control: &Muster| Ok(control.metrics()?.sum("muster_control_leads") > 0.0);
    cluster.controls.iter().map(leads).collect()
}

fn cut_off(fleet: &[Handle]) -> usize {
    fleet.iter().filter(|agent| agent.see(|agent| agent.ledger.connections > 1)).count()
}
