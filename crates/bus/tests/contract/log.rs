//! The event log.

use bus::{Error, LogEntry, LogReader, Position};
use tokio::time::timeout;

use crate::{PATIENCE, Pair};

pub(crate) fn entry(id: &str) -> LogEntry {
    LogEntry { key: "00".to_owned(), id: id.to_owned(), payload: id.to_owned().into() }
}

pub(crate) async fn read(reader: &mut LogReader, count: usize) -> Vec<(Position, String)> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let logged = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
        entries.push((logged.position, String::from_utf8(logged.payload.to_vec()).unwrap()));
    }
    entries
}

pub(crate) async fn entries_are_read_in_order_from_any_position(pair: Pair) {
    let start = pair.a.tail().await.unwrap();
    let ids: Vec<String> = (0..1000).map(|n| format!("e{n}")).collect();
    pair.a.append(ids.iter().map(|id| entry(id)).collect()).await.unwrap();
    let all = read(&mut pair.b.read(start).await.unwrap(), 1000).await;
    assert_eq!(all.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(), ids);
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "positions rise");
    let middle = all[500].0;
    let (mut a, mut b) = (pair.a.read(start).await.unwrap(), pair.b.read(middle).await.unwrap());
    assert_eq!(read(&mut b, 500).await, all[500..]);
    assert_eq!(a.log(), b.log(), "it is one log");
    assert_eq!(read(&mut a, 1).await, all[..1]);
}

pub(crate) async fn the_same_entry_twice_is_one(pair: Pair) {
    let start = pair.a.tail().await.unwrap();
    pair.a.append(vec![entry("one"), entry("two")]).await.unwrap();
    pair.b.append(vec![entry("two"), entry("three")]).await.unwrap();
    let all = read(&mut pair.a.read(start).await.unwrap(), 3).await;
    let ids: Vec<&str> = all.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["one", "two", "three"]);
}

pub(crate) async fn a_reader_waits_for_what_comes(pair: Pair) {
    let tail = pair.a.tail().await.unwrap();
    let mut reader = pair.a.read(tail).await.unwrap();
    let (read, appended) = tokio::join!(read(&mut reader, 1), pair.b.append(vec![entry("later")]));
    appended.unwrap();
    assert_eq!(read[0].1, "later");
}

pub(crate) async fn a_position_that_is_not_there_is_out_of_range(pair: Pair) {
    pair.a.append(vec![entry("one")]).await.unwrap();
    let tail = pair.a.tail().await.unwrap();
    for asked in [Position(0), Position(tail.0 + 1)] {
        let refused = pair.a.read(asked).await;
        assert!(matches!(refused, Err(Error::OutOfRange { .. })), "{asked:?}: {refused:?}");
    }
}

pub(crate) async fn a_key_that_is_no_word_is_refused(pair: Pair) {
    let refused = pair.a.append(vec![LogEntry { key: "a.b".to_owned(), ..entry("one") }]).await;
    assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
}
