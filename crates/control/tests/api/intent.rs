//! What operators decide, and the reconciler that makes it happen.

use std::sync::Arc;

use std::collections::BTreeSet;

use bus::v1::{IntentChanged, Reassess, ReassessReply};
use bus::{Inbox, Subject, WORKERS};
use control::Limits;
use control::v1::*;
use model::record::Offered;
use model::selector::Selector;
use model::{ConfigHash, RevisionRef};
use opamp::v1::{RemoteConfigStatus, RemoteConfigStatuses};
use store::{Key, Store as _, Write, tables};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::rig::{PATIENCE, Rig, Watched, connected, put, until};
use crate::{apply, set};

/// Plays the workers: their share of what is to be reassessed.
async fn worker(rig: &Rig) -> Inbox<Reassess> {
    rig.bus.join(&Subject::Reassess, WORKERS, 64).await.unwrap()
}

/// Answers the next request that workers get.
async fn asked(worker: &mut Inbox<Reassess>, failed: u32) -> Reassess {
    let received = timeout(PATIENCE, worker.next()).await.expect("a request in time").unwrap();
    let (ask, responder) = received.split();
    responder.send(&ReassessReply { failed, ..Default::default() }).await;
    ask
}

async fn with_agents(count: u8, limits: Limits) -> Rig {
    let records = Watched::default();
    for byte in 1..=count {
        put(&records, &connected(byte, "prod")).await;
    }
    let rig = Rig::start(records, limits).await;
    until("the view is ready", async || rig.control.ready()).await;
    rig
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let rig = Arc::new(Rig::new().await);
    let mut writers = JoinSet::new();
    for n in 0..16 {
        let mut configs = rig.configs.clone();
        writers.spawn(async move { configs.apply_config(apply("c", &format!("a: {n}"))).await });
    }
    let mut numbers = BTreeSet::new();
    while let Some(applied) = writers.join_next().await {
        match applied.unwrap() {
            Ok(revision) => {
                assert!(numbers.insert(revision.get_ref().revision), "a number given twice");
            }
            Err(error) => assert_eq!(error.code(), Code::Aborted, "{error}"),
        }
    }
    let name = "configs/c".to_owned();
    let config = rig.configs.clone().get_config(GetConfigRequest { name }).await.unwrap();
    let stored: BTreeSet<u64> =
        config.get_ref().revisions.iter().map(|found| found.revision).collect();
    assert_eq!(stored, numbers, "what was acknowledged is what is there");
    assert_eq!(stored.last(), Some(&(stored.len() as u64)), "numbers have no holes");
}

#[tokio::test]
async fn a_decision_is_announced() {
    let mut rig = Rig::new().await;
    let mut told: Inbox<IntentChanged> = rig.bus.subscribe(&Subject::Intent, 8).await.unwrap();
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let heard = timeout(PATIENCE, told.next()).await.unwrap().unwrap();
    assert_eq!(heard.body.decision, rig.decision().await);
}

/// As many decisions as the ledger that was lost may have had, and more.
#[tokio::test]
async fn an_empty_ledger_counts_on_from_any_that_was_lost() {
    let mut rig = Rig::new().await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let lost = rig.decision().await;
    rig.ledger.inner.lose(store::Generation(9));
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    assert!(rig.decision().await > lost, "agents would take it for older");
}

