//! Shards, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Key, SHARDS, Store, Table, Write};
use tokio::task::JoinSet;

use crate::fixture::{agent, commit, scan, stored, tell, write};

/// Keys that all lie in shard 0.
fn of_one_shard(count: usize) -> Vec<Key> {
    let agents = (0..).map(agent).filter(|key| key.shard() == 0);
    agents.take(count).collect()
}

async fn fill(store: &dyn Store, keys: &[Key]) {
    for chunk in keys.chunks(500) {
        let writes = chunk.iter().map(|key| write(key, 0, key.id.clone()));
        store.commit(writes.collect::<Vec<Write>>()).await.unwrap();
    }
}

pub(crate) async fn every_key_of_a_shard_is_seen_and_no_other(store: Arc<dyn Store>) {
    let mut keys: Vec<Key> = (0..2000).map(agent).collect();
    // Enough for several pages of any backend.
    keys.extend(of_one_shard(3000));
    keys.sort();
    keys.dedup();
    fill(&*store, &keys).await;
    commit(&*store, write(&Key::config("other table"), 0, "x")).await;
    let mut seen = 0;
    for shard in 0..SHARDS {
        let found: BTreeMap<_, _> = scan(&*store, Table::Agents, shard).await.into_iter().collect();
        let expected = keys.iter().filter(|key| key.shard() == shard);
        let expected: BTreeMap<_, _> =
            expected.map(|key| (key.clone(), stored(1, key.id.clone()))).collect();
        assert!(found == expected, "shard {shard}");
        seen += found.len();
    }
    assert_eq!(seen, keys.len());
}

pub(crate) async fn a_scan_brings_the_events_too(store: Arc<dyn Store>) {
    let key = agent(5);
    commit(&*store, tell(&key, 0, "value", "news")).await;
    let found = scan(&*store, Table::Agents, key.shard()).await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].0, &found[0].1.events[..]), (&key, &b"news"[..]));
}

pub(crate) async fn what_stays_is_seen_while_others_write(store: Arc<dyn Store>) {
    let keys = of_one_shard(4000);
    let (stay, come) = keys.split_at(1000);
    fill(&*store, stay).await;
    let scanned = Arc::new(AtomicBool::new(false));
    let mut writer = JoinSet::new();
    let (other, come, done) = (store.clone(), come.to_vec(), scanned.clone());
    writer.spawn(async move {
        for chunk in come.chunks(50) {
            if done.load(Ordering::Relaxed) {
                break;
            }
            fill(&*other, chunk).await;
        }
    });
    let found: BTreeSet<Key> =
        scan(&*store, Table::Agents, 0).await.into_iter().map(|(key, _)| key).collect();
    scanned.store(true, Ordering::Relaxed);
    writer.join_all().await;
    assert!(stay.iter().all(|key| found.contains(key)));
}
