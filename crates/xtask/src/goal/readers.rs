//! R7 and F18: what it costs that agents stop reading while configs are pushed to everybody. The
//! same agents read in a first part, which is what the others are compared with.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent::link::Endpoint;
use anyhow::{Context as _, ensure};
use serde_json::json;
use services::Muster;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Figure;
use super::peer::{Peer, endpoint, operator};

/// How long everybody may take to be told.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that may wait for one agent.
const QUEUED_BYTES_MAX: f64 = 65_536.0;
/// How often what waits is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// What looking at deadlines once a second, and a loaded machine, add to them.
const SLACK: Duration = Duration::from_secs(5);
/// What others may take longer.
const RATIO_MAX: f64 = 1.2;
/// The short form judges no times, but sees whether others wait for the slow ones: that would be
/// seconds.
const RATIO_MAX_SMOKE: f64 = 3.0;
const SLACK_SMOKE: Duration = Duration::from_secs(2);

/// How it is done.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Agents that stop reading.
    slow: usize,
    /// Agents that do not.
    fine: usize,
    /// Configs pushed while all read, and then while the slow ones do not.
    before: usize,
    revisions: usize,
    /// Bytes of each config: all together more than the system's buffers take.
    bytes: usize,
    write_deadline: Duration,
    smoke: bool,
}

/// What came of it.
struct Found {
    before: Duration,
    during: Duration,
    largest: f64,
    coalesced: f64,
    lost: usize,
    cut: f64,
    cut_after: Option<Duration>,
}

pub(super) fn many(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let seconds = Duration::from_secs;
    measure(match smoke {
        true => Form {
            slow: 60,
            fine: 30,
            before: 4,
            revisions: 12,
            bytes: 24 << 10,
            write_deadline: seconds(3),
            smoke,
        },
        false => Form {
            slow: 1_000,
            fine: 500,
            before: 30,
            revisions: 100,
            bytes: 12 << 10,
            write_deadline: seconds(30),
            smoke,
        },
    })
}

pub(super) fn one(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (fine, before, revisions) = if smoke { (60, 4, 12) } else { (200, 30, 60) };
    measure(Form {
        slow: 1,
        fine,
        before,
        revisions,
        bytes: 24 << 10,
        write_deadline: Duration::from_secs(if smoke { 3 } else { 10 }),
        smoke,
    })
}

fn measure(form: Form) -> anyhow::Result<Figure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let found = runtime.block_on(stop_reading(form))?;
    let ratio = found.during.as_secs_f64() / found.before.as_secs_f64();
    let in_time = found.cut_after.is_some_and(|after| after <= form.write_deadline + SLACK);
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let all_cut = found.cut == form.slow as f64;
    let bounded = found.largest > 0.0 && found.largest <= QUEUED_BYTES_MAX;
    let longest = match form.smoke {
        true => found.before.mul_f64(RATIO_MAX_SMOKE) + SLACK_SMOKE,
        false => found.before.mul_f64(RATIO_MAX),
    };
    let pass = bounded && found.during <= longest && found.lost == 0 && all_cut && in_time;
    let text = format!(
        "{} of {} agents stop reading, {} configs of {} bytes: at most {} bytes queued for one \
         ({} messages made way); the others' p99 {:.0} ms, {ratio:.2} times the {:.0} ms before, \
         {} of them lost; {} slow ones cut, the last {:.1} s after the last config (deadline {:?})",
        form.slow,
        form.slow + form.fine,
        form.revisions,
        form.bytes,
        found.largest,
        found.coalesced,
        found.during.as_secs_f64() * 1e3,
        found.before.as_secs_f64() * 1e3,
        found.lost,
        found.cut,
        found.cut_after.unwrap_or_default().as_secs_f64(),
        form.write_deadline,
    );
    let values = json!({
        "slow": form.slow,
        "fine": form.fine,
        "revisions": form.revisions,
        "largest_queue_bytes": found.largest,
        "coalesced": found.coalesced,
        "p99_before_ms": found.before.as_secs_f64() * 1e3,
        "p99_during_ms": found.during.as_secs_f64() * 1e3,
        "ratio": ratio,
        "fine_lost": found.lost,
        "cut": found.cut,
        "cut_after_s": found.cut_after.map(|after| after.as_secs_f64()),
    });
    Ok(Figure { pass, text, values })
}

