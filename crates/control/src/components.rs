//! Lists of components, by content: read from the records' store once, and looked through here.
//! What may not enter: which agent has which list, which the view knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::components::{Component, ListHash, flatten};
use opamp::v1::AvailableComponents;
use store::{Key, Store, tables};

use crate::error::within;
use crate::{Error, Limits};

/// The lists that were read, flat.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    limits: Limits,
    records: Arc<dyn Store>,
    read: Arc<Mutex<BTreeMap<ListHash, Arc<[Component]>>>>,
}

/// Lists read in one go.
const READ_AT_ONCE: usize = 32;

impl Lists {
    pub(crate) fn new(limits: Limits, records: Arc<dyn Store>) -> Self {
        Self { limits, records, read: Arc::default() }
    }

    /// The components of these lists. One that the store does not have, or that cannot be read, is
    /// left out. Lists that nobody has any more are forgotten.
    pub(crate) async fn of(
        &self,
        wanted: &BTreeSet<ListHash>,
    ) -> Result<BTreeMap<ListHash, Arc<[Component]>>, Error> {
        if wanted.len() > self.limits.component_lists_max {
            let most = self.limits.component_lists_max;
            let what = format!("agents with more than {most} different lists of components");
            return Err(Error::Exhausted(what));
        }
        let known: BTreeSet<ListHash> = self.read().keys().copied().collect();
        let missing: Vec<ListHash> = wanted.difference(&known).copied().collect();
        for some in missing.chunks(READ_AT_ONCE) {
            let lists = self.fetch(some).await?;
            let flat = lists.into_iter().map(|(hash, list)| (hash, flatten(&list).into()));
            self.read().extend(flat);
        }
        let mut read = self.read();
        let found = read.iter().filter(|(hash, _)| wanted.contains(hash));
        let found = found.map(|(hash, list)| (*hash, list.clone())).collect();
        if read.len() > self.limits.component_lists_max {
            read.retain(|hash, _| wanted.contains(hash));
        }
        Ok(found)
    }

    /// One list as its agent said it.
    pub(crate) async fn whole(&self, hash: ListHash) -> Result<Option<AvailableComponents>, Error> {
        Ok(self.fetch(&[hash]).await?.pop().map(|(_, list)| list))
    }

    async fn fetch(
        &self,
        hashes: &[ListHash],
    ) -> Result<Vec<(ListHash, AvailableComponents)>, Error> {
        let keys: Vec<Key> = hashes.iter().map(Key::component_list).collect();
        let get = self.records.get(&keys);
        let stored = within(self.limits.store_timeout, "the store", get).await?;
        let mut found = Vec::new();
        for ((hash, key), stored) in hashes.iter().zip(&keys).zip(stored) {
            let Some(stored) = stored else { continue };
            match tables::components::decode_list(key, &stored.value) {
                Ok(list) => found.push((*hash, list.value)),
                Err(error) => tracing::warn!(%error, "a list of components is left out"),
            }
        }
        Ok(found)
    }

    fn read(&self) -> MutexGuard<'_, BTreeMap<ListHash, Arc<[Component]>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
