//! Values that cannot be read are kept where somebody can look at them: a bounded number of places,
//! so that broken values never fill the store. Told of once, by log and metric.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use model::Timestamp;

use crate::limits::{QUARANTINE_BYTES_MAX, QUARANTINE_KNOWN_MAX, QUARANTINE_SLOTS};
use crate::tables::quarantine::{Quarantined, encode};
use crate::{Error, Key, Store, Stored, Table, Version, Write};

/// Who puts values into quarantine, and remembers which.
#[derive(Debug, Default)]
pub struct Quarantine {
    known: Mutex<BTreeSet<(Key, Version)>>,
}

impl Quarantine {
    /// Tells of a value that cannot be read, and keeps it, once. Whoever found it goes on: if it
    /// cannot be kept, the log has said what was wrong.
    pub async fn keep(
        &self,
        store: &dyn Store,
        key: &Key,
        stored: &Stored,
        reason: &(dyn Display + Sync),
        now: Timestamp,
    ) {
        if !self.is_new(key, stored.version) {
            return;
        }
        let table = key.table.name();
        metrics::counter!("muster_store_quarantined_total", "table" => table).increment(1);
        let size = stored.value.len() as u64;
        tracing::error!(%reason, size, "quarantined");
        let kept = stored.value.len().min(QUARANTINE_BYTES_MAX);
        let quarantined = Quarantined {
            table: table.to_owned(),
            id: key.id.clone(),
            version: stored.version,
            found: now,
            reason: reason.to_string(),
            size,
            value: stored.value.slice(..kept),
        };
        if let Err(error) = put(store, &place(key), encode(&quarantined, &Bytes::new())).await {
            tracing::warn!(%error, %key, "its bytes could not be kept");
        }
    }

    fn is_new(&self, key: &Key, version: Version) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= QUARANTINE_KNOWN_MAX {
            known.clear();
        }
        known.insert((key.clone(), version))
    }
}

/// Where a value of this key is kept, in place of whatever is there.
pub fn place(key: &Key) -> Key {
    let table = key.table.name().bytes();
    let hash = table.chain(key.id.iter().copied()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let id = format!("{:03}", hash % QUARANTINE_SLOTS).into();
    Key { table: Table::Quarantine, id }
}

async fn put(store: &dyn Store, key: &Key, value: Bytes) -> Result<(), Error> {
    let there = store.get(std::slice::from_ref(key)).await?.pop().flatten();
    let expected = there.map_or(Version::ABSENT, |there| there.version);
    // Whoever was first has something to look at as well.
    store.commit(vec![Write::next(key.clone(), expected, value)]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use opamp::InstanceUid;

    use super::*;
    use crate::{Memory, tables};

    const NOW: Timestamp = Timestamp(7);

    async fn kept(store: &Memory, key: &Key) -> Option<Quarantined> {
        let place = place(key);
        let stored = store.get(std::slice::from_ref(&place)).await.unwrap().pop().flatten()?;
        Some(tables::quarantine::decode(&place, &stored.value).unwrap().value)
    }

    fn broken(version: u64, value: Vec<u8>) -> Stored {
        Stored { version: Version(version), value: value.into(), events: Bytes::new() }
    }

    #[tokio::test]
    async fn a_value_is_kept_once_and_not_more_of_it_than_is_good() {
        let (store, quarantine) = (Memory::default(), Quarantine::default());
        let key = Key::agent(&InstanceUid::from_bytes([1; 16]));
        let error = Error::Corrupt { key: key.to_string(), reason: "why".to_owned() };
        for _ in 0..2 {
            quarantine.keep(&store, &key, &broken(5, vec![9; 100]), &error, NOW).await;
        }
        let found = kept(&store, &key).await.unwrap();
        assert_eq!((&found.id, found.version, found.size), (&key.id, Version(5), 100));
        assert!(found.reason.contains("why") && found.value == vec![9; 100]);
        let place = store.get(&[place(&key)]).await.unwrap().pop().flatten();
        assert_eq!(place.unwrap().version, Version(1), "written once");
        quarantine.keep(&store, &key, &broken(6, vec![9; 100 << 10]), &error, NOW).await;
        let found = kept(&store, &key).await.unwrap();
        assert_eq!((found.size, found.value.len()), (100 << 10, QUARANTINE_BYTES_MAX));
    }

    #[tokio::test]
    async fn however_many_break_there_are_so_many_places() {
        let (store, quarantine) = (Memory::default(), Quarantine::default());
        let mut places = BTreeSet::new();
        for number in 0..2000_u16 {
            let key = Key::config(&number.to_string());
            let error = Error::Corrupt { key: key.to_string(), reason: "why".to_owned() };
            quarantine.keep(&store, &key, &broken(1, vec![1]), &error, NOW).await;
            assert!(kept(&store, &key).await.is_some());
            places.insert(place(&key));
        }
        assert!(places.len() as u64 <= QUARANTINE_SLOTS && places.len() > 200);
    }
}
