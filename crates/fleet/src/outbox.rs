//! Events on their way from the store to the log. They are stored with the record that made
//! them and forgotten only once the log has them: a crash in between repeats, it does not lose.

use bus::{Client, LogEntry};
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint};
use store::{Key, SHARDS, Store, Table, Version};

use crate::Error;

/// What one record's outbox may hold before the log must take it: about a hundred changes while
/// the log is away.
pub(crate) const OUTBOX_BYTES_MAX: usize = 64 << 10;

/// An outbox with one more event behind those it holds.
pub(crate) fn append(pending: &Bytes, version: Version, event: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(pending.len() + event.len() + 20);
    out.put_slice(pending);
    encode_varint(version.0, &mut out);
    encode_varint(event.len() as u64, &mut out);
    out.put_slice(event);
    out.freeze()
}

/// The events in an outbox with the versions they came with, oldest first. What cannot be read
/// ends the list: the next event of the agent carries its whole state anyway.
fn read(outbox: &Bytes) -> Vec<(Version, Bytes)> {
    let mut rest = outbox.clone();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let Ok(version) = decode_varint(&mut rest) else {
            break;
        };
        let Some(length) = decode_varint(&mut rest).ok().and_then(|n| usize::try_from(n).ok())
        else {
            break;
        };
        if length > rest.len() {
            break;
        }
        events.push((Version(version), rest.split_to(length)));
    }
    events
}

/// Events of some commits, in order per key.
#[derive(Debug, Default)]
pub(crate) struct Announcement {
    entries: Vec<(Key, Version, Bytes)>,
}

impl Announcement {
    /// Adds the outbox of a record as it stands at a version.
    pub(crate) fn add(&mut self, key: Key, version: Version, outbox: Bytes) {
        if !outbox.is_empty() {
            self.entries.push((key, version, outbox));
        }
    }

    /// Appends the events to the log. The log drops those it has.
    pub(crate) async fn publish(&self, bus: &Client) -> Result<(), Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let entries = self.entries.iter().flat_map(|(key, _, outbox)| {
            read(outbox).into_iter().map(move |(version, payload)| LogEntry {
                key: format!("{:02}", key.shard()),
                // An agent that was forgotten and comes back counts from 1 again.
                id: format!("{key}-{}-{:08x}", version.0, crc32fast::hash(&payload)),
                payload,
            })
        });
        Ok(bus.append(entries.collect()).await?)
    }

    /// Appends the events and lets the store forget them. What fails here is found by a sweep.
    pub(crate) async fn settle(&self, bus: &Client, store: &dyn Store) {
        if self.entries.is_empty() {
            return;
        }
        let settled: Vec<(Key, Version)> =
            self.entries.iter().map(|(key, version, _)| (key.clone(), *version)).collect();
        let done = async {
            self.publish(bus).await?;
            Ok::<_, Error>(store.settle(&settled).await?)
        };
        if let Err(error) = done.await {
            metrics::counter!("muster_fleet_events_deferred_total").increment(settled.len() as u64);
            tracing::debug!(%error, "events wait for a sweep");
        }
    }
}

/// Looks for events that were left behind, a shard at a time.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    shard: u8,
}

impl Sweep {
    /// Publishes what lies unsettled in the next shard. Events in flight elsewhere are published
    /// twice then, which the log does not mind.
    pub(crate) async fn next(&mut self, bus: &Client, store: &dyn Store) -> Result<(), Error> {
        let shard = self.shard;
        self.shard = (shard + 1) % SHARDS;
        let unsettled = store.unsettled(Table::Agents, shard).await?;
        if unsettled.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = unsettled.into_iter().map(|(key, _)| key).collect();
        let mut announcement = Announcement::default();
        for (key, stored) in keys.iter().zip(store.get(&keys).await?) {
            if let Some(stored) = stored {
                announcement.add(key.clone(), stored.version, stored.events);
            }
        }
        announcement.settle(bus, store).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_outboxes_are_read_for_ever() {
        let mut files = services::Golden::of(env!("CARGO_MANIFEST_DIR"));
        let first = append(&Bytes::new(), Version(5), &Bytes::from_static(b"five"));
        let both = append(&first, Version(300), &Bytes::from(vec![1; 130]));
        for (_, bytes) in files.versions("outbox", 1, &both) {
            let events = read(&bytes.into());
            let (five, ones) = (Bytes::from_static(b"five"), Bytes::from(vec![1; 130]));
            assert_eq!(events, [(Version(5), five), (Version(300), ones)]);
        }
        files.finish();
    }

    #[test]
    fn an_outbox_keeps_events_in_order_and_survives_nonsense() {
        let first = append(&Bytes::new(), Version(5), &Bytes::from_static(b"five"));
        let both = append(&first, Version(6), &Bytes::from_static(b"six"));
        let events = read(&both);
        assert_eq!(events[0], (Version(5), Bytes::from_static(b"five")));
        assert_eq!(events[1], (Version(6), Bytes::from_static(b"six")));
        assert_eq!(read(&both.slice(..both.len() - 1)).len(), 1);
        assert!(read(&Bytes::from_static(&[0xff; 12])).is_empty());
    }
}
