//! Messages that a worker does not survive: bugs, mostly. A panic costs the message that met it,
//! and no other of its batch. An agent whose messages do so again and again is kept waiting, so
//! that they do not come round for ever.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use model::Timestamp;
use opamp::InstanceUid;
use prost::Message as _;
use store::{Key, Stored, Version};

use crate::Error;
use crate::engine::{Done, Engine};
use crate::job::{Job, What};
use crate::outbox::Announcement;

/// Agents remembered. Beyond it the one that is free soonest is forgotten.
const AGENTS_MAX: usize = 1024;
/// Panics over an agent's messages before it has to wait: the gateway asks again by itself, and
/// another worker may do better.
const PATIENCE: u32 = 3;
/// How long it waits at first, and at most. Each panic more doubles it.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Agents whose messages made this worker panic.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    agents: Mutex<BTreeMap<InstanceUid, Suspect>>,
}

#[derive(Debug, Default)]
struct Suspect {
    panics: u32,
    until: Timestamp,
}

impl Poison {
    /// How long an agent has to wait, if it has to.
    pub(crate) fn pause(&self, uid: &InstanceUid, now: Timestamp) -> Option<Duration> {
        let left = self.agents().get(uid)?.until.millis_since(now);
        (left > 0).then(|| Duration::from_millis(left))
    }

    fn panicked(&self, uid: InstanceUid, now: Timestamp) {
        let mut agents = self.agents();
        if agents.len() >= AGENTS_MAX && !agents.contains_key(&uid) {
            let soonest = agents.iter().min_by_key(|(_, suspect)| suspect.until);
            let soonest = soonest.map(|(uid, _)| *uid);
            soonest.map(|uid| agents.remove(&uid));
        }
        let suspect = agents.entry(uid).or_default();
        suspect.panics = suspect.panics.saturating_add(1);
        if let Some(beyond) = suspect.panics.checked_sub(PATIENCE) {
            let pause = PAUSES.0.saturating_mul(1 << beyond.min(16)).min(PAUSES.1);
            suspect.until = Timestamp(now.0 + u64::try_from(pause.as_millis()).unwrap_or(0));
        }
    }

    /// One of its messages was worked on.
    fn survived(&self, uid: &InstanceUid) {
        self.agents().remove(uid);
    }

    fn agents(&self) -> MutexGuard<'_, BTreeMap<InstanceUid, Suspect>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does something that a bug may end; `None` if one did.
pub(crate) async fn contained<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    if done.is_err() {
        metrics::counter!("muster_fleet_panics_total").increment(1);
    }
    done.ok()
}

impl Engine {
    /// A round whose panics cost only the messages that met them: those are found one by one.
    pub(crate) async fn contained_round(
        &self,
        jobs: &[Job],
        open: &[usize],
        results: &mut [Option<Result<Done, Error>>],
        announcement: &mut Announcement,
    ) -> Result<(), Error> {
        if let Some(done) = contained(self.round(jobs, open, results, announcement)).await {
            return done;
        }
        for index in open {
            if results[*index].is_some() {
                continue;
            }
            let alone = std::slice::from_ref(index);
            match contained(self.round(jobs, alone, results, announcement)).await {
                Some(Ok(())) => self.poison.survived(&jobs[*index].uid),
                Some(Err(error)) => results[*index] = Some(Err(error)),
                None => {
                    self.dead_letter(&jobs[*index]).await;
                    results[*index] = Some(Err(Error::Panicked(jobs[*index].uid)));
                }
            }
        }
        Ok(())
    }

    /// Keeps the message for somebody to look at.
    async fn dead_letter(&self, job: &Job) {
        let now = self.clock.now();
        self.poison.panicked(job.uid, now);
        tracing::error!(uid = %job.uid, "a message made the worker panic");
        let (What::Claim { message, .. }
        | What::Report { message, .. }
        | What::Poll { message, .. }) = &job.what
        else {
            return;
        };
        let value = message.encode_to_vec().into();
        let letter = Stored { version: Version(now.0), value, events: Bytes::new() };
        let key = Key::agent(&job.uid);
        let reason = "a message of this agent made a worker panic";
        let kept = self.quarantine.keep(&*self.records, &key, &letter, &reason, now);
        let _ = contained(kept).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_panics_again_and_again_waits_longer_and_is_forgiven() {
        let (poison, uid) = (Poison::default(), InstanceUid::from_bytes([1; 16]));
        let now = Timestamp(1_000);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            poison.panicked(uid, now);
            pauses.push(poison.pause(&uid, now).map(|pause| pause.as_secs()));
        }
        assert_eq!(pauses[..4], [None, None, Some(5), Some(10)]);
        assert_eq!(pauses[11], Some(600), "there is an end to it");
        assert_eq!(poison.pause(&uid, Timestamp(601_000)), None, "one more try");
        poison.survived(&uid);
        assert_eq!(poison.pause(&uid, now), None);
    }

    #[test]
    fn however_many_are_suspect_so_many_are_remembered() {
        let poison = Poison::default();
        for number in 0..3 * AGENTS_MAX {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            poison.panicked(InstanceUid::from_bytes(bytes), Timestamp(0));
        }
        assert_eq!(poison.agents().len(), AGENTS_MAX);
    }
}
