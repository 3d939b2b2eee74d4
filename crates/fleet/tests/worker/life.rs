//! Labels that outlive a record, and records that go.

use bus::v1::forget::Target;
use bus::v1::forget_reply::Outcome;
use bus::v1::{Forget, Reassess};
use bus::{Position, Subject};
use model::Event;

use crate::rig::{PATIENCE, Rig, bare, claim, hello, instance, poll, until};

async fn forget(rig: &Rig, uid: u8, version: u64) -> i32 {
    forget_unseen(rig, uid, version, 0).await
}

async fn forget_unseen(rig: &Rig, uid: u8, version: u64, unseen_since_unix_ms: u64) -> i32 {
    let instance_uid = instance(uid).as_bytes().to_vec().into();
    let targets = vec![Target { instance_uid, version }];
    let ask = Forget { targets, unseen_since_unix_ms };
    rig.bus.request(&Subject::Forget, &ask, PATIENCE).await.unwrap().outcomes[0]
}

#[tokio::test]
async fn labels_are_copied_when_told_and_into_every_new_life() {
    let rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    rig.label(1, "env", "prod").await;
    let instance_uids = vec![instance(1).as_bytes().to_vec().into()];
    let ask = Reassess { instance_uids, decision: 0, labels: true, credentials: false };
    let answer = rig.bus.request(&Subject::Reassess, &ask, PATIENCE).await.unwrap();
    assert_eq!((answer.changed, answer.failed), (1, 0));
    assert_eq!(rig.record(1).await.labels["env"], "prod");
    let version = rig.stored(1).await.unwrap().version.0;
    assert_eq!(forget(&rig, 1, version).await, i32::from(Outcome::Forgotten));
    rig.accepted(claim("gw", 2, &hello(1, 0))).await;
    assert_eq!(rig.record(1).await.labels["env"], "prod");
}

#[tokio::test]
async fn only_what_was_judged_is_forgotten_and_the_log_is_told() {
    let rig = Rig::new().await;
    let mut log = rig.bus.events(Position(1)).await.unwrap();
    rig.accepted(poll(&hello(1, 0))).await;
    let version = rig.stored(1).await.unwrap().version.0;
    assert_eq!(forget(&rig, 1, version + 1).await, i32::from(Outcome::Changed));
    assert_eq!(forget(&rig, 2, 1).await, i32::from(Outcome::Changed));
    assert_eq!(forget(&rig, 1, version).await, i32::from(Outcome::Forgotten));
    until("nothing is left", async || rig.stored(1).await.is_none()).await;
    // In its next life it is another one, which asks for everything and counts from 1.
    let (_, reply) = rig.accepted(poll(&hello(1, 5))).await;
    assert_eq!(reply.flags, 0, "its first report was complete");
    let mut told = Vec::new();
    while !told.ends_with(&[Event::Appeared]) || told.len() == 1 {
        let next = tokio::time::timeout(PATIENCE, log.next()).await.unwrap().unwrap();
        let event = bus::event::decode(next.unwrap().1).unwrap();
        told.extend(
            event
                .events
                .into_iter()
                .filter(|event| matches!(event, Event::Appeared | Event::Forgotten)),
        );
    }
    assert_eq!(told, [Event::Appeared, Event::Forgotten, Event::Appeared]);
}

#[tokio::test]
async fn a_decision_makes_no_record_of_somebody_who_was_forgotten() {
    let rig = Rig::new().await;
    rig.assign("a: 1", true).await;
    let instance_uids = vec![instance(1).as_bytes().to_vec().into()];
    let ask = Reassess { instance_uids, decision: 1, labels: true, credentials: false };
    rig.bus.request(&Subject::Reassess, &ask, PATIENCE).await.unwrap();
    assert!(rig.stored(1).await.is_none());
}

/// Its record is as old as its last change, and control may have started a moment ago.
#[tokio::test]
async fn who_only_polls_is_not_forgotten() {
    let rig = Rig::new().await;
    rig.accepted(poll(&hello(1, 0))).await;
    let stored = rig.stored(1).await.unwrap().version;
    let since = model::Clock::now(&*rig.clock).0;
    rig.accepted(poll(&bare(1, 1))).await;
    assert_eq!(rig.stored(1).await.unwrap().version, stored, "nothing is written");
    let forget = |since| forget_unseen(&rig, 1, stored.0, since);
    assert_eq!(forget(since).await, i32::from(Outcome::Changed));
    let later = model::Clock::now(&*rig.clock).0;
    assert_eq!(forget(later).await, i32::from(Outcome::Forgotten));
}
