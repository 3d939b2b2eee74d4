//! How old the records are. A store that was emptied or set back is known by its generation, and
//! whoever holds agents is told, so that they report again.

use std::sync::Arc;

use bus::{Subject, v1};
use model::Timestamp;
use opamp::InstanceUid;
use store::{Generation, Key};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Records that are this much younger than the ledger, in milliseconds, are not the first: a new
/// deployment makes both at about the same time.
const MADE_TOGETHER_MS: u64 = 600_000;
/// For how long after records were lost an agent that nobody knows may be an old one, in
/// milliseconds: all of them have reported again by then.
const RETURN_MS: u64 = 600_000;

impl Engine {
    /// The generation of a record.
    pub(crate) fn generation(&self, key: &Key) -> Generation {
        self.records.generations()[usize::from(key.shard())]
    }

    /// That of the youngest record there could be.
    pub(crate) fn newest_generation(&self) -> Generation {
        self.records.generations().into_iter().max().unwrap_or_default()
    }

    /// Records of these agents cannot be read, and they have not just spoken: who holds them asks
    /// them to.
    pub(crate) async fn tell_lost(&self, lost: &[InstanceUid]) {
        if lost.is_empty() {
            return;
        }
        let lost = lost.iter().map(|uid| uid.as_bytes().to_vec().into()).collect();
        let message = v1::Generation { generation: self.newest_generation().0, lost };
        if let Err(error) = self.bus.publish(&Subject::Generation, &message).await {
            tracing::debug!(%error, "agents of broken records not asked");
        }
    }

    /// Since when an agent without a record counts as seen. Shortly after records were lost, it may
    /// have been there long before: then it has to wait for decisions like all others.
    pub(crate) fn first_seen(&self, key: &Key, now: Timestamp) -> Timestamp {
        let (records, ledger) = (self.generation(key), self.ledger.generation());
        let lost = records.0 > ledger.0.saturating_add(MADE_TOGETHER_MS);
        let lately = now.0 < records.0.saturating_add(RETURN_MS);
        if lost && lately { Timestamp(0) } else { now }
    }
}

/// Tells how old the records are: at once when that changes, and from time to time, since anybody
/// may miss it.
pub(crate) async fn announce(engine: Arc<Engine>, shutdown: CancellationToken) {
    let mut tick = interval(engine.limits.ready_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = (Generation(0), Timestamp(0));
    let again = u64::try_from(engine.limits.generation_interval.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let newest = engine.newest_generation();
        let now = engine.clock.now();
        if newest == told.0 && now.millis_since(told.1) < again {
            continue;
        }
        let message = v1::Generation { generation: newest.0, lost: Vec::new() };
        match engine.bus.publish(&Subject::Generation, &message).await {
            Ok(()) => told = (newest, now),
            Err(error) => tracing::debug!(%error, "age of the records not told"),
        }
    }
}
