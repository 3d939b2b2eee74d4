//! Many seeds, on as many threads as there are processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::run::{Outcome, Profile, run};
use crate::variants::Variant;

/// A range of seeds to run.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// With which faults.
    pub profile: Profile,
    /// With what broken.
    pub variant: Variant,
    /// Stop at the first seed that finds something.
    pub until_found: bool,
    /// Stop beginning new seeds after this long.
    pub at_most: Duration,
    /// Threads.
    pub threads: usize,
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run to their end.
    pub seeds: u64,
    /// Those that found something, in their order.
    pub failed: Vec<Outcome>,
    /// Time in all simulated worlds together.
    pub simulated: Duration,
    /// Time on the wall.
    pub took: Duration,
    /// Events in all traces.
    pub events: u64,
}

impl Campaign {
    /// Runs them.
    pub fn run(&self) -> Summary {
        let started = Instant::now();
        let next = AtomicU64::new(self.first);
        let summary = Mutex::new(Summary::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(started, &next, &summary));
            }
        });
        let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        summary.failed.sort_by_key(|outcome| outcome.seed);
        summary.took = started.elapsed();
        summary
    }

    fn work(&self, started: Instant, next: &AtomicU64, summary: &Mutex<Summary>) {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.first + self.count || started.elapsed() > self.at_most {
                return;
            }
            let outcome = run(seed, self.profile, self.variant, false);
            let mut all = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.seeds += 1;
            all.simulated += outcome.simulated;
            all.events += outcome.events;
            let found = !outcome.violations.is_empty();
            if found {
                all.failed.push(outcome);
            }
            if found && self.until_found {
                // Nobody begins another one.
                next.store(u64::MAX / 2, Ordering::Relaxed);
            }
        }
    }
}

impl Summary {
    /// How much faster than the world the simulation is.
    pub fn speed(&self) -> f64 {
        self.simulated.as_secs_f64() / self.took.as_secs_f64().max(1e-9)
    }
}
