//! Who spoke last.

use std::sync::Arc;

use store::Store;

use crate::fixture::{seen, uid};

pub(crate) async fn the_last_word_of_each_holder_is_kept(store: Arc<dyn Store>) {
    let batch: Vec<_> = (0..3000).map(|number| seen(number, number)).collect();
    store.put_presence("gw-a", &batch).await.unwrap();
    let newer = [seen(1, u64::MAX - (1 << 60)), seen(2, 0)];
    store.put_presence("gw-a", &newer).await.unwrap();
    store.put_presence("gw-b", &[seen(1, 9)]).await.unwrap();
    let ask = |holder: &str, number| (holder.to_owned(), uid(number));
    let asked = [
        ask("gw-b", 1),
        ask("gw-a", 2999),
        ask("gw-a", 1),
        ask("nobody", 1),
        ask("gw-b", 2),
        ask("gw-a", 2),
    ];
    let found = store.get_presence(&asked).await.unwrap();
    let expected =
        [Some(seen(1, 9)), Some(batch[2999]), Some(newer[0]), None, None, Some(newer[1])];
    assert_eq!(found, expected);
}
