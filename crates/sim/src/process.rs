//! A process of the simulated world, as its surroundings see it: it runs, stands still, or is dead;
//! its bus is there or cut; its clock is right or not.
//!
//! All processes share one runtime, so a dead one's tasks are not torn out of it. They are cut off
//! instead: whatever they ask of a seam never comes back, and nothing they do is seen again. A
//! paused one's calls wait at the seams until it goes on.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use tokio::sync::Notify;

const RUNS: u8 = 0;
const PAUSED: u8 = 1;
const DEAD: u8 = 2;

/// One life of a process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    state: AtomicU8,
    changed: Notify,
    skew_ms: AtomicI64,
    /// Nothing it sends arrives.
    mute: AtomicBool,
    /// Nothing that is sent to it arrives.
    deaf: AtomicBool,
    /// Something was done to it.
    touched: AtomicBool,
}

impl Process {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: AtomicU8::new(RUNS),
            changed: Notify::new(),
            skew_ms: AtomicI64::new(0),
            mute: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            touched: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state.load(Ordering::Relaxed) == DEAD
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PAUSED
    }

    pub(crate) fn die(&self) {
        self.set(DEAD);
    }

    pub(crate) fn pause(&self) {
        if !self.is_dead() {
            self.set(PAUSED);
        }
    }

    pub(crate) fn resume(&self) {
        if self.is_paused() {
            self.set(RUNS);
        }
    }

    fn set(&self, state: u8) {
        self.touch();
        self.state.store(state, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits while the process stands still; for ever once it is dead.
    pub(crate) async fn pass(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state.load(Ordering::Relaxed) == RUNS {
                return;
            }
            changed.await;
        }
    }

    /// Waits for its death.
    pub(crate) async fn death(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_dead() {
                return;
            }
            changed.await;
        }
    }

    /// Notes that something was done to it, whatever it does from then on.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    pub(crate) fn cut(&self, mute: bool, deaf: bool) {
        self.touch();
        self.mute.store(mute, Ordering::Relaxed);
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.mute.load(Ordering::Relaxed)
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    pub(crate) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn step_clock(&self, skew_ms: i64) {
        self.touch();
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}
