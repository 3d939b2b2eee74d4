//! What is put back is what was taken, and nothing else is taken for a backup.

use std::io::Cursor as File;

use bytes::Bytes;
use model::assign::{Assignment, Assignments, Content, Hold};
use model::brake::Brake;
use model::catalogue::{PackageFile, PackageKind, PackageSet, PackageVersion, SetRevision};
use model::command::{CommandId, State, Target};
use model::connection::{Kept, KeptRevision};
use model::record::Offered;
use model::selector::Selector;
use model::settings::{Class, SettingsHash};
use model::{AgentRecord, Config, ConfigHash, Revision, RevisionRef, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{AgentConfigFile, AgentConfigMap};
use prost::Message as _;
use services::Golden;

use super::*;
use crate::tables::commands::{Part, decode, encode};
use crate::tables::labels::AgentLabels;
use crate::tables::settings::Sealed;
use crate::{Key, Memory, Store, Stored, Version, Write, tables};

const UID: InstanceUid = InstanceUid::from_bytes([7; 16]);
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn body(text: &'static str) -> (ConfigHash, Bytes) {
    let file = AgentConfigFile { body: Bytes::from_static(text.as_bytes()), ..Default::default() };
    let map = AgentConfigMap { config_map: [(String::new(), file)].into() };
    (ConfigHash::of(&map.config_map), map.encode_to_vec().into())
}

async fn set(store: &Memory, key: Key, version: u64, value: Bytes) {
    let there = store.get(std::slice::from_ref(&key)).await.unwrap().pop().flatten();
    let expected = there.map_or(Version::ABSENT, |stored: Stored| stored.version);
    let version = Version(version);
    let write = Write { key, expected, version, value, events: Bytes::new() };
    store.commit(vec![write]).await.unwrap();
}

/// Two configs of three revisions, labels, an assignment, and a field of a newer binary.
async fn ledger() -> Memory {
    let store = Memory::default();
    let mut configs = Vec::new();
    for (name, texts) in [("collector", &["one", "two"][..]), ("edge", &["two"])] {
        let mut revisions = Vec::new();
        for (text, number) in texts.iter().zip(1..) {
            let (hash, bytes) = body(text);
            store.put_blob(&hash, bytes).await.unwrap();
            revisions.push(Revision {
                number,
                hash,
                created: NOW,
                size_bytes: 3,
                keys: vec![String::new()],
                actor: "alice".to_owned(),
            });
        }
        configs.push(Config { name: name.to_owned(), revisions });
    }
    for config in configs {
        let value = tables::configs::encode(&config, &Bytes::from_static(&[0xa8, 0x06, 5]));
        set(&store, Key::config(&config.name), 3, value).await;
    }
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    let labels = AgentLabels { labels, updated: NOW };
    set(&store, Key::labels(&UID), 2, tables::labels::encode(&labels, &Bytes::new())).await;
    let assignment = Assignment {
        name: "all".to_owned(),
        selector: Selector::parse("").unwrap(),
        content: Content::Config(RevisionRef {
            config: "collector".to_owned(),
            revision: 2,
            hash: body("two").0,
        }),
        priority: 0,
        updated: NOW,
        brake: Brake::default(),
        actor: "alice".to_owned(),
    };
    let assignments = Assignments { list: vec![assignment], hold: None };
    set(&store, Key::intent(), 41, tables::intent::encode(&assignments, &Bytes::new())).await;
    store
}

const HASH: SettingsHash = SettingsHash([5; 32]);

/// The same with connection settings, which version 3 knows.
async fn with_settings() -> Memory {
    let store = ledger().await;
    let revision = |number| KeptRevision {
        number,
        hash: HASH,
        created: NOW,
        actor: "alice".to_owned(),
        shown: vec![0x0a, 0],
        certificate: None,
    };
    let revisions = vec![revision(1), revision(2)];
    let kept = Kept { name: "backend".to_owned(), class: Class::OwnLogs, revisions };
    let value = tables::settings::encode(&kept, &Bytes::new());
    set(&store, tables::settings::key("backend"), 2, value).await;
    let sealed = Sealed { hash: HASH, sealed: Bytes::from_static(b"sealed") };
    let value = tables::settings::encode_sealed(&sealed, &Bytes::new());
    set(&store, tables::settings::sealed_key("backend", &HASH), 1, value).await;
    store
}

/// The same with packages, which version 4 knows.
async fn with_packages() -> Memory {
    let store = with_settings().await;
    let version = version();
    for (hash, told) in version.told() {
        store.put_blob(&ConfigHash(hash.0), told.into()).await.unwrap();
    }
    let value = tables::packages::encode(&version, &Bytes::new());
    set(&store, tables::packages::key("collector", "0.141.0"), 1, value).await;
    let revision = SetRevision {
        number: 1,
        packages: vec![("collector".to_owned(), "0.141.0".to_owned())],
        created: NOW,
        actor: "alice".to_owned(),
    };
    let set_of = PackageSet { name: "edge".to_owned(), revisions: vec![revision] };
    let value = tables::packages::encode_set(&set_of, &Bytes::new());
    set(&store, tables::packages::set_key("edge"), 1, value).await;
    store
}

fn version() -> PackageVersion {
    let file = PackageFile {
        selector: Selector::parse("").unwrap(),
        url: "https://example.org/collector.tar.gz".to_owned(),
        sha256: [8; 32],
        signature: Vec::new(),
    };
    PackageVersion {
        package: "collector".to_owned(),
        version: "0.141.0".to_owned(),
        kind: PackageKind::TopLevel,
        files: vec![file],
        created: NOW,
        actor: "alice".to_owned(),
    }
}

#[tokio::test]
async fn what_agents_are_told_of_packages_comes_back_too() {
    let (file, summary) = taken(&with_packages().await).await;
    assert_eq!(summary.packages, 1);
    let after = Memory::default();
    restore(&after, File::new(&file), &plainly()).await.unwrap();
    let (hash, told) = version().told().next().unwrap();
    assert_eq!(after.get_blob(&ConfigHash(hash.0)).await.unwrap().unwrap(), told);

    let without = with_packages().await;
    set(&without, tables::packages::key("collector", "0.141.0"), 2, Bytes::new()).await;
    let error = take(&without, "muster", "0.1.0", NOW, Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("edge: collector 0.141.0 is missing"), "{error}");
}

fn plainly() -> Restore {
    Restore { at_least: Version(1), hold: None, replace: false }
}

async fn taken(ledger: &Memory) -> (Vec<u8>, Summary) {
    let mut file = Vec::new();
    let summary = take(ledger, "muster", "0.1.0", NOW, &mut file).await.unwrap();
    (file, summary)
}

/// Every value of the ledger without its version, and the bodies.
async fn contents(ledger: &Memory) -> (Vec<(Key, Bytes)>, Vec<Option<Bytes>>) {
    let mut values = Vec::new();
    for table in TABLES {
        let all = take::all(ledger, table).await.unwrap();
        values.extend(all.into_iter().map(|(key, stored)| (key, stored.value)));
    }
    let mut bodies = Vec::new();
    for text in ["one", "two"] {
        bodies.push(ledger.get_blob(&body(text).0).await.unwrap());
    }
    (values, bodies)
}

#[tokio::test]
async fn what_was_taken_is_put_back() {
    let before = ledger().await;
    let (file, summary) = taken(&before).await;
    assert_eq!((summary.configs, summary.revisions, summary.labelled), (2, 3, 1));
    assert_eq!((summary.assignments, summary.decision, summary.held), (1, 41, false));
    assert_eq!((summary.fleet.as_str(), summary.bytes), ("muster", file.len() as u64));
    assert_eq!(check(&file[..]).unwrap(), summary);

    let after = Memory::default();
    let how = Restore { at_least: Version(500), ..plainly() };
    let restored = restore(&after, File::new(&file), &how).await.unwrap();
    assert_eq!(restored, Restored { summary, decision: 500 });
    assert_eq!(contents(&after).await, contents(&before).await);
    for table in TABLES {
        for (key, stored) in take::all(&after, table).await.unwrap() {
            assert!(stored.version >= how.at_least, "{key} is at {:?}", stored.version);
        }
    }
}

/// Who knows how far it came since the backup was taken?
#[tokio::test]
async fn a_command_that_is_put_back_is_not_sent_on_its_word() {
    let before = ledger().await;
    let id = CommandId([6; 16]);
    let mut targets = State::ALL.map(|_| Target::new(UID, NOW));
    for (target, state) in targets.iter_mut().zip(State::ALL) {
        (target.state, target.attempts) = (state, 1);
    }
    let (number, created, targets) = (1, NOW, targets.to_vec());
    let part = Part { id, number, created, order: None, targets };
    set(&before, part.key(), 3, encode(&part, &Bytes::new())).await;
    let (file, _) = taken(&before).await;
    let after = Memory::default();
    restore(&after, File::new(&file), &plainly()).await.unwrap();
    let stored = after.get(&[part.key()]).await.unwrap().pop().flatten().unwrap();
    let restored = decode(&part.key(), &stored.value).unwrap().value;
    for (before, after) in part.targets.iter().zip(restored.targets) {
        let expected = match before.state {
            State::Queued => State::Cancelled,
            State::Routed => State::Unknown,
            state => state,
        };
        assert_eq!(after.state, expected, "from {:?}", before.state);
    }
}

#[tokio::test]
async fn an_empty_ledger_is_a_backup_too() {
    let (file, summary) = taken(&Memory::default()).await;
    assert_eq!((summary.configs, summary.decision), (0, 0));
    let restored = restore(&Memory::default(), File::new(&file), &plainly()).await;
    assert_eq!(restored.unwrap().decision, 0);
}

#[tokio::test]
async fn a_ledger_with_something_in_it_is_replaced_only_when_asked() {
    let (file, _) = taken(&ledger().await).await;
    let after = Memory::default();
    let stray = Config { name: "stray".to_owned(), revisions: Vec::new() };
    let value = tables::configs::encode(&stray, &Bytes::new());
    set(&after, Key::config("stray"), 1, value.clone()).await;
    set(&after, Key::intent(), 90, tables::intent::encode(&Assignments::default(), &Bytes::new()))
        .await;
    let before = contents(&after).await;
    let refused = restore(&after, File::new(&file), &plainly()).await.unwrap_err();
    assert!(matches!(&refused, BackupError::NotEmpty(what) if what.contains("1 in configs")));
    assert_eq!(contents(&after).await, before);

    let how = Restore { at_least: Version(50), replace: true, hold: None };
    let restored = restore(&after, File::new(&file), &how).await.unwrap();
    assert_eq!(restored.decision, 91, "a decision never goes back");
    assert_eq!(contents(&after).await, contents(&ledger().await).await);
}

#[tokio::test]
async fn a_hold_is_put_on_and_an_older_one_kept() {
    let hold =
        |reason: &str| Some(Hold { since: NOW, reason: reason.to_owned(), actor: String::new() });
    let how = |reason| Restore { hold: hold(reason), replace: true, ..plainly() };
    let (file, _) = taken(&ledger().await).await;
    let after = Memory::default();
    restore(&after, File::new(&file), &how("restored")).await.unwrap();
    let (file, summary) = taken(&after).await;
    assert!(summary.held);
    restore(&after, File::new(&file), &how("again")).await.unwrap();
    let stored = after.get(&[Key::intent()]).await.unwrap().pop().flatten().unwrap();
    let held = tables::intent::decode(&Key::intent(), &stored.value).unwrap().value.hold;
    assert_eq!(held, hold("restored"));
}

/// Every byte counts: whatever is changed or cut off, nothing is written.
#[tokio::test]
async fn a_damaged_file_is_refused_and_nothing_written() {
    let (file, _) = taken(&ledger().await).await;
    let refused = async |bytes: &[u8]| {
        let after = Memory::default();
        let refused = restore(&after, File::new(bytes), &plainly()).await.unwrap_err();
        let named = matches!(refused, BackupError::Damaged { .. } | BackupError::Newer(_));
        assert!(named, "{refused}");
        let nothing = contents(&Memory::default()).await;
        assert_eq!(contents(&after).await, nothing, "written from a damaged file");
        refused.to_string()
    };
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 0x10;
        refused(&flipped).await;
        refused(&file[..at]).await;
    }
    let more = [&file[..], b"x"].concat();
    assert!(refused(&more).await.contains("something follows the end"));
    assert!(refused(&file[..file.len() - 1]).await.contains("ends too early"));
    assert!(refused(b"[serve]\nfleet = 1").await.contains("not a backup of muster"));
}

