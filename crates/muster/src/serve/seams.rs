//! The real clock and the real randomness: the only place that asks the machine for either.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use model::{Clock, Random, Timestamp};
use rand::RngCore as _;

/// What the rooms need from the world.
#[derive(Debug, Clone)]
pub(crate) struct Seams {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Seams {
    /// The machine's own.
    pub(crate) fn of_this_machine() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) }
    }

    /// A name that no other process has: 8 hex digits.
    pub(crate) fn name(&self) -> String {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The machine's wall clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl SystemClock {
    /// Milliseconds since the Unix epoch; 0 on a machine whose clock is before it.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
    pub(crate) fn unix_ms() -> u64 {
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(Self::unix_ms())
    }
}

/// A generator seeded by the operating system.
#[derive(Debug)]
struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
