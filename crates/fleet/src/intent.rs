//! What operators decided, as this worker knows it: the assignments with their number, and the
//! bodies of configs. Read from the ledger alone; a ledger that is empty or away takes nothing
//! away from anybody.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::ConfigHash;
use model::assign::Assignments;
use model::session::Intent;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use store::{Key, Store, tables};

use crate::{Error, Limits, reply};

/// The operators' side of a worker.
#[derive(Debug)]
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    known: Mutex<Option<Arc<Known>>>,
    bodies: Cache<ConfigHash, Bytes, ByteWeight>,
}

/// One version of the assignments.
#[derive(Debug)]
pub(crate) struct Known {
    assignments: Assignments,
    decision: u64,
}

impl Known {
    pub(crate) fn intent(&self) -> Intent<'_> {
        Intent { assignments: &self.assignments, decision: self.decision }
    }
}

#[derive(Debug, Clone)]
struct ByteWeight;

impl Weighter<ConfigHash, Bytes> for ByteWeight {
    fn weight(&self, _: &ConfigHash, body: &Bytes) -> u64 {
        body.len() as u64 + 64
    }
}

/// Config bodies are a few KiB; the cache's table is sized for that.
const TYPICAL_BODY_BYTES: u64 = 4 << 10;

impl Ledger {
    pub(crate) fn new(store: Arc<dyn Store>, limits: &Limits) -> Self {
        let entries = usize::try_from(limits.bodies_bytes_max / TYPICAL_BODY_BYTES).unwrap_or(1024);
        let bodies = Cache::with_weighter(entries, limits.bodies_bytes_max, ByteWeight);
        Self { store, known: Mutex::default(), bodies }
    }

    /// The assignments as last read; `None` until they were read once.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the decision last read.
    pub(crate) fn decision(&self) -> Option<u64> {
        self.known().map(|known| known.decision)
    }

    /// Reads the assignments again. What is older than what is known is not taken: it comes from
    /// a read that was overtaken, or from a ledger that lost something.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let key = Key::intent();
        let stored = self.store.get(std::slice::from_ref(&key)).await?.pop().flatten();
        let read = match stored {
            Some(stored) => Known {
                assignments: tables::intent::decode(&key, &stored.value)?.value,
                decision: stored.version.0,
            },
            None => Known { assignments: Assignments::default(), decision: 0 },
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.decision <= read.decision) {
            *known = Some(Arc::new(read));
        }
        Ok(())
    }

    /// Makes sure that a decision is known which somebody has seen already.
    pub(crate) async fn catch_up(&self, decision: u64) -> Result<(), Error> {
        if self.decision().is_some_and(|known| known >= decision) {
            return Ok(());
        }
        self.refresh().await
    }

    /// The `remote_config` field that offers this config, encoded; `None` if the ledger does not
    /// have its body.
    pub(crate) async fn offer(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        if let Some(offer) = self.bodies.get(hash) {
            return Ok(Some(offer));
        }
        let Some(body) = self.store.get_blob(hash).await? else {
            return Ok(None);
        };
        let offer = reply::remote_config(hash, &body);
        self.bodies.insert(*hash, offer.clone());
        Ok(Some(offer))
    }

    pub(crate) async fn ready(&self) -> Result<(), Error> {
        Ok(self.store.ready().await?)
    }
}
