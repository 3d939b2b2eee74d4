//! What everything in a run shares: time, weather, the trace, and the history that is judged.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::Memory;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::dice::Dice;
use crate::history::History;
use crate::limits::TRACE_LINES_MAX;
use crate::weather::Sky;

/// One run's world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) began: Instant,
    pub(crate) sky: Sky,
    pub(crate) history: Mutex<History>,
    /// What lies at the bottom of the stores, below anything that may be broken.
    pub(crate) records: Memory,
    pub(crate) ledger: Memory,
    /// Owns what moves between processes.
    pub(crate) tasks: TaskTracker,
    trace: Mutex<Trace>,
}

#[derive(Debug, Default)]
struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
    scratch: String,
    events: u64,
}

impl World {
    /// A world that begins now. It keeps its trace's text only if somebody wants to read it.
    pub(crate) fn new(seed: u64, keeps_text: bool) -> Arc<Self> {
        let trace = Trace { lines: keeps_text.then(Vec::new), ..Trace::default() };
        Arc::new(Self {
            seed,
            began: Instant::now(),
            sky: Sky::default(),
            history: Mutex::default(),
            records: Memory::default(),
            ledger: Memory::default(),
            tasks: TaskTracker::new(),
            trace: Mutex::new(trace),
        })
    }

    pub(crate) fn dice(&self, name: &str) -> Dice {
        Dice::new(self.seed, name)
    }

    /// Milliseconds since the world began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened. Its text and time are the run's identity.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        let trace = &mut *trace;
        trace.scratch.clear();
        // A String takes everything.
        let _ = write!(trace.scratch, "{:>7} {what}", self.now_ms());
        let crc = crc32fast::hash(trace.scratch.as_bytes());
        trace.hash =
            (trace.hash.rotate_left(5) ^ u64::from(crc)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        trace.events += 1;
        if let Some(lines) = &mut trace.lines
            && lines.len() < TRACE_LINES_MAX
        {
            lines.push(trace.scratch.clone());
        }
    }

    /// The trace's hash, its number of events, and its text if it was kept.
    pub(crate) fn traced(&self) -> (u64, u64, Vec<String>) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        (trace.hash, trace.events, trace.lines.take().unwrap_or_default())
    }
}
