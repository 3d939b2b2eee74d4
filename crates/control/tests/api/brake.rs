//! How fast a decision spreads, what stops it, and what is said beforehand.

use bus::v1::{Reassess, ReassessReply};
use bus::{Inbox, Subject, WORKERS};
use control::Limits;
use control::v1::assignment::State;
use control::v1::*;
use model::record::{Delivered, Offered};
use model::{AgentRecord, ConfigHash, RevisionRef, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{RemoteConfigStatus, RemoteConfigStatuses};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Key, Store as _, tables};
use tokio::time::timeout;
use tonic::Code;

use crate::rig::{PATIENCE, Rig, Watched, connected, put, until};
use crate::{apply, set};

/// Agents with a session at a gateway that is heard of by their records.
async fn fleet(agents: u8) -> Rig {
    let records = Watched::default();
    for byte in 1..=agents {
        put(&records, &connected(byte, "prod")).await;
    }
    let limits = Limits { brake_pace: Duration::from_millis(1), ..Limits::default() };
    let mut rig = Rig::start(records, limits).await;
    until("the view is ready", async || rig.control.ready()).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig
}

fn braked(max_in_flight: i32, max_failures: i32) -> SetAssignmentRequest {
    let mut request = set("all", "", "c", 0);
    let assignment = request.assignment.as_mut().unwrap();
    (assignment.max_in_flight, assignment.max_failures) = (max_in_flight, max_failures);
    request
}

/// Plays the workers and the agents: whoever is let through is told, and may answer.
struct Hand {
    inbox: Inbox<Reassess>,
    told: BTreeSet<InstanceUid>,
}

impl Hand {
    async fn new(rig: &Rig) -> Self {
        let inbox = rig.bus.join(&Subject::Reassess, WORKERS, 64).await.unwrap();
        Self { inbox, told: BTreeSet::new() }
    }

    /// Offers to those who are let through, until so many were told.
    async fn tell(&mut self, rig: &Rig, count: usize) {
        while self.told.len() < count {
            let received = timeout(PATIENCE, self.inbox.next()).await.expect("a request").unwrap();
            let (ask, responder) = received.split();
            for uid in ask.instance_uids {
                let uid = InstanceUid::try_from(&uid[..]).unwrap();
                if self.told.insert(uid) {
                    self.offer(rig, &uid).await;
                }
            }
            responder.send(&ReassessReply::default()).await;
        }
    }

    async fn offer(&self, rig: &Rig, uid: &InstanceUid) {
        let found = assignment(rig).await;
        let (config, hash) = (found.config_revision, revision_hash(rig).await);
        assert_eq!(config, "configs/c/revisions/1");
        let mut record = stored(rig, uid).await;
        let config = Some(RevisionRef { config: "c".to_owned(), revision: 1, hash });
        record.offered = Offered { config, decision: 1 };
        record.delivered = Some(Delivered { hash, epoch: 1, n: 0, at: Timestamp(1) });
        rig.commit(&record).await;
    }
}

async fn revision_hash(rig: &Rig) -> ConfigHash {
    let name = "configs/c/revisions/1".to_owned();
    let mut configs = rig.configs.clone();
    let revision = configs.get_config_revision(GetConfigRevisionRequest { name }).await.unwrap();
    ConfigHash::from_slice(&revision.get_ref().hash).unwrap()
}

async fn stored(rig: &Rig, uid: &InstanceUid) -> AgentRecord {
    let key = Key::agent(uid);
    let found = rig.records.inner.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap();
    tables::agents::decode(&key, &found.unwrap().value).unwrap().value
}

async fn answer(rig: &Rig, uid: &InstanceUid, status: RemoteConfigStatuses) {
    let mut record = stored(rig, uid).await;
    let hash = revision_hash(rig).await;
    record.reported.remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: hash.0.to_vec(),
        status: status.into(),
        ..Default::default()
    });
    rig.commit(&record).await;
}

async fn listed(rig: &Rig) -> ListAssignmentsResponse {
    let mut assignments = rig.assignments.clone();
    assignments.list_assignments(ListAssignmentsRequest {}).await.unwrap().into_inner()
}

async fn assignment(rig: &Rig) -> Assignment {
    listed(rig).await.assignments.remove(0)
}

async fn progress(rig: &Rig) -> assignment::Progress {
    assignment(rig).await.progress.unwrap()
}

#[tokio::test]
async fn no_more_than_so_many_offers_are_in_flight() {
    let mut rig = fleet(20).await;
    let mut hand = Hand::new(&rig).await;
    let answered = rig.assignments.set_assignment(braked(3, 0)).await.unwrap().into_inner();
    assert_eq!(answered.affected_agents, 20);
    for round in 0..6 {
        hand.tell(&rig, 3 * (round + 1)).await;
        until("three are in flight", async || progress(&rig).await.in_flight == 3).await;
        assert_eq!(hand.told.len(), 3 * (round + 1), "nobody else was let through");
        for uid in hand.told.clone() {
            answer(&rig, &uid, RemoteConfigStatuses::Applied).await;
        }
    }
    hand.tell(&rig, 20).await;
    for uid in hand.told.clone() {
        answer(&rig, &uid, RemoteConfigStatuses::Applied).await;
    }
    until("it is done", async || progress(&rig).await.state() == State::Done).await;
    assert_eq!(progress(&rig).await.applied, 20);
}