async fn stop_reading(form: Form) -> anyhow::Result<Found> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let data = data.to_str().context("no text")?;
    let deadline = format!("{}s", form.write_deadline.as_secs());
    // Pings come later than any of it: the write deadline is what cuts.
    let arguments = ["--opamp-write-deadline", &deadline, "--opamp-ping-after", "10m"];
    let muster = Muster::serve(&[&["--data-dir", data][..], &arguments].concat())?;
    let endpoint = endpoint(&muster)?;
    let (told, mut heard) = mpsc::channel(1024);
    let reads = watch::Sender::new(true);
    let always = watch::Sender::new(true);
    let mut agents = JoinSet::new();
    for number in 0..form.slow + form.fine {
        let is_slow = number < form.slow;
        let reads = if is_slow { reads.subscribe() } else { always.subscribe() };
        agents.spawn(agent(endpoint.clone(), number, is_slow, reads, told.clone()));
        // One after the other, about as fast as they are answered.
        if number % 25 == 24 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let mut decider = Decider { muster: &muster, file: dir.path().join("config"), number: 0 };
    let all = form.slow + form.fine;
    for _ in 0..all {
        let said = tokio::time::timeout(PATIENCE, heard.recv()).await.context("no answer")?;
        ensure!(said.context("all gone")?.config.is_none(), "not a first report");
    }
    let before = decider.push(form.before, form.bytes, all, &mut heard).await?;
    reads.send_replace(false);
    let watching = Watch::start(muster.ops.clone());
    let during = decider.push(form.revisions, form.bytes, form.fine, &mut heard).await?;
    let cut_after = until_cut(&muster, form).await?;
    let metrics = muster.metrics()?;
    let mut lost = 0;
    // Those still at it are fine: only who was lost has ended.
    while let Some(ended) = agents.try_join_next() {
        lost += usize::from(ended?);
    }
    Ok(Found {
        before: p99(before),
        during: p99(during),
        largest: watching.largest(),
        coalesced: metrics.sum("muster_gateway_coalesced_total"),
        lost,
        cut: metrics.sum_where("muster_gateway_cut_total", "reason=\"writing\""),
        cut_after,
    })
}

/// An agent has this config since then; none once it has reported for the first time.
struct Told {
    agent: usize,
    at: Instant,
    config: Option<usize>,
}

/// An agent that tells when it was offered what. It ends when its connection does; true if it
/// should not have.
async fn agent(
    endpoint: Endpoint,
    number: usize,
    is_slow: bool,
    mut reads: watch::Receiver<bool>,
    told: mpsc::Sender<Told>,
) -> bool {
    let mut peer = loop {
        match Peer::connect(&endpoint, number).await {
            Ok(peer) => break peer,
            // A crowd at once on a loaded machine.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    };
    let tell = |config| told.send(Told { agent: number, at: Instant::now(), config });
    let _ = tell(None).await;
    loop {
        let stops = async { reads.wait_for(|reads| !reads).await.is_ok() };
        tokio::select! {
            biased;
            // It stays connected, and hears nothing any more.
            _ = stops => std::future::pending::<()>().await,
            offered = peer.listen() => match offered {
                Ok(true) => {
                    let _ = tell(peer.config()).await;
                }
                Ok(false) => {}
                Err(_) => return !is_slow,
            },
        }
    }
}

/// Who decides on one config after the other.
struct Decider<'a> {
    muster: &'a Muster,
    file: std::path::PathBuf,
    number: usize,
}

impl Decider<'_> {
    /// Assigns so many configs; returns how long after each decision each agent was told.
    async fn push(
        &mut self,
        configs: usize,
        bytes: usize,
        agents: usize,
        heard: &mut mpsc::Receiver<Told>,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(configs * agents);
        for _ in 0..configs {
            self.number += 1;
            let line = format!("# {}\n", self.number);
            std::fs::write(&self.file, line.repeat(bytes / line.len()))?;
            let file = self.file.to_str().context("no text")?.to_owned();
            operator(self.muster, &["config", "apply", "pushed", "-f", &file])?;
            let start = Instant::now();
            let assign = ["assign", "set", "all", "-l", "", "--config", "pushed", "--yes"];
            let brake = ["--max-in-flight", "1000000", "--max-failures", "1000000"];
            operator(self.muster, &[&assign[..], &brake].concat())?;
            let mut told = BTreeSet::new();
            while told.len() < agents {
                let said = tokio::time::timeout(PATIENCE, heard.recv()).await;
                let said = said.with_context(|| format!("{} of {agents} told", told.len()))?;
                let said = said.context("all gone")?;
                if said.config == Some(self.number) && told.insert(said.agent) {
                    latencies.push(said.at.saturating_duration_since(start));
                }
            }
        }
        Ok(latencies)
    }
}

/// Looks at the largest queue again and again.
struct Watch {
    largest: Arc<AtomicU64>,
    _looking: JoinSet<()>,
}

impl Watch {
    fn start(ops: String) -> Self {
        let largest = Arc::<AtomicU64>::default();
        let (seen, mut looking) = (largest.clone(), JoinSet::new());
        looking.spawn(async move {
            loop {
                let ops = ops.clone();
                let read = tokio::task::spawn_blocking(move || services::Metrics::read(&ops));
                if let Ok(Ok(metrics)) = read.await {
                    let bytes = metrics.sum("muster_gateway_outbox_largest_bytes");
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    seen.fetch_max(bytes as u64, Ordering::Relaxed);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { largest, _looking: looking }
    }

    #[expect(clippy::cast_precision_loss, reason = "small")]
    fn largest(&self) -> f64 {
        self.largest.load(Ordering::Relaxed) as f64
    }
}

/// How long after the last config the last slow agent was cut.
async fn until_cut(muster: &Muster, form: Form) -> anyhow::Result<Option<Duration>> {
    let start = Instant::now();
    while start.elapsed() < form.write_deadline * 2 + SLACK {
        let left = muster.metrics()?.sum("muster_gateway_connections");
        #[expect(clippy::cast_precision_loss, reason = "small")]
        if left <= form.fine as f64 {
            return Ok(Some(start.elapsed()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
}
