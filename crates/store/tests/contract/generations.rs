//! What a store tells of its age.

use std::sync::Arc;

use store::{Generation, Outcome, Store, Version, Write};

use crate::fixture::{agent, commit, get, write};

pub(crate) async fn every_shard_has_an_age_that_stays(store: Arc<dyn Store>) {
    let before = store.generations();
    assert!(before.iter().all(|generation| *generation > Generation(0)));
    commit(&*store, write(&agent(1), 0, "value")).await;
    store.ready().await.unwrap();
    assert_eq!(store.generations(), before);
}

pub(crate) async fn a_key_begins_where_its_writer_says(store: Arc<dyn Store>) {
    let key = agent(1);
    let first = Write { version: Version(1_000), ..write(&key, 0, "value") };
    assert_eq!(commit(&*store, first).await, Outcome::Written(Version(1_000)));
    assert_eq!(get(&*store, &key).await.unwrap().version, Version(1_000));
    let next = write(&key, 1_000, "next");
    assert_eq!(commit(&*store, next).await, Outcome::Written(Version(1_001)));
}
