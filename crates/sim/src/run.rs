//! One run: a world by seed, chaos, healing, silence, judgement.

use std::sync::Arc;
use std::time::Duration;

use opamp::InstanceUid;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::agents::SimAgent;
use crate::chaos::Chaos;
use crate::cluster::{Cluster, Part};
use crate::invariants::{self, Evidence, Violation};
use crate::limits::{HEAL_LOOK, HEAL_MAX, LATE_MS, QUIET, SETTLE};
use crate::operators::{Commander, Operator};
use crate::variants::Variant;
use crate::weather::Weather;
use crate::world::World;

/// Which faults a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// All of them.
    Everything,
    /// Those that move agents while their old owners live on.
    Fencing,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was violated, if anything was.
    pub violations: Vec<Violation>,
    /// Same seed, same hash.
    pub hash: u64,
    /// Events in the trace.
    pub events: u64,
    /// How much time passed in the simulated world.
    pub simulated: Duration,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs one seed. The product may be decorated by a variant.
pub fn run(seed: u64, profile: Profile, variant: Variant, keeps_trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let world = World::new(seed, keeps_trace);
        let violations = play(&world, profile, variant).await;
        let simulated = world.began.elapsed();
        let (hash, events, trace) = world.traced();
        Outcome { seed, violations, hash, events, simulated, trace }
    })
}

async fn play(world: &Arc<World>, profile: Profile, variant: Variant) -> Vec<Violation> {
    world.sky.change(|now| *now = Weather::fair());
    let cluster = Cluster::new(world, variant);
    let calm = CancellationToken::new();
    populate(world, &cluster);
    let operator = Operator {
        world: world.clone(),
        cluster: cluster.clone(),
        dice: world.dice("operator"),
        calm: calm.clone(),
    };
    let commander = Commander { operator: operator.namesake("commander") };
    let both = async { tokio::join!(biased; operator.work(), commander.work()) };
    let operating = tokio_util::task::AbortOnDropHandle::new(world.tasks.spawn(both));
    sleep(Duration::from_secs(5)).await;
    let dice = world.dice("chaos");
    Chaos { world: world.clone(), cluster: cluster.clone(), dice, profile }.reign().await;
    calm.cancel();
    for agent in cluster.agents() {
        agent.calm.cancel();
    }
    heal(world, &cluster, operating).await
}

fn populate(world: &Arc<World>, cluster: &Arc<Cluster>) {
    let dice = world.dice("cast");
    let parts = [
        (Part::Control, "control", dice.between(1, 2)),
        (Part::Worker, "worker", dice.between(1, 3)),
        (Part::Gateway, "gateway", dice.between(2, 3)),
    ];
    for (part, name, count) in parts {
        (0..count).for_each(|number| cluster.add(part, &format!("{name}-{number}")));
    }
    let agents = usize::try_from(dice.between(3, 6)).unwrap_or(3);
    for index in 0..agents {
        let mut uid = [0; 10];
        model::Random::fill(&dice, &mut uid);
        let uid = InstanceUid::v7(crate::limits::BEGIN_MS, uid);
        cluster.admit(SimAgent::new(world, index, uid, dice.chance(200)));
    }
}

/// Waits until the world is right again, or for as long as it may take; then listens to silence.
async fn heal(
    world: &Arc<World>,
    cluster: &Arc<Cluster>,
    operating: tokio_util::task::AbortOnDropHandle<((), ())>,
) -> Vec<Violation> {
    let calm = Instant::now();
    let limit = calm + HEAL_MAX;
    loop {
        sleep(HEAL_LOOK).await;
        let evidence = Evidence::gather(world, cluster).await;
        let history = world.history();
        let early = invariants::broken_already(&evidence, &history);
        if !early.is_empty() {
            return early;
        }
        let unsettled = invariants::unsettled(&evidence, false);
        drop(history);
        if unsettled.is_empty() && operating.is_finished() {
            break;
        }
        if Instant::now() >= limit {
            return unsettled;
        }
    }
    // What the weather made late has to arrive, and what follows from it.
    sleep_until(calm + Duration::from_millis(LATE_MS.1)).await;
    // Everybody speaks once more: a gap that nobody has seen yet is news, not silence.
    sleep(SETTLE).await;
    let before = invariants::Costs::of(&world.history());
    let started = Instant::now();
    sleep(QUIET).await;
    let quiet = invariants::Costs::of(&world.history()).since(&before);
    let evidence = Evidence::gather(world, cluster).await;
    let history = world.history();
    let mut found = invariants::broken_already(&evidence, &history);
    found.extend(invariants::unsettled(&evidence, true));
    found.extend(invariants::silence(&quiet, &evidence, started.elapsed()));
    found
}
