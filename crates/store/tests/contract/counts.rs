//! Counting what a store is asked.

use std::sync::Arc;

use store::{Counted, Key, Op, Store, Table};

use crate::fixture::{agent, seen, write};

pub(crate) async fn writes_and_commands_are_counted(store: Arc<dyn Store>) {
    let counted = Counted::new(store);
    let counts = counted.counts();
    let batch = vec![
        write(&agent(1), 0, "written"),
        write(&agent(1), 0, "conflict"),
        write(&Key::config("c"), 0, "written"),
    ];
    counted.commit(batch).await.unwrap();
    counted.get(&[agent(1), agent(2)]).await.unwrap();
    counted.put_presence("gw", &[seen(1, 1)]).await.unwrap();
    assert_eq!(counts.commands(Op::Commit), 1);
    assert_eq!(counts.commands(Op::Get), 1);
    assert_eq!(counts.commands(Op::PutPresence), 1);
    assert_eq!(counts.commands(Op::Scan), 0);
    assert_eq!(counts.written(Table::Agents), 1, "presence writes no record");
    assert_eq!(counts.written(Table::Configs), 1);
    assert_eq!(counts.written(Table::Intent), 0);
}