#[tokio::test]
async fn it_stops_once_too_many_failed_and_says_so() {
    let mut rig = fleet(20).await;
    let mut hand = Hand::new(&rig).await;
    rig.assignments.set_assignment(braked(4, 2)).await.unwrap();
    hand.tell(&rig, 4).await;
    let told: Vec<InstanceUid> = hand.told.iter().copied().collect();
    answer(&rig, &told[0], RemoteConfigStatuses::Failed).await;
    hand.tell(&rig, 5).await;
    answer(&rig, &told[1], RemoteConfigStatuses::Failed).await;
    until("it has stopped", async || progress(&rig).await.state() == State::Stopped).await;
    answer(&rig, &told[2], RemoteConfigStatuses::Applied).await;
    until("the answer is counted", async || progress(&rig).await.applied == 1).await;
    let progress = progress(&rig).await;
    assert_eq!((progress.failed, progress.in_flight, progress.waiting), (2, 2, 15));
    // Set again, it stops again, unless more may fail.
    let again = rig.assignments.set_assignment(braked(4, 2)).await.unwrap().into_inner();
    assert_eq!(again.assignment.unwrap().progress.unwrap().state(), State::Stopped);
    let more = rig.assignments.set_assignment(braked(4, 3)).await.unwrap().into_inner();
    assert_eq!(more.assignment.unwrap().progress.unwrap().state(), State::Releasing);
}

#[tokio::test]
async fn an_agent_that_went_silent_with_an_offer_holds_its_place() {
    let mut rig = fleet(3).await;
    let mut hand = Hand::new(&rig).await;
    rig.assignments.set_assignment(braked(1, 0)).await.unwrap();
    hand.tell(&rig, 1).await;
    let mut record = stored(&rig, hand.told.first().unwrap()).await;
    record.owner = None;
    rig.commit(&record).await;
    until("it is seen to be gone", async || rig.total("").await == 3).await;
    let name = format!("agents/{}", record.instance_uid);
    let mut agents = rig.agents.clone();
    until("it is seen to be gone", async || {
        let request = GetAgentRequest { name: name.clone() };
        let found = agents.get_agent(request).await.unwrap().into_inner();
        found.status() == ConnectionStatus::Disconnected
    })
    .await;
    let progress = progress(&rig).await;
    assert_eq!((progress.in_flight, progress.waiting), (1, 2));
}

#[tokio::test]
async fn a_preview_changes_nothing_and_says_who_would_change() {
    let mut rig = fleet(3).await;
    let mut preview = braked(0, 0);
    preview.validate_only = true;
    let said = rig.assignments.set_assignment(preview).await.unwrap().into_inner();
    let impact = said.impact.unwrap();
    assert_eq!((said.matched_agents, impact.agents, impact.disconnected_agents), (3, 3, 0));
    assert_eq!(impact.kinds[0].agents, 3);
    assert!(listed(&rig).await.assignments.is_empty());
    let error = rig.assignments.set_assignment(braked(-1, 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("assignment.max_in_flight"), "{error}");
}

#[tokio::test]
async fn a_hold_is_shown_and_only_a_resume_ends_it() {
    let mut rig = fleet(2).await;
    let hold = |reason: &str| HoldOffersRequest { reason: reason.to_owned() };
    rig.assignments.hold_offers(hold("incident")).await.unwrap();
    let second = rig.assignments.hold_offers(hold("another")).await.unwrap().into_inner();
    assert_eq!(second.hold.unwrap().reason, "incident", "the first one stays");
    let mut hand = Hand::new(&rig).await;
    rig.assignments.set_assignment(braked(0, 0)).await.unwrap();
    assert_eq!(listed(&rig).await.hold.unwrap().reason, "incident");
    let nobody = timeout(Duration::from_millis(200), hand.inbox.next()).await;
    assert!(nobody.is_err(), "nobody is told while offers are held");
    let resumed = rig.assignments.resume_offers(ResumeOffersRequest {}).await.unwrap();
    assert_eq!(resumed.get_ref().waiting_agents, 2);
    hand.tell(&rig, 2).await;
    assert!(listed(&rig).await.hold.is_none());
}

#[tokio::test]
async fn a_config_of_nothing_is_refused_unless_it_is_meant() {
    let mut rig = fleet(0).await;
    let error = rig.configs.apply_config(apply("empty", " \n")).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("allow_empty"), "{error}");
    let name = "configs/empty".to_owned();
    let meant = ApplyConfigRequest { name, allow_empty: true, ..Default::default() };
    assert_eq!(rig.configs.apply_config(meant).await.unwrap().get_ref().revision, 1);
}
