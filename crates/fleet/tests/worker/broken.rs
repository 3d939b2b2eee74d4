//! Values that cannot be read: what they cost, and what they must not.

use bus::Subject;
use bus::v1::report_reply::Outcome;
use bus::v1::{Generation, Reassess, ReassessReply};
use bytes::Bytes;
use opamp::v1::ServerToAgentFlags;
use store::{Key, Store as _, Stored, Version, Write, quarantine, tables};

use crate::next;
use crate::rig::{PATIENCE, Rig, bare, claim, hello, instance, until};

const FULL: u64 = ServerToAgentFlags::ReportFullState as u64;

/// Puts these bytes in the place of a value, at a version of their own.
async fn overwrite(store: &store::Memory, key: &Key, version: u64, value: &'static [u8]) {
    let there = stored(store, key).await.map_or(Version::ABSENT, |stored| stored.version);
    let gone = Write { version: there.next(), ..Write::next(key.clone(), there, Bytes::new()) };
    store.commit(vec![gone]).await.unwrap();
    let value = Bytes::from_static(value);
    let write = Write {
        key: key.clone(),
        expected: Version::ABSENT,
        version: Version(version),
        value,
        events: Bytes::new(),
    };
    store.commit(vec![write]).await.unwrap();
}

async fn stored(store: &store::Memory, key: &Key) -> Option<Stored> {
    store.get(std::slice::from_ref(key)).await.unwrap().pop().flatten()
}

async fn quarantined(store: &store::Memory, key: &Key) -> Option<Bytes> {
    let place = quarantine::place(key);
    let kept = stored(store, &place).await?;
    Some(tables::quarantine::decode(&place, &kept.value).unwrap().value.value)
}

#[tokio::test]
async fn a_broken_record_is_rebuilt_by_its_agent_and_nobody_else_notices() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    rig.accepted(claim("gw", 2, &hello(2, 0))).await;
    let key = Key::agent(&instance(1));
    let version = rig.stored(1).await.unwrap().version;
    for (broken, at) in [(&b"\xff\xff nonsense"[..], version.0), (b"\x08\x09", 1)] {
        overwrite(&rig.records, &key, at, broken).await;
        // The session that holds the agent cannot be told from any other: it claims anew.
        let known = rig.stored(1).await.unwrap();
        let report = next("gw", 1, epoch, 2, &bare(1, 1));
        assert!(matches!(rig.ask(report).await, Some(Outcome::Stale(_))));
        assert_eq!(rig.stored(1).await.unwrap(), known, "nothing is written for a stale session");
        assert_eq!(quarantined(&rig.records, &key).await.as_deref(), Some(broken));
        let (newer, reply) = rig.accepted(claim("gw", 3, &bare(1, 1))).await;
        assert!(newer > epoch, "{newer} after {epoch}");
        assert_eq!(reply.flags & FULL, FULL, "asked for everything");
        assert!(rig.stored(1).await.unwrap().version > version, "readers take it for newer");
        let (_, reply) = rig.accepted(next("gw", 3, newer, 2, &hello(1, 2))).await;
        assert_eq!(reply.flags & FULL, 0);
        let record = rig.record(1).await;
        assert!(record.reported.agent_description.is_some() && record.epoch == newer);
        // Late words of older sessions count for nothing.
        let late = next("gw", 1, epoch, 9, &bare(1, 9));
        assert!(matches!(rig.ask(late).await, Some(Outcome::Stale(_))));
    }
    assert!(rig.record(2).await.reported.agent_description.is_some());
}

#[tokio::test]
async fn whoever_holds_an_agent_of_a_broken_record_is_told() {
    let rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    let mut told = rig.bus.subscribe::<Generation>(&Subject::Generation, 8).await.unwrap();
    overwrite(&rig.records, &Key::agent(&instance(1)), 1, b"nonsense").await;
    let instance_uids = vec![vec![1; 16].into()];
    let look = Reassess { instance_uids, labels: true, ..Default::default() };
    let _: ReassessReply = rig.bus.request(&Subject::Reassess, &look, PATIENCE).await.unwrap();
    let hears = async {
        loop {
            let lost = told.next().await.unwrap().body.lost;
            if !lost.is_empty() {
                return lost;
            }
        }
    };
    let lost = tokio::time::timeout(PATIENCE, hears).await.expect("told in time");
    assert_eq!(lost, [vec![1_u8; 16]]);
}

#[tokio::test]
async fn assignments_that_cannot_be_read_offer_nothing_and_take_nothing() {
    let rig = Rig::new().await;
    let first = rig.assign("one", true).await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert_eq!(rig.record(1).await.offered.config.unwrap().hash, first);
    let key = Key::intent();
    let before = stored(&rig.ledger, &key).await.unwrap();
    overwrite(&rig.ledger, &key, before.version.0 + 1, b"\x08\x09nonsense").await;
    until("it is kept aside", async || quarantined(&rig.ledger, &key).await.is_some()).await;
    let (_, reply) = rig.accepted(claim("gw", 2, &hello(2, 0))).await;
    assert_eq!(reply.remote_config, None, "nobody knows what was decided");
    assert_eq!(rig.record(2).await.offered.config, None);
    assert_eq!(rig.record(1).await.offered.config.unwrap().hash, first, "nothing is taken away");
    // Restored, under a higher number.
    let there = stored(&rig.ledger, &key).await.unwrap().version;
    let write = Write::next(key, there, before.value);
    rig.ledger.commit(vec![write]).await.unwrap();
    let mut n = 1;
    until("offers go out again", async || {
        n += 1;
        let epoch = rig.record(2).await.epoch;
        let (_, reply) = rig.accepted(next("gw", 2, epoch, n, &bare(2, n - 1))).await;
        reply.remote_config.is_some()
    })
    .await;
}

#[tokio::test]
async fn labels_that_cannot_be_read_keep_no_other_agent_from_its_own() {
    let rig = Rig::new().await;
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    let labels = tables::labels::AgentLabels { labels, ..Default::default() };
    let value = tables::labels::encode(&labels, &Bytes::new());
    let (good, broken) = (Key::labels(&instance(1)), Key::labels(&instance(2)));
    rig.ledger.commit(vec![Write::next(good, Version::ABSENT, value)]).await.unwrap();
    overwrite(&rig.ledger, &broken, 1, b"nonsense").await;
    let (one, two) =
        (rig.accepted(claim("gw", 1, &hello(1, 0))), rig.accepted(claim("gw", 2, &hello(2, 0))));
    tokio::join!(one, two);
    assert_eq!(rig.record(1).await.labels["env"], "prod");
    assert!(rig.record(2).await.labels.is_empty());
    assert_eq!(quarantined(&rig.ledger, &broken).await.unwrap(), "nonsense");
}
