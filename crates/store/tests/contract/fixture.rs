//! Short forms the cases share.

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Timestamp;
use opamp::InstanceUid;
use store::{Cursor, Key, Outcome, Presence, Store, Stored, Table, Version, Write};

/// The uid of a number.
pub(crate) fn uid(number: u64) -> InstanceUid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    InstanceUid::from_bytes(bytes)
}

/// The key of an agent's number.
pub(crate) fn agent(number: u64) -> Key {
    Key::agent(&uid(number))
}

/// A write without events.
pub(crate) fn write(key: &Key, expected: u64, value: impl Into<Bytes>) -> Write {
    Write::next(key.clone(), Version(expected), value.into())
}

/// A write with events.
pub(crate) fn tell(key: &Key, expected: u64, value: &'static str, events: &'static str) -> Write {
    let events = Bytes::from_static(events.as_bytes());
    Write { events, ..write(key, expected, value) }
}

/// Commits one write.
pub(crate) async fn commit(store: &dyn Store, write: Write) -> Outcome {
    store.commit(vec![write]).await.unwrap()[0]
}

/// Reads one key.
pub(crate) async fn get(store: &dyn Store, key: &Key) -> Option<Stored> {
    store.get(std::slice::from_ref(key)).await.unwrap().remove(0)
}

/// What is stored without events.
pub(crate) fn stored(version: u64, value: impl Into<Bytes>) -> Stored {
    Stored { version: Version(version), value: value.into(), events: Bytes::new() }
}

/// A whole shard, page by page.
pub(crate) async fn scan(store: &dyn Store, table: Table, shard: u8) -> Vec<(Key, Stored)> {
    let (mut entries, mut cursor) = (Vec::new(), Cursor::default());
    loop {
        let page = store.scan(table, shard, cursor).await.unwrap();
        entries.extend(page.entries);
        match page.next {
            Some(next) => cursor = next,
            None => return entries,
        }
    }
}

/// A word about an agent.
pub(crate) fn seen(number: u64, sequence_num: u64) -> Presence {
    Presence {
        instance_uid: uid(number),
        epoch: 1,
        sequence_num,
        seen: Timestamp(1_700_000_000_000 + sequence_num),
    }
}

/// Tries until it works, or panics at the deadline.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(done) = attempt().await {
            return done;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