#[tokio::test]
async fn what_could_not_be_put_back_is_not_taken() {
    let store = ledger().await;
    let take = async |store: &Memory| {
        take(store, "muster", "0.1.0", NOW, &mut Vec::new()).await.unwrap_err().to_string()
    };
    set(&store, Key::config("edge"), 4, Bytes::from_static(b"nonsense")).await;
    assert!(take(&store).await.contains("configs/edge cannot be read"));
    let gone = Config { name: "edge".to_owned(), revisions: Vec::new() };
    set(&store, Key::config("edge"), 5, tables::configs::encode(&gone, &Bytes::new())).await;
    set(&store, Key::config("collector"), 4, Bytes::new()).await;
    assert!(take(&store).await.contains("all assigns collector@2, which is missing"));
    let store = with_settings().await;
    set(&store, tables::settings::sealed_key("backend", &HASH), 2, Bytes::new()).await;
    assert!(take(&store).await.contains("settings/backend@0505"), "its content is not there");
}

#[tokio::test]
async fn the_newest_decision_is_found_among_records() {
    let records = Memory::default();
    assert_eq!(newest_decision(&records).await.unwrap(), 0);
    for (number, decision) in [(1, 7), (2, 57), (3, 12)] {
        let uid = InstanceUid::from_bytes([number; 16]);
        let mut record = AgentRecord::new(uid, NOW);
        record.offered = Offered { config: None, decision };
        let value = tables::agents::encode(&record, &Bytes::new());
        set(&records, Key::agent(&uid), 1, value).await;
    }
    set(&records, Key::agent(&UID), 1, Bytes::from_static(b"nonsense")).await;
    assert_eq!(newest_decision(&records).await.unwrap(), 57);
}

#[tokio::test]
async fn golden_backups_are_put_back_for_ever() {
    let mut files = Golden::of(env!("CARGO_MANIFEST_DIR")).part("backup");
    let today = taken(&with_packages().await).await.0;
    for (version, file) in files.versions("backup", 4, &today) {
        let before = match version {
            1 | 2 => ledger().await,
            3 => with_settings().await,
            _ => with_packages().await,
        };
        let summary = taken(&before).await.1;
        let after = Memory::default();
        let restored = restore(&after, File::new(&file), &plainly()).await.unwrap();
        assert_eq!(restored.summary, Summary { bytes: restored.summary.bytes, ..summary });
        assert_eq!(contents(&after).await, contents(&before).await);
    }
    files.finish();
}
