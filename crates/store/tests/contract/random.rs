//! Random operations on a backend and on [`Memory`] side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use model::ConfigHash;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Key, Memory, SHARDS, Store, Table, Version, Write};
use tokio::runtime::Handle;

use crate::fixture::{agent, scan, seen, uid};

/// Keys in play: few, so that they meet.
const KEYS: u64 = 5;

#[derive(Debug, Clone)]
enum Operation {
    Commit(Vec<(u64, u64, Bytes, Bytes)>),
    Settle(Vec<(u64, u64)>),
    Blob(u8),
    Presence(u8, Vec<(u64, u64)>),
}

fn operation() -> impl Strategy<Value = Operation> {
    let bytes = || vec(any::<u8>(), 0..6).prop_map(Bytes::from);
    let commit = (0..KEYS, 0..4_u64, bytes(), bytes());
    let presence = (0..3_u8, vec((0..KEYS, any::<u64>()), 0..4));
    prop_oneof![
        4 => vec(commit, 0..6).prop_map(Operation::Commit),
        2 => vec((0..KEYS, 0..4_u64), 0..4).prop_map(Operation::Settle),
        1 => (0..3_u8).prop_map(Operation::Blob),
        1 => presence.prop_map(|(holder, seen)| Operation::Presence(holder, seen)),
    ]
}

pub(crate) async fn any_operations_do_what_memory_does(store: Arc<dyn Store>) {
    let handle = Handle::current();
    let compared = tokio::task::spawn_blocking(move || {
        let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
        // One store for all cases: keys move on, so that no case meets what another left.
        let base = AtomicU64::new(0);
        TestRunner::new(config).run(&vec(operation(), 1..40), |operations| {
            let base = base.fetch_add(KEYS, Ordering::Relaxed);
            handle.block_on(compare(&*store, &operations, base));
            Ok(())
        })
    });
    compared.await.unwrap().unwrap();
}

async fn compare(store: &dyn Store, operations: &[Operation], base: u64) {
    let memory = Memory::default();
    for operation in operations {
        let (theirs, ours) =
            (apply(store, operation, base).await, apply(&memory, operation, base).await);
        assert_eq!(theirs, ours, "{operation:?}");
    }
    let keys: Vec<Key> = (0..KEYS).map(|number| agent(base + number)).collect();
    let (theirs, ours) = (store.get(&keys).await.unwrap(), memory.get(&keys).await.unwrap());
    assert_eq!(theirs, ours);
    let asked: Vec<_> = (0..3_u8)
        .flat_map(|holder| (0..KEYS).map(move |number| (holder_name(holder), uid(base + number))))
        .collect();
    let (theirs, ours) = (store.get_presence(&asked).await, memory.get_presence(&asked).await);
    assert_eq!(theirs.unwrap(), ours.unwrap());
    for hash in (0..3).map(|number| blob_hash(number, base)) {
        let (theirs, ours) = (store.get_blob(&hash).await, memory.get_blob(&hash).await);
        assert_eq!(theirs.unwrap(), ours.unwrap());
    }
    assert_eq!(left(store, &keys).await, left(&memory, &keys).await);
}

/// Outcomes, as far as the operation has any.
async fn apply(store: &dyn Store, operation: &Operation, base: u64) -> Vec<store::Outcome> {
    match operation {
        Operation::Commit(writes) => {
            let write = |(number, expected, value, events): &(u64, u64, Bytes, Bytes)| Write {
                events: events.clone(),
                ..Write::next(agent(base + number), Version(*expected), value.clone())
            };
            return store.commit(writes.iter().map(write).collect()).await.unwrap();
        }
        Operation::Settle(settled) => {
            let settled =
                settled.iter().map(|(number, version)| (agent(base + number), Version(*version)));
            store.settle(&settled.collect::<Vec<_>>()).await.unwrap();
        }
        Operation::Blob(number) => {
            // The body follows from the hash, as it does in earnest.
            let body = Bytes::from(vec![*number; 9]);
            store.put_blob(&blob_hash(*number, base), body).await.unwrap();
        }
        Operation::Presence(holder, entries) => {
            let entries =
                entries.iter().map(|(number, sequence)| seen(base + number, *sequence >> 12));
            let entries: Vec<_> = entries.collect();
            store.put_presence(&holder_name(*holder), &entries).await.unwrap();
        }
    }
    Vec::new()
}

fn holder_name(number: u8) -> String {
    format!("gw-{number}")
}

fn blob_hash(number: u8, base: u64) -> ConfigHash {
    let mut hash = [number; 32];
    hash[..8].copy_from_slice(&base.to_be_bytes());
    ConfigHash(hash)
}

type Listed = (Vec<(Key, store::Stored)>, Vec<(Key, Version)>);

/// What scans and sweeps find of these keys.
async fn left(store: &dyn Store, keys: &[Key]) -> Listed {
    let (mut values, mut unsettled) = (Vec::new(), Vec::new());
    for shard in 0..SHARDS {
        if keys.iter().any(|key| key.shard() == shard) {
            values.extend(scan(store, Table::Agents, shard).await);
            unsettled.extend(store.unsettled(Table::Agents, shard).await.unwrap());
        }
    }
    values.retain(|(key, _)| keys.contains(key));
    unsettled.retain(|(key, _)| keys.contains(key));
    values.sort_by(|(a, _), (b, _)| a.cmp(b));
    unsettled.sort();
    (values, unsettled)
}
