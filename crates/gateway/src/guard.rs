//! Agents that come too often, by uid, whichever connection they come on: those that connect in a
//! loop, and those that poll without end. Only who was there lately is remembered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opamp::InstanceUid;

use crate::Limits;
use crate::bucket::{Bucket, Rate};

/// Who came how often.
#[derive(Debug)]
pub(crate) struct Guard {
    claims: Table,
    claim_wait_max: Duration,
    polls: Table,
}

#[derive(Debug)]
struct Table {
    rate: Rate,
    max: usize,
    buckets: Mutex<HashMap<InstanceUid, Bucket>>,
}

impl Guard {
    pub(crate) fn new(limits: &Limits) -> Self {
        let table = |rate| Table { rate, max: limits.guarded_max, buckets: Mutex::default() };
        Self {
            claims: table(limits.claims),
            claim_wait_max: limits.claim_wait_max,
            polls: table(limits.messages),
        }
    }

    /// An agent begins a session: says how long it is to wait before, or, if that is too long to
    /// be waited for here, how long it is to stay away.
    pub(crate) fn claim(&self, uid: &InstanceUid, now_ms: u64) -> Result<Duration, Duration> {
        self.claims.reserve(uid, now_ms, self.claim_wait_max)
    }

    /// An agent polls; if that is too often, says how long it is to stay away.
    pub(crate) fn poll(&self, uid: &InstanceUid, now_ms: u64) -> Result<(), Duration> {
        self.polls.reserve(uid, now_ms, Duration::ZERO).map(drop)
    }

    /// An agent is to stay away for so long.
    pub(crate) fn banish(&self, uid: &InstanceUid, now_ms: u64, wait: Duration) {
        let mut buckets = self.claims.buckets();
        if let Some(bucket) = self.claims.bucket(&mut buckets, uid, now_ms) {
            bucket.empty_for(now_ms, self.claims.rate, wait);
        }
    }
}

impl Table {
    fn reserve(
        &self,
        uid: &InstanceUid,
        now_ms: u64,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        // Who asks for a uid comes under none.
        if uid.as_bytes() == &[0; 16] {
            return Ok(Duration::ZERO);
        }
        let mut buckets = self.buckets();
        match self.bucket(&mut buckets, uid, now_ms) {
            Some(bucket) => bucket.reserve(now_ms, self.rate, patience),
            None => Ok(Duration::ZERO),
        }
    }

    /// An agent's bucket; `None` if there are as many as may be, and all of them say something.
    fn bucket<'a>(
        &self,
        buckets: &'a mut HashMap<InstanceUid, Bucket>,
        uid: &InstanceUid,
        now_ms: u64,
    ) -> Option<&'a mut Bucket> {
        // Before it grows, which is seldom, and when it may not.
        let is_crowded = buckets.len() == buckets.capacity() || buckets.len() >= self.max;
        if is_crowded && !buckets.contains_key(uid) {
            buckets.retain(|_, bucket| !bucket.is_full(now_ms));
            if buckets.len() >= self.max {
                return None;
            }
        }
        Some(buckets.entry(*uid).or_default())
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<InstanceUid, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1, burst: 2 };

    fn uid(number: u32) -> InstanceUid {
        let mut bytes = [1; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        InstanceUid::from_bytes(bytes)
    }

    fn guard(guarded_max: usize) -> Guard {
        let claim_wait_max = Duration::from_millis(1_500);
        Guard::new(&Limits { claims: RATE, claim_wait_max, guarded_max, ..Limits::default() })
    }

    #[test]
    fn who_comes_in_a_loop_comes_once_a_second() {
        let guard = guard(100);
        let claims: Vec<_> = (0..4).map(|_| guard.claim(&uid(1), 1_000)).collect();
        let seconds = Duration::from_secs;
        assert_eq!(claims, [Ok(seconds(0)), Ok(seconds(0)), Ok(seconds(1)), Err(seconds(2))]);
        assert_eq!(guard.claim(&uid(2), 1_000), Ok(seconds(0)), "another agent");
        for _ in 0..9 {
            let nobody = InstanceUid::from_bytes([0; 16]);
            assert_eq!(guard.claim(&nobody, 1_000), Ok(seconds(0)));
        }
    }

    #[test]
    fn who_is_banished_stays_away() {
        let guard = guard(100);
        guard.banish(&uid(1), 1_000, Duration::from_secs(30));
        assert_eq!(guard.claim(&uid(1), 11_000), Err(Duration::from_secs(20)));
        assert_eq!(guard.claim(&uid(1), 31_000), Ok(Duration::ZERO));
    }

    #[test]
    fn as_many_are_remembered_as_may_be() {
        let guard = guard(100);
        let buckets = || guard.claims.buckets().len();
        for number in 0..10_000 {
            assert!(guard.claim(&uid(number), 1_000).is_ok());
        }
        assert_eq!(buckets(), 100);
        assert!(guard.claim(&uid(1), 1_000).is_ok() && guard.claim(&uid(1), 1_000).is_ok());
        assert!(guard.claim(&uid(1), 1_000).is_err(), "those that are remembered are guarded");
        assert!(guard.claim(&uid(20_000), 60_000).is_ok());
        assert_eq!(buckets(), 1, "the others were here long ago");
    }
}
