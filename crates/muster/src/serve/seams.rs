//! The real clock and the real randomness: the only place that asks the machine for either.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, UNIX_EPOCH};

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
        Self { clock: Arc::new(SteadyClock::start()), random: Arc::new(SystemRandom) }
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

/// The machine's wall clock, read once.
#[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
pub(crate) fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Wall time that never steps: the wall clock at the start, and from then on the time that passed.
/// Where the wall clock is set meanwhile, it is followed so slowly that nobody's lease ends early
/// or late: a second in a minute.
#[derive(Debug)]
struct SteadyClock {
    started: Instant,
    shown: Mutex<Shown>,
}

/// What was told last, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// Since the start, by the clock that does not step.
    passed: i128,
    unix: i128,
}

/// Time that passes for each unit of time that is made up for.
const SLEW: i128 = 60;

impl Shown {
    /// Goes on to when so much has passed and the wall clock shows this.
    fn advance(&mut self, passed: i128, wall: i128) {
        let elapsed = (passed - self.passed).max(0);
        let (expected, most) = (self.unix + elapsed, elapsed / SLEW);
        self.unix = expected + (wall - expected).clamp(-most, most);
        self.passed += elapsed;
    }
}

impl SteadyClock {
    fn start() -> Self {
        let shown = Shown { passed: 0, unix: i128::from(unix_ms()) * NANOS_PER_MS };
        Self { started: Instant::now(), shown: Mutex::new(shown) }
    }
}

const NANOS_PER_MS: i128 = 1_000_000;

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = i128::try_from(self.started.elapsed().as_nanos()).unwrap_or(i128::MAX);
        shown.advance(passed, i128::from(unix_ms()) * NANOS_PER_MS);
        Timestamp(u64::try_from(shown.unix / NANOS_PER_MS).unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000 * NANOS_PER_MS;
    const HOUR: i128 = 3600 * SECOND;

    #[test]
    fn a_step_of_the_wall_clock_changes_nothing_at_once_and_is_made_up_for() {
        for step in [HOUR, -HOUR, 20 * SECOND] {
            let mut shown = Shown { passed: 0, unix: HOUR * 500_000 };
            let start = shown.unix;
            shown.advance(SECOND, start + SECOND);
            assert_eq!(shown.unix, start + SECOND, "without a step it is the wall clock");
            // A minute after the step, asked every millisecond.
            let mut before = shown.unix;
            for passed in (1..=60_000).map(|ms| SECOND + ms * NANOS_PER_MS) {
                shown.advance(passed, start + passed + step);
                assert!(shown.unix > before, "time goes on");
                before = shown.unix;
            }
            let made_up = shown.unix - (start + 61 * SECOND);
            assert!((made_up.abs() - SECOND).abs() < SECOND / 100, "{made_up}");
            assert_eq!(made_up.signum(), step.signum());
            // A week on, asked rarely.
            for hours in 1..200 {
                let passed = 61 * SECOND + hours * HOUR;
                shown.advance(passed, start + passed + step);
            }
            assert_eq!(shown.unix, start + shown.passed + step, "as the wall clock again");
        }
    }

    #[test]
    fn the_clock_shows_the_time_of_day() {
        let (clock, wall) = (SteadyClock::start(), unix_ms());
        assert!(clock.now().0.abs_diff(wall) < 1_000);
    }
}
