//! Events beside values.

use std::sync::Arc;

use store::{Key, Outcome, Store, Stored, Table, Version};
use tokio::task::JoinSet;

use crate::fixture::{agent, commit, get, scan, stored, tell, write};

fn with_events(version: u64, value: &'static str, events: &'static str) -> Option<Stored> {
    Some(Stored { events: events.into(), ..stored(version, value) })
}

async fn unsettled(store: &dyn Store, key: &Key) -> Vec<(Key, Version)> {
    store.unsettled(key.table, key.shard()).await.unwrap()
}

pub(crate) async fn events_ride_with_their_write_until_settled(store: Arc<dyn Store>) {
    let key = agent(1);
    commit(&*store, tell(&key, 0, "value", "news")).await;
    assert_eq!(get(&*store, &key).await, with_events(1, "value", "news"));
    let entry = (key.clone(), Version(1));
    assert_eq!(unsettled(&*store, &key).await, std::slice::from_ref(&entry));
    // Twice, as after a crash.
    for _ in 0..2 {
        store.settle(std::slice::from_ref(&entry)).await.unwrap();
        assert_eq!(get(&*store, &key).await, Some(stored(1, "value")));
        assert!(unsettled(&*store, &key).await.is_empty());
    }
}

pub(crate) async fn another_version_settles_nothing(store: Arc<dyn Store>) {
    let key = agent(1);
    commit(&*store, tell(&key, 0, "one", "first")).await;
    commit(&*store, tell(&key, 1, "two", "second")).await;
    let wrong = [0, 1, 3].map(|version| (key.clone(), Version(version)));
    store.settle(&wrong).await.unwrap();
    store.settle(&[(agent(9), Version(1))]).await.unwrap();
    assert_eq!(get(&*store, &key).await, with_events(2, "two", "second"));
}

pub(crate) async fn a_write_replaces_the_events_before_it(store: Arc<dyn Store>) {
    let key = agent(1);
    commit(&*store, tell(&key, 0, "one", "news")).await;
    commit(&*store, tell(&key, 9, "lost", "lost")).await;
    assert_eq!(get(&*store, &key).await, with_events(1, "one", "news"));
    commit(&*store, write(&key, 1, "two")).await;
    assert_eq!(get(&*store, &key).await, Some(stored(2, "two")));
    assert!(unsettled(&*store, &key).await.is_empty());
}

pub(crate) async fn only_unsettled_keys_of_the_shard_are_listed(store: Arc<dyn Store>) {
    let writes = (0..1000).map(|number| match number % 3 {
        0 => write(&agent(number), 0, "silent"),
        _ => tell(&agent(number), 0, "value", "news"),
    });
    store.commit(writes.collect()).await.unwrap();
    store.settle(&[(agent(1), Version(1))]).await.unwrap();
    for shard in 0..store::SHARDS {
        let mut listed = store.unsettled(Table::Agents, shard).await.unwrap();
        listed.sort();
        let told = |number: &u64| !number.is_multiple_of(3) && *number != 1;
        let told = (0..1000).filter(told).map(|number| (agent(number), Version(1)));
        let mut expected: Vec<_> = told.filter(|(key, _)| key.shard() == shard).collect();
        expected.sort();
        assert_eq!(listed, expected, "shard {shard}");
        let others = store.unsettled(Table::Configs, shard).await.unwrap();
        assert!(others.is_empty());
    }
}

/// A reader may come between a write's value and its events. What it then holds must not be
/// built on, or events would be replaced that nobody published.
pub(crate) async fn nobody_builds_on_a_value_without_its_events(store: Arc<dyn Store>) {
    let key = agent(1);
    commit(&*store, tell(&key, 0, "value", "news")).await;
    let mut writers = JoinSet::new();
    for _ in 0..2 {
        let (store, key) = (store.clone(), key.clone());
        writers.spawn(async move {
            for _ in 0..200 {
                let version = get(&*store, &key).await.unwrap().version.0;
                commit(&*store, tell(&key, version, "value", "news")).await;
            }
        });
    }
    while !writers.is_empty() {
        let got = get(&*store, &key).await.unwrap();
        let (_, scanned) = scan(&*store, key.table, key.shard()).await.remove(0);
        for found in [got, scanned] {
            if found.events.is_empty() {
                let outcome = commit(&*store, write(&key, found.version.0, "x")).await;
                assert_eq!(outcome, Outcome::Conflict, "{found:?}");
            }
        }
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
    }
}
