//! Tokens that come back at a steady rate, as one number. Pure.

use std::time::Duration;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a rest.
    pub burst: u32,
}

impl Rate {
    fn interval_us(self) -> u64 {
        1_000_000 / u64::from(self.per_second.max(1))
    }

    fn burst_us(self) -> u64 {
        self.interval_us() * u64::from(self.burst.max(1))
    }
}

/// A bucket of tokens: full to begin with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// When every token is back, in microseconds of the process's life.
    full_at_us: u64,
}

impl Bucket {
    /// Takes a token, or says how long until there is one.
    pub(crate) fn take(&mut self, now_ms: u64, rate: Rate) -> Result<(), Duration> {
        self.reserve(now_ms, rate, Duration::ZERO).map(drop)
    }

    /// Takes a token that is there in `patience` at the latest, and says in how long; or, taking
    /// none, how long it would be.
    pub(crate) fn reserve(
        &mut self,
        now_ms: u64,
        rate: Rate,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        let now_us = now_ms * 1_000;
        let full_at_us = self.full_at_us.max(now_us) + rate.interval_us();
        let wait = Duration::from_micros((full_at_us - now_us).saturating_sub(rate.burst_us()));
        if wait > patience {
            return Err(wait);
        }
        self.full_at_us = full_at_us;
        Ok(wait)
    }

    /// From now on there is no token for so long.
    pub(crate) fn empty_for(&mut self, now_ms: u64, rate: Rate, wait: Duration) {
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
        let until = now_ms * 1_000 + wait_us + rate.burst_us() - rate.interval_us();
        self.full_at_us = self.full_at_us.max(until);
    }

    /// Whether it says nothing that a new one would not.
    pub(crate) fn is_full(&self, now_ms: u64) -> bool {
        self.full_at_us <= now_ms * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(5_000, RATE), Ok(()));
        }
        assert_eq!(bucket.take(5_000, RATE), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(5_099, RATE), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(5_100, RATE), Ok(()));
        let later = (5_101..15_101).filter(|now| bucket.take(*now, RATE).is_ok()).count();
        assert_eq!(later, 100, "ten a second");
        assert!(!bucket.is_full(15_101) && bucket.is_full(15_500));
    }

    #[test]
    fn tokens_may_be_waited_for_up_to_a_bound() {
        let mut bucket = Bucket::default();
        let mut waits = Vec::new();
        while let Ok(wait) = bucket.reserve(1_000, RATE, Duration::from_millis(250)) {
            waits.push(wait.as_millis());
        }
        assert_eq!(waits, [0, 0, 0, 100, 200]);
    }

    #[test]
    fn emptied_it_is_empty_for_that_long() {
        let mut bucket = Bucket::default();
        bucket.empty_for(1_000, RATE, Duration::from_secs(30));
        assert_eq!(bucket.take(1_000, RATE), Err(Duration::from_secs(30)));
        assert_eq!(bucket.take(31_000, RATE), Ok(()));
    }
}
