//! Operators' labels, agent by agent.

use std::collections::BTreeMap;

use bytes::Bytes;
use opamp::InstanceUid;
use store::tables::labels::{AgentLabels, decode};
use store::{Key, Outcome, Stored, Table, Version, Write, tables};

use super::Ledger;
use crate::Error;

/// A change of labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Relabel {
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) remove: Vec<String>,
}

impl Relabel {
    /// Labels after the change.
    pub(crate) fn apply(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        labels.retain(|key, _| !self.remove.contains(key));
        labels.extend(self.set.clone());
        labels
    }
}

impl Ledger {
    /// Changes the labels of agents; returns those whose labels are others now. A batch at a time
    /// is written: if it fails half-way, what is done is done, and the same call again does the
    /// rest.
    pub(crate) async fn relabel(
        &self,
        uids: &[InstanceUid],
        change: &Relabel,
    ) -> Result<Vec<InstanceUid>, Error> {
        let mut changed = Vec::new();
        for batch in uids.chunks(self.limits.reassess_max) {
            changed.extend(self.relabel_batch(batch, change).await?);
        }
        Ok(changed)
    }

    async fn relabel_batch(
        &self,
        uids: &[InstanceUid],
        change: &Relabel,
    ) -> Result<Vec<InstanceUid>, Error> {
        let (mut open, mut changed) = (uids.to_vec(), Vec::new());
        for _ in 0..self.limits.write_tries {
            let keys: Vec<Key> = open.iter().map(Key::labels).collect();
            let stored = self.within(self.store.get(&keys)).await?;
            let (mut writes, mut writing) = (Vec::new(), Vec::new());
            for ((uid, key), stored) in open.iter().zip(keys).zip(stored) {
                if let Some(write) = self.relabelled(uid, key, stored, change)? {
                    writes.push(write);
                    writing.push(*uid);
                }
            }
            let outcomes = self.within(self.store.commit(writes)).await?;
            let written = |(_, outcome): &(_, Outcome)| matches!(outcome, Outcome::Written(_));
            let (done, lost): (Vec<_>, Vec<_>) =
                writing.into_iter().zip(outcomes).partition(written);
            changed.extend(done.into_iter().map(|(uid, _)| uid));
            open = lost.into_iter().map(|(uid, _)| uid).collect();
            if open.is_empty() {
                return Ok(changed);
            }
        }
        Err(Error::Aborted("labels".to_owned()))
    }

    /// What to write for one agent; `None` if its labels stay as they are.
    fn relabelled(
        &self,
        uid: &InstanceUid,
        key: Key,
        stored: Option<Stored>,
        change: &Relabel,
    ) -> Result<Option<Write>, Error> {
        let (before, unknown, expected) = match stored {
            None => (BTreeMap::new(), Bytes::new(), Version::ABSENT),
            Some(stored) => {
                let loaded = decode(&key, &stored.value)?;
                (loaded.value.labels, loaded.unknown, stored.version)
            }
        };
        let (labels, max) = (change.apply(&before), self.limits.labels_max);
        if labels == before {
            return Ok(None);
        }
        if labels.len() > max {
            let reason = format!("agents/{uid} would have {}, at most {max}", labels.len());
            return Err(Error::invalid("set", reason));
        }
        let labels = AgentLabels { labels, updated: self.clock.now() };
        let value = tables::labels::encode(&labels, &unknown);
        Ok(Some(self.next(key, expected, value)))
    }

    /// Forgets the labels of agents that are gone. Whoever labels one meanwhile keeps them.
    pub(crate) async fn drop_labels(&self, uids: &[InstanceUid]) -> Result<(), Error> {
        let keys: Vec<Key> = uids.iter().map(Key::labels).collect();
        let stored = self.within(self.store.get(&keys)).await?;
        let delete = |(key, stored): (Key, Option<Stored>)| {
            Some(Write::next(key, stored?.version, Bytes::new()))
        };
        let writes: Vec<Write> = keys.into_iter().zip(stored).filter_map(delete).collect();
        self.within(self.store.commit(writes)).await.map(drop)
    }

    /// All labels there are.
    pub(crate) async fn labels(
        &self,
    ) -> Result<BTreeMap<InstanceUid, BTreeMap<String, String>>, Error> {
        let mut found = BTreeMap::new();
        for (key, stored) in self.entries(Table::Labels).await? {
            match (InstanceUid::try_from(&key.id[..]), decode(&key, &stored.value)) {
                (Ok(uid), Ok(read)) => {
                    found.insert(uid, read.value.labels);
                }
                (Err(_), _) => {}
                (_, Err(error)) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(found)
    }
}
