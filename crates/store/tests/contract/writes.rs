//! Compare-and-set.

use std::sync::Arc;

use store::{Key, Outcome, Store, Version};
use tokio::task::JoinSet;

use crate::fixture::{agent, commit, get, stored, write};

pub(crate) async fn what_is_written_is_read_in_the_order_asked(store: Arc<dyn Store>) {
    let (a, b) = (agent(1), agent(2));
    let written = Outcome::Written(Version(1));
    assert_eq!(commit(&*store, write(&a, 0, "a")).await, written);
    assert_eq!(commit(&*store, write(&b, 0, "b")).await, written);
    let found = store.get(&[b.clone(), agent(3), a, b]).await.unwrap();
    let (a, b) = (Some(stored(1, "a")), Some(stored(1, "b")));
    assert_eq!(found, [b.clone(), None, a, b]);
}

pub(crate) async fn another_version_conflicts_and_changes_nothing(store: Arc<dyn Store>) {
    let key = agent(1);
    assert_eq!(commit(&*store, write(&key, 1, "x")).await, Outcome::Conflict);
    assert_eq!(get(&*store, &key).await, None);
    commit(&*store, write(&key, 0, "one")).await;
    for expected in [0, 2, 1 << 53, u64::MAX - 1] {
        let outcome = commit(&*store, write(&key, expected, "x")).await;
        assert_eq!(outcome, Outcome::Conflict, "{expected}");
    }
    assert_eq!(get(&*store, &key).await, Some(stored(1, "one")));
    let outcome = commit(&*store, write(&key, 1, "two")).await;
    assert_eq!(outcome, Outcome::Written(Version(2)));
}

pub(crate) async fn later_writes_of_a_batch_see_earlier_ones(store: Arc<dyn Store>) {
    let (a, b) = (agent(1), agent(2));
    let batch = vec![
        write(&a, 0, "first"),
        write(&b, 7, "never"),
        write(&a, 1, "second"),
        write(&a, 1, "late"),
    ];
    let outcomes = store.commit(batch).await.unwrap();
    let (one, two) = (Version(1), Version(2));
    let (won, lost) = (Outcome::Written, Outcome::Conflict);
    assert_eq!(outcomes, [won(one), lost, won(two), lost]);
    assert_eq!(get(&*store, &a).await, Some(stored(2, "second")));
}

pub(crate) async fn tables_do_not_mix(store: Arc<dyn Store>) {
    let config = Key::config("same");
    let other = Key { table: store::Table::Intent, ..config.clone() };
    commit(&*store, write(&config, 0, "config")).await;
    assert_eq!(get(&*store, &other).await, None);
    commit(&*store, write(&other, 0, "intent")).await;
    assert_eq!(get(&*store, &config).await, Some(stored(1, "config")));
}

pub(crate) async fn nothing_asked_is_nothing_done(store: Arc<dyn Store>) {
    store.ready().await.unwrap();
    assert!(store.get(&[]).await.unwrap().is_empty());
    assert!(store.commit(Vec::new()).await.unwrap().is_empty());
    store.settle(&[]).await.unwrap();
    store.put_presence("holder", &[]).await.unwrap();
    assert!(store.get_presence(&[]).await.unwrap().is_empty());
}

pub(crate) async fn racing_increments_lose_none(store: Arc<dyn Store>) {
    const TASKS: u64 = 16;
    const ROUNDS: u64 = 20;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                increment(&*store).await;
            }
        });
    }
    tasks.join_all().await;
    let found = get(&*store, &agent(1)).await.unwrap();
    assert_eq!(found.version, Version(TASKS * ROUNDS));
    assert_eq!(found.value, (TASKS * ROUNDS).to_string());
}

async fn increment(store: &dyn Store) {
    let key = agent(1);
    loop {
        let (version, count) = match get(store, &key).await {
            Some(found) => {
                (found.version.0, std::str::from_utf8(&found.value).unwrap().parse().unwrap())
            }
            None => (0, 0_u64),
        };
        let next = write(&key, version, (count + 1).to_string());
        if commit(store, next).await != Outcome::Conflict {
            return;
        }
    }
}
