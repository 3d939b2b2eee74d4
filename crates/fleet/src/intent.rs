//! What operators decided, as this worker knows it: the assignments with their number, and the
//! bodies of configs. Read from the ledger alone; a ledger that is empty or away takes nothing
//! away from anybody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::assign::Assignments;
use model::session::Intent;
use model::settings::SettingsRef;
use model::{Clock, ConfigHash};
use opamp::InstanceUid;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use store::quarantine::Quarantine;
use store::{Generation, Key, Store, Stored, tables};
use trust::Vault;

use crate::{Error, Limits, reply};

/// The operators' side of a worker.
#[derive(Debug)]
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    vault: Option<Arc<Vault>>,
    known: Mutex<Option<Arc<Known>>>,
    /// What is stored cannot be read: until it can, nobody is offered anything.
    unreadable: AtomicBool,
    quarantine: Quarantine,
    clock: Arc<dyn Clock>,
    bodies: Cache<ConfigHash, Bytes, ByteWeight>,
}

/// Labels and their version, by agent.
pub(crate) type Labels = BTreeMap<InstanceUid, (BTreeMap<String, String>, u64)>;

/// One version of the assignments.
#[derive(Debug)]
pub(crate) struct Known {
    assignments: Assignments,
    decision: u64,
}

impl Known {
    pub(crate) fn assignments(&self) -> &Assignments {
        &self.assignments
    }

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
    pub(crate) fn new(
        store: Arc<dyn Store>,
        vault: Option<Arc<Vault>>,
        limits: &Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let entries = usize::try_from(limits.bodies_bytes_max / TYPICAL_BODY_BYTES).unwrap_or(1024);
        let bodies = Cache::with_weighter(entries, limits.bodies_bytes_max, ByteWeight);
        let (unreadable, quarantine) = (AtomicBool::new(false), Quarantine::default());
        Self { store, vault, known: Mutex::default(), unreadable, quarantine, clock, bodies }
    }

    /// The assignments as last read; `None` until they were read once, and while they cannot be.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        if self.unreadable.load(Ordering::Relaxed) {
            return None;
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the assignments again. What is older than what is known is not taken: it comes from
    /// a read that was overtaken, or from a ledger that lost something.
    pub(crate) async fn refresh(&self) -> Result<Arc<Known>, Error> {
        let key = Key::intent();
        let stored = self.value(&key).await?;
        let read = match stored {
            Some(stored) => Known {
                assignments: self.readable(&key, &stored).await?,
                decision: stored.version.0,
            },
            None => Known { assignments: Assignments::default(), decision: 0 },
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(newer) if newer.decision > read.decision => Ok(newer.clone()),
            _ => Ok(known.insert(Arc::new(read)).clone()),
        }
    }

    /// The assignments in this value. Those that cannot be read are not taken for none, and what
    /// was known before may not be what was decided: somebody has to look.
    async fn readable(&self, key: &Key, stored: &Stored) -> Result<Assignments, Error> {
        let read = tables::intent::decode(key, &stored.value);
        self.unreadable.store(read.is_err(), Ordering::Relaxed);
        metrics::gauge!("muster_fleet_intent_unreadable").set(f64::from(u8::from(read.is_err())));
        match read {
            Ok(read) => Ok(read.value),
            Err(error) => {
                self.set_aside(key, stored, &error).await;
                Err(error.into())
            }
        }
    }

    /// The assignments, read again if somebody has seen a newer decision than is known.
    pub(crate) async fn catch_up(&self, decision: u64) -> Result<Arc<Known>, Error> {
        if let Some(known) = self.known().filter(|known| known.decision >= decision) {
            return Ok(known);
        }
        self.refresh().await
    }

    /// The vault that settings are sealed with, if there is one.
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.vault.as_deref()
    }

    /// A blob of the ledger, kept at hand as it is stored.
    pub(crate) async fn blob(&self, hash: &[u8; 32]) -> Result<Option<Bytes>, Error> {
        let key = ConfigHash(*hash);
        if let Some(body) = self.bodies.get(&key) {
            return Ok(Some(body));
        }
        let body = self.store.get_blob(&key).await?;
        if let Some(body) = &body {
            self.bodies.insert(key, body.clone());
        }
        Ok(body)
    }

    /// The sealed content of settings, kept at hand as it is stored. It lies under their name and
    /// hash, so it is theirs, whatever was deleted and made again meanwhile.
    pub(crate) async fn sealed(&self, settings: &SettingsRef) -> Result<Option<Bytes>, Error> {
        let at_hand = ConfigHash(settings.hash.0);
        if let Some(sealed) = self.bodies.get(&at_hand) {
            return Ok(Some(sealed));
        }
        let key = tables::settings::sealed_key(&settings.settings, &settings.hash);
        let Some(stored) = self.value(&key).await? else {
            return Ok(None);
        };
        match tables::settings::decode_sealed(&key, &stored.value) {
            Ok(read) => {
                self.bodies.insert(at_hand, read.value.sealed.clone());
                Ok(Some(read.value.sealed))
            }
            Err(error) => {
                self.set_aside(&key, &stored, &error).await;
                Ok(None)
            }
        }
    }

    /// The `remote_config` field that offers this config, encoded; `None` if the ledger does not
    /// have its body.
    pub(crate) async fn config(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
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

    /// What operators labelled these agents, and the version of it; agents without labels are
    /// left out.
    pub(crate) async fn labels(&self, uids: &[InstanceUid]) -> Result<Labels, Error> {
        if uids.is_empty() {
            return Ok(Labels::new());
        }
        let keys: Vec<Key> = uids.iter().map(Key::labels).collect();
        let mut found = Labels::new();
        for ((uid, key), stored) in uids.iter().zip(&keys).zip(self.store.get(&keys).await?) {
            let Some(stored) = stored else { continue };
            match tables::labels::decode(key, &stored.value) {
                Ok(read) => {
                    found.insert(*uid, (read.value.labels, stored.version.0));
                }
                // The agent keeps those it has.
                Err(error) => {
                    self.set_aside(key, &stored, &error).await;
                }
            }
        }
        Ok(found)
    }

    /// What lies under a key.
    pub(crate) async fn value(&self, key: &Key) -> Result<Option<Stored>, Error> {
        Ok(self.store.get(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// What lies under several.
    pub(crate) async fn values(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        Ok(self.store.get(keys).await?)
    }

    /// Keeps what cannot be read for somebody to look at.
    pub(crate) async fn set_aside(&self, key: &Key, stored: &Stored, error: &store::Error) {
        self.quarantine.keep(&*self.store, key, stored, error, self.clock.now()).await;
    }

    /// How old the ledger is: its youngest shard.
    pub(crate) fn generation(&self) -> Generation {
        self.store.generations().into_iter().max().unwrap_or_default()
    }

    pub(crate) async fn ready(&self) -> Result<(), Error> {
        Ok(self.store.ready().await?)
    }
}
