//! The worker as a value: made, run, stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::{Client, Subject, WORKERS};
use model::{Clock, Random};
use store::quarantine::Quarantine;
use store::{SHARDS, Store};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trust::Vault;

use crate::batch::Shared;
use crate::components::Lists;
use crate::credentials::Teller;
use crate::engine::Engine;
use crate::intent::Ledger;
use crate::outbox::Sweep;
use crate::poison::Poison;
use crate::{Error, Limits, command, generation, sessions};

/// How a worker is set up.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What it allows itself.
    pub limits: Limits,
    /// Opens what offers hold that is secret; without it they are not made.
    pub vault: Option<Arc<Vault>>,
    /// Where agents reach us: told with a credential where no settings say it.
    pub agent_url: Option<String>,
}

/// One worker of the fleet-state pool.
#[derive(Debug)]
pub struct Worker {
    engine: Arc<Engine>,
    ready: Arc<AtomicBool>,
}

impl Worker {
    /// A worker on this bus, these records and this ledger.
    pub fn new(
        config: Config,
        bus: Client,
        records: Arc<dyn Store>,
        ledger: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let Config { limits, vault, agent_url } = config;
        if let Some(vault) = &vault {
            tracing::info!(keys = vault.ids().join(","), "opens what is sealed");
        }
        let ledger = Ledger::new(ledger, vault, &limits, clock.clone());
        let (quarantine, poison) = (Quarantine::default(), Poison::default());
        let lists = Lists::new(records.clone(), clock.clone());
        let engine = Engine {
            limits,
            bus,
            records,
            ledger,
            clock,
            random,
            quarantine,
            poison,
            lists,
            teller: Teller::new(agent_url),
        };
        Self { engine: Arc::new(engine), ready: Arc::default() }
    }

    /// Whether it takes messages and both stores answered lately.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Works until told to stop, then finishes what it has in hand.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), Error> {
        let (bus, limits) = (&self.engine.bus, self.engine.limits);
        let reports = bus.join(&Subject::Report, WORKERS, limits.inbox_max).await?;
        let closes = bus.join(&Subject::Close, WORKERS, limits.inbox_max).await?;
        let reassess = bus.join(&Subject::Reassess, WORKERS, limits.inbox_max).await?;
        let forget = bus.join(&Subject::Forget, WORKERS, limits.inbox_max).await?;
        let resume = bus.join(&Subject::Resume, WORKERS, limits.inbox_max).await?;
        let reap = bus.join(&Subject::Reap, WORKERS, limits.inbox_max).await?;
        let command = bus.join(&Subject::Command, WORKERS, limits.inbox_max).await?;
        let presence = bus.join(&Subject::Presence, WORKERS, limits.inbox_max).await?;
        let intent = bus.subscribe(&Subject::Intent, limits.inbox_max).await?;

        let tasks = TaskTracker::new();
        let shared = Shared {
            engine: self.engine.clone(),
            tasks: tasks.clone(),
            batches: Arc::new(Semaphore::new(limits.batches_max)),
            reassessments: Arc::new(Semaphore::new(limits.reassessments_max)),
            contests: Arc::new(Semaphore::new(limits.contests_max)),
            shutdown: shutdown.clone(),
        };
        // The assignments first: a worker that does not know them offers nothing.
        tasks.spawn(upkeep(self.engine.clone(), self.ready.clone(), shutdown.clone()));
        tasks.spawn(sweep(self.engine.clone(), shutdown.clone()));
        tasks.spawn(generation::announce(self.engine.clone(), shutdown.clone()));
        tasks.spawn(shared.clone().intent(intent));
        tasks.spawn(shared.clone().reports(reports));
        tasks.spawn(shared.clone().closes(closes));
        tasks.spawn(shared.clone().reassessments(reassess));
        tasks.spawn(shared.clone().forgets(forget));
        tasks.spawn(shared.clone().each(resume, sessions::resume));
        tasks.spawn(shared.clone().each(reap, sessions::reap));
        tasks.spawn(shared.clone().each(command, command::hand_over));
        tasks.spawn(shared.presence(presence));

        shutdown.cancelled().await;
        self.ready.store(false, Ordering::Relaxed);
        tasks.close();
        if tokio::time::timeout(limits.stop_timeout, tasks.wait()).await.is_err() {
            tracing::warn!("stopped with work in hand; its gateways ask again");
        }
        Ok(())
    }
}

/// Keeps the assignments fresh and readiness truthful.
async fn upkeep(engine: Arc<Engine>, ready: Arc<AtomicBool>, shutdown: CancellationToken) {
    let mut check = interval(engine.limits.ready_interval);
    let mut refresh = interval(engine.limits.intent_refresh);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = refresh.tick() => {
                if let Err(error) = engine.ledger.refresh().await {
                    tracing::warn!(%error, "assignments not read");
                }
            }
            _ = check.tick() => {
                let stores = async { engine.records.ready().await?; engine.ledger.ready().await };
                let answered = stores.await.is_ok();
                ready.store(answered && engine.ledger.known().is_some(), Ordering::Relaxed);
            }
        }
    }
}

/// Looks through every shard once at the start, since a predecessor may have crashed, then one
/// at a time for ever.
async fn sweep(engine: Arc<Engine>, shutdown: CancellationToken) {
    let mut sweep = Sweep::default();
    let mut tick = interval(engine.limits.sweep_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut at_start = SHARDS;
    loop {
        if at_start > 0 {
            at_start -= 1;
        } else {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
        }
        if let Err(error) = sweep.next(&engine.bus, &*engine.records).await {
            tracing::debug!(%error, "sweep put off");
        }
    }
}
