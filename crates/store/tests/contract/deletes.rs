//! Keys that go.

use std::sync::Arc;

use store::{Key, Outcome, Store, Stored, Table, Version};

use crate::fixture::{agent, commit, get, scan, seen, stored, tell, uid, write};

pub(crate) async fn a_key_deleted_in_silence_is_gone_at_once(store: Arc<dyn Store>) {
    let key = Key::labels(&uid(1));
    commit(&*store, write(&key, 0, "value")).await;
    assert_eq!(commit(&*store, write(&key, 7, "")).await, Outcome::Conflict);
    assert_eq!(commit(&*store, write(&key, 1, "")).await, Outcome::Written(Version(2)));
    assert_eq!(get(&*store, &key).await, None);
    assert!(scan(&*store, Table::Labels, key.shard()).await.is_empty());
    assert_eq!(commit(&*store, write(&key, 0, "again")).await, Outcome::Written(Version(1)));
}

pub(crate) async fn a_deletion_that_is_told_stays_until_it_is_settled(store: Arc<dyn Store>) {
    let key = agent(1);
    commit(&*store, write(&key, 0, "value")).await;
    commit(&*store, tell(&key, 1, "", "it is gone")).await;
    let left = Stored { events: "it is gone".into(), ..stored(2, "") };
    assert_eq!(get(&*store, &key).await, Some(left));
    assert!(scan(&*store, key.table, key.shard()).await.is_empty(), "lists have it no more");
    let entry = (key.clone(), Version(2));
    let unsettled = store.unsettled(key.table, key.shard()).await.unwrap();
    assert_eq!(unsettled, std::slice::from_ref(&entry));
    store.settle(&[(key.clone(), Version(1))]).await.unwrap();
    assert!(get(&*store, &key).await.is_some(), "another version settles nothing");
    store.settle(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(get(&*store, &key).await, None);
}

pub(crate) async fn what_comes_back_before_that_goes_on_counting(store: Arc<dyn Store>) {
    let key = agent(1);
    commit(&*store, write(&key, 0, "value")).await;
    commit(&*store, tell(&key, 1, "", "it is gone")).await;
    let back = tell(&key, 2, "value", "it is back");
    assert_eq!(commit(&*store, back).await, Outcome::Written(Version(3)));
    // The settling of the deletion comes late.
    store.settle(&[(key.clone(), Version(2))]).await.unwrap();
    let found = get(&*store, &key).await.unwrap();
    assert_eq!((found.version, &found.value[..]), (Version(3), &b"value"[..]));
}

pub(crate) async fn presence_goes_holder_by_holder(store: Arc<dyn Store>) {
    store.put_presence("gw-a", &[seen(1, 1), seen(2, 1)]).await.unwrap();
    store.put_presence("gw-b", &[seen(1, 1)]).await.unwrap();
    let key = |holder: &str, number| (holder.to_owned(), uid(number));
    store.drop_presence(&[key("gw-a", 1), key("nobody", 2)]).await.unwrap();
    let asked = [key("gw-a", 1), key("gw-a", 2), key("gw-b", 1)];
    let found = store.get_presence(&asked).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
}
