//! How long to wait before trying again.

use std::time::Duration;

use crate::Limits;

/// Waits that double up to a most.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { min: limits.retry_min, max: limits.retry_max, next: limits.retry_min }
    }

    /// Waits, and will wait twice as long the next time.
    pub(crate) async fn wait(&mut self) {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        tokio::time::sleep(wait).await;
    }

    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn doubles_to_its_most_and_starts_over() {
        let limits = Limits {
            retry_min: Duration::from_millis(10),
            retry_max: Duration::from_millis(30),
            ..Limits::default()
        };
        let mut backoff = Backoff::new(&limits);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let start = tokio::time::Instant::now();
            backoff.wait().await;
            waits.push(start.elapsed().as_millis());
        }
        assert_eq!(waits, [10, 20, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next, limits.retry_min);
    }
}
