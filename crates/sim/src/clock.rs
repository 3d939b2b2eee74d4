//! The time of day as one process sees it: the world's, and how far its own clock is off.

use std::sync::Arc;

use model::Timestamp;
use tokio::time::Instant;

use crate::limits::BEGIN_MS;
use crate::process::Process;

/// One process's clock.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) began: Instant,
    pub(crate) process: Arc<Process>,
}

impl model::Clock for Clock {
    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp((BEGIN_MS + passed).saturating_add_signed(self.process.skew_ms()))
    }
}
