//! R6: ten times as many openings a second as the gateway is to take. What is taken must stay what
//! it was at the capacity itself, who is there must not notice, and who is refused must be told
//! when to come back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use agent::Handle;
use agent::link::Endpoint;
use agent::swarm::Swarm;
use anyhow::{Context as _, ensure};
use serde_json::json;
use services::Muster;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Figure;
use super::peer::{Peer, endpoint};

/// How long the established may take to be answered.
const PATIENCE: Duration = Duration::from_secs(60);
const TIMES: u32 = 10;
/// Agents that come and go: so many that none comes again before it has gone.
const POOL: usize = 6_000;
/// Number of the first of them; below are those that stay.
const FIRST: usize = 1_000_000;
const MIB: f64 = 1_048_576.0;
/// What must be offered for the figure to say anything, if the machine cannot do all of it.
const TIMES_MIN: f64 = 3.0;

/// How it is done.
struct Form {
    established: usize,
    /// Openings a second that the gateway is told to take: what the machine can do ten times over,
    /// load and refusals included, so that the figure is of the gateway and not of the machine.
    capacity: u32,
    /// What memory may grow by. The short form has so little that anything shows.
    growth_max: f64,
    /// For everybody of the pool to come once, at best.
    warm: Duration,
    at_capacity: Duration,
    overload: Duration,
}

/// What came of those who tried.
#[derive(Default)]
struct Outcomes {
    offered: usize,
    taken: usize,
    refused: Vec<Duration>,
    /// What else they met: refused without a word on when to come back, or lost.
    untold: Vec<String>,
    took: Duration,
}

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let seconds = Duration::from_secs;
    let form = match smoke {
        true => Form {
            established: 50,
            capacity: 25,
            growth_max: 0.5,
            warm: seconds(2),
            at_capacity: seconds(3),
            overload: seconds(5),
        },
        false => Form {
            established: 1_000,
            capacity: 100,
            growth_max: 0.2,
            warm: seconds(60),
            at_capacity: seconds(20),
            overload: seconds(60),
        },
    };
    tokio::runtime::Runtime::new()?.block_on(overload(&form))
}

async fn overload(form: &Form) -> anyhow::Result<Figure> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let capacity = form.capacity.to_string();
    let data = ["--data-dir", data.to_str().context("no text")?];
    let muster = Muster::serve(&[&data[..], &["--opamp-handshakes-max", &capacity]].concat())?;
    let endpoint = endpoint(&muster)?;
    let established = establish(&muster, form).await?;

    let mut next = 0;
    // So that their records are there, and the memory for them.
    offer(&endpoint, form.capacity, form.warm, &mut next).await;
    offer(&endpoint, form.capacity * TIMES, Duration::from_secs(1), &mut next).await;
    let peak = offer(&endpoint, form.capacity, form.at_capacity, &mut next).await;
    let resident = muster.resident_bytes()?;
    let over = offer(&endpoint, form.capacity * TIMES, form.overload, &mut next).await;
    let memory = [resident, muster.resident_bytes()?].map(|bytes| bytes as f64 / MIB);

    let cut = |agent: &&Handle| agent.see(|agent| agent.ledger.connections != 1);
    let lost = established.iter().filter(cut).count();
    Ok(figure(form, &peak, &over, lost, memory))
}

#[expect(clippy::cast_precision_loss, reason = "small")]
fn figure(form: &Form, peak: &Outcomes, over: &Outcomes, lost: usize, memory: [f64; 2]) -> Figure {
    let grown = memory[1] / memory[0] - 1.0;
    let at_peak = peak.taken as f64 / peak.took.as_secs_f64();
    let goodput = over.taken as f64 / over.took.as_secs_f64();
    let share = goodput / at_peak;
    let times = over.offered as f64 / over.took.as_secs_f64() / f64::from(form.capacity);
    let waits: BTreeSet<u64> = over.refused.iter().map(Duration::as_secs).collect();
    let least = over.refused.iter().min().copied().unwrap_or_default();
    let spread = waits.len() >= 25 && least >= Duration::from_secs(30);
    let told = over.untold.is_empty() && spread;
    let pass = share >= 0.9 && lost == 0 && told && grown <= form.growth_max && times >= TIMES_MIN;
    let text = format!(
        "{times:.1} times the capacity offered for {:.0} s: {goodput:.0} taken a second, {:.0} % \
         of {at_peak:.0} at the capacity; {} refused with Retry-After of {} to {} s ({} values), \
         {} otherwise {:?}; {lost} of {} established lost; memory {:+.1} % of {:.0} MiB",
        over.took.as_secs_f64(),
        share * 100.0,
        over.refused.len(),
        waits.first().copied().unwrap_or_default(),
        waits.last().copied().unwrap_or_default(),
        waits.len(),
        over.untold.len(),
        over.untold.iter().take(3).collect::<BTreeSet<_>>(),
        form.established,
        grown * 100.0,
        memory[0],
    );
    let values = json!({
        "capacity": form.capacity,
        "offered": over.offered,
        "peak_per_second": at_peak,
        "goodput_per_second": goodput,
        "share": share,
        "refused": over.refused.len(),
        "times": times,
        "untold": over.untold.len(),
        "retry_after_values": waits.len(),
        "established": form.established,
        "established_lost": lost,
        "memory_grown": grown,
    });
    Figure { pass, text, values }
}

/// Agents that are there before and stay.
async fn establish(muster: &Muster, form: &Form) -> anyhow::Result<Vec<Handle>> {
    let swarm = Swarm {
        components: false,
        agents: form.established,
        first: 0,
        urls: vec![muster.opamp.clone().context("no gateway")?],
        heartbeat: Duration::from_secs(1),
        connects_per_second: form.capacity / 2,
        custom_capabilities: Vec::new(),
        keeps_entries: false,
        trust: Default::default(),
    };
    let swarm = swarm.start()?;
    for agent in &swarm {
        ensure!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await, "no answer");
    }
    Ok(swarm)
}

/// Offers so many openings a second, whatever becomes of them.
async fn offer(
    endpoint: &Endpoint,
    per_second: u32,
    lasting: Duration,
    next: &mut usize,
) -> Outcomes {
    let (mut outcomes, mut tries) = (Outcomes::default(), JoinSet::new());
    let start = Instant::now();
    for index in 0.. {
        let due = start + Duration::from_secs(1) * index / per_second;
        if due >= start + lasting {
            break;
        }
        sleep_until(due).await;
        let number = FIRST + *next % POOL;
        *next += 1;
        outcomes.offered += 1;
        let endpoint = endpoint.clone();
        tries.spawn(async move {
            let peer = Peer::connect(&endpoint, number).await?;
            // A close that is lost changes nothing of what was taken.
            let _ = peer.close().await;
            Ok(())
        });
        while let Some(tried) = tries.try_join_next() {
            outcomes.add(tried);
        }
    }
    while let Some(tried) = tries.join_next().await {
        outcomes.add(tried);
    }
    outcomes.took = start.elapsed();
    outcomes
}

impl Outcomes {
    fn add(&mut self, tried: Result<Result<(), agent::Error>, JoinError>) {
        match tried.expect("a try does not panic") {
            Ok(()) => self.taken += 1,
            Err(agent::Error::Refused { status: 503, retry_after: Some(wait) }) => {
                self.refused.push(wait);
            }
            Err(error) => self.untold.push(error.to_string()),
        }
    }
}
