//! Large and odd bytes.

use std::sync::Arc;

use bytes::Bytes;
use model::ConfigHash;
use store::{Key, Store};

use crate::fixture::{agent, commit, get, stored, write};

/// Bytes that repeat nowhere soon, line ends and zeros among them.
fn noise(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) async fn bodies_of_five_mebibytes_come_back(store: Arc<dyn Store>) {
    let (hash, body) = (ConfigHash([7; 32]), noise(5 << 20));
    assert_eq!(store.get_blob(&hash).await.unwrap(), None);
    for _ in 0..2 {
        store.put_blob(&hash, body.clone()).await.unwrap();
    }
    assert!(store.get_blob(&hash).await.unwrap() == Some(body));
    assert_eq!(store.get_blob(&ConfigHash([8; 32])).await.unwrap(), None);
    let empty = ConfigHash([9; 32]);
    store.put_blob(&empty, Bytes::new()).await.unwrap();
    assert_eq!(store.get_blob(&empty).await.unwrap(), Some(Bytes::new()));
}

pub(crate) async fn values_of_a_mebibyte_come_back(store: Arc<dyn Store>) {
    let (key, value) = (agent(1), noise(1 << 20));
    let mut big = write(&key, 0, value.clone());
    big.events = value.slice(..64 << 10);
    commit(&*store, big.clone()).await;
    let found = get(&*store, &key).await.unwrap();
    assert!(found.value == value && found.events == big.events);
}

pub(crate) async fn any_bytes_make_ids_and_values(store: Arc<dyn Store>) {
    let odd: Vec<u8> = (0..=u8::MAX).collect();
    let uid = opamp::InstanceUid::from_bytes(*b"\r\n\0{}:*$+-\xff\xfe\x80'\"\\");
    let key = Key::agent(&uid);
    commit(&*store, write(&key, 0, odd.clone())).await;
    assert_eq!(get(&*store, &key).await, Some(stored(1, odd)));
    let page = store.scan(key.table, key.shard(), Default::default()).await;
    assert_eq!(page.unwrap().entries[0].0, key);
}
