//! A ledger in a file, from every backend and back.

use std::io::Cursor as File;
use std::sync::Arc;

use bytes::Bytes;
use model::{Config, ConfigHash, Revision, Timestamp};
use opamp::v1::{AgentConfigFile, AgentConfigMap};
use prost::Message as _;
use store::backup::{BackupError, Restore, Summary, restore, take};
use store::{Key, Memory, Store, Version, tables};

use crate::fixture::{commit, get, uid, write};

const CONFIGS: u64 = 300;

/// More than a page of every table.
async fn fill(store: &dyn Store) {
    for number in 0..CONFIGS {
        let file = AgentConfigFile {
            body: format!("number: {number}").repeat(100).into(),
            ..Default::default()
        };
        let map = AgentConfigMap { config_map: [(String::new(), file)].into() };
        let hash = ConfigHash::of(&map.config_map);
        store.put_blob(&hash, map.encode_to_vec().into()).await.unwrap();
        let revision = Revision {
            number: 1,
            hash,
            created: Timestamp(number),
            size_bytes: 1,
            keys: vec![String::new()],
            actor: String::new(),
        };
        let config = Config { name: format!("c-{number}"), revisions: vec![revision] };
        let value = tables::configs::encode(&config, &Bytes::new());
        commit(store, write(&Key::config(&config.name), 0, value)).await;
        let labels = tables::labels::AgentLabels {
            labels: [("number".to_owned(), number.to_string())].into(),
            updated: Timestamp(number),
        };
        let value = tables::labels::encode(&labels, &Bytes::new());
        commit(store, write(&Key::labels(&uid(number)), 0, value)).await;
    }
    // Not the ledger's, though they may share a file.
    commit(store, write(&Key::agent(&uid(1)), 0, "record")).await;
}

async fn taken(store: &dyn Store) -> (Vec<u8>, Summary) {
    let mut file = Vec::new();
    let summary = take(store, "muster", "0.1.0", Timestamp(1), &mut file).await.unwrap();
    (file, summary)
}

pub(crate) async fn what_was_taken_is_put_back(store: Arc<dyn Store>) {
    fill(&*store).await;
    let (file, summary) = taken(&*store).await;
    assert_eq!((summary.configs, summary.labelled), (CONFIGS, CONFIGS));
    let how = Restore { at_least: Version(1), hold: None, replace: false };
    let elsewhere = Memory::default();
    restore(&elsewhere, File::new(&file), &how).await.unwrap();
    assert!(taken(&elsewhere).await.0 == file);

    let refused = restore(&*store, File::new(&file), &how).await;
    assert!(matches!(refused, Err(BackupError::NotEmpty(_))));
    let gone = Key::config("c-7");
    commit(&*store, write(&gone, 1, Bytes::new())).await;
    commit(&*store, write(&Key::config("stray"), 0, "anything")).await;
    let how = Restore { at_least: Version(900), replace: true, hold: None };
    restore(&*store, File::new(&file), &how).await.unwrap();
    // Versions are longer than they were.
    let again = Summary { bytes: summary.bytes, ..taken(&*store).await.1 };
    assert_eq!(again, summary);
    assert_eq!(get(&*store, &gone).await.unwrap().version, Version(900));
    assert_eq!(get(&*store, &Key::config("stray")).await, None);
    assert!(get(&*store, &Key::agent(&uid(1))).await.is_some(), "records stay");
}