#[tokio::test]
async fn a_config_that_cannot_be_read_hides_no_other() {
    let mut rig = Rig::new().await;
    for name in ["one", "two"] {
        rig.configs.apply_config(apply(name, "a: 1")).await.unwrap();
    }
    let key = Key::config("one");
    let ledger = &rig.ledger.inner;
    let stored = ledger.get(std::slice::from_ref(&key)).await.unwrap().pop().flatten().unwrap();
    let broken = bytes::Bytes::from_static(b"nonsense");
    let write = Write::next(key.clone(), stored.version, broken.clone());
    ledger.commit(vec![write]).await.unwrap();
    let list =
        rig.configs.list_configs(ListConfigsRequest::default()).await.unwrap().into_inner().configs;
    let names: Vec<&str> = list.iter().map(|config| config.name.as_str()).collect();
    assert_eq!(names, ["configs/two"]);
    let refused = rig.configs.apply_config(apply("one", "a: 2")).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss);
    assert!(refused.message().contains("configs/one"), "{refused}");
    let place = store::quarantine::place(&key);
    let kept = ledger.get(std::slice::from_ref(&place)).await.unwrap().pop().flatten().unwrap();
    let kept = tables::quarantine::decode(&place, &kept.value).unwrap().value;
    assert_eq!(kept.value, broken);
}

#[tokio::test]
async fn agents_that_could_not_be_reassessed_are_asked_for_again() {
    let mut rig = with_agents(1, Limits::default()).await;
    let mut worker = worker(&rig).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let first = asked(&mut worker, 1).await;
    assert_eq!(asked(&mut worker, 0).await, first);
}

#[tokio::test]
async fn a_decision_made_while_no_worker_lives_is_not_forgotten() {
    let mut rig = with_agents(1, Limits::default()).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let mut worker = worker(&rig).await;
    assert_eq!(asked(&mut worker, 0).await.decision, rig.decision().await);
}

#[tokio::test]
async fn another_controls_decision_is_reconciled_too() {
    let mut rig = with_agents(1, Limits::default()).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("dev", "env=dev", "c", 0)).await.unwrap();
    let mut worker = worker(&rig).await;
    // As another control leaves it: a value in the ledger and a word on the bus.
    let key = Key::intent();
    let stored = rig.ledger.inner.get(std::slice::from_ref(&key)).await.unwrap().pop().flatten();
    let stored = stored.unwrap();
    let mut loaded = tables::intent::decode(&key, &stored.value).unwrap();
    loaded.value.list[0].selector = Selector::parse("env=prod").unwrap();
    let value = tables::intent::encode(&loaded.value, &loaded.unknown);
    let write = Write::next(key, stored.version, value);
    rig.ledger.inner.commit(vec![write]).await.unwrap();
    let decision = stored.version.next().0;
    rig.bus.publish(&Subject::Intent, &IntentChanged { decision }).await.unwrap();
    assert_eq!(asked(&mut worker, 0).await.decision, decision);
}

#[tokio::test]
async fn removing_an_assignment_leaves_agents_as_they_are() {
    let records = Watched::default();
    let mut has = connected(1, "prod");
    let files = apply("c", "a: 1").files;
    let hash = ConfigHash::of(&files);
    let config = Some(RevisionRef { config: "c".to_owned(), revision: 1, hash });
    has.offered = Offered { config, decision: 1 };
    // It has answered: nobody asks about it for any other reason.
    has.reported.remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: hash.0.to_vec(),
        status: RemoteConfigStatuses::Applied.into(),
        ..Default::default()
    });
    put(&records, &has).await;
    let mut rig = Rig::with(records).await;
    let mut worker = worker(&rig).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let name = "assignments/all".to_owned();
    rig.assignments.delete_assignment(DeleteAssignmentRequest { name }).await.unwrap();
    // A later decision about the agent is the first thing that workers hear of.
    rig.configs.apply_config(apply("other", "b: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "other", 0)).await.unwrap();
    assert_eq!(asked(&mut worker, 0).await.decision, rig.decision().await);
}

#[tokio::test]
async fn large_fleets_are_asked_for_in_parts() {
    let mut rig = with_agents(21, Limits { reassess_max: 4, ..Limits::default() }).await;
    let mut worker = worker(&rig).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 21 {
        let ask = asked(&mut worker, 0).await;
        assert!(ask.instance_uids.len() <= 4);
        for uid in ask.instance_uids {
            assert!(seen.insert(uid), "an agent asked for twice in one look");
        }
    }
}
