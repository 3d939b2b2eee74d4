//! Labels that operators give, and agents that go.

use std::time::Duration;

use bus::v1::forget_reply::Outcome;
use bus::v1::{Forget, ForgetReply, Reassess, ReassessReply};
use bus::{Inbox, Subject, WORKERS};
use control::v1::*;
use tokio::time::timeout;
use tonic::Code;

use crate::rig::{PATIENCE, Rig, Watched, agent, put, until};

async fn with_agents(count: u8) -> Rig {
    let records = Watched::default();
    for byte in 1..=count {
        put(&records, &agent(byte, if byte == 1 { "dev" } else { "prod" })).await;
    }
    Rig::with(records).await
}

fn label(selector: &str, key: &str, value: &str) -> LabelAgentsRequest {
    let set = [(key.to_owned(), value.to_owned())].into();
    LabelAgentsRequest { selector: selector.to_owned(), set, ..Default::default() }
}

/// Answers for the workers that everything was done.
async fn relabelled(inbox: &mut Inbox<Reassess>) -> Reassess {
    let (ask, responder) =
        timeout(PATIENCE, inbox.next()).await.expect("a request").unwrap().split();
    responder.send(&ReassessReply::default()).await;
    ask
}

#[tokio::test]
async fn labels_are_stored_before_workers_are_told() {
    let mut rig = with_agents(3).await;
    let mut worker = rig.bus.join(&Subject::Reassess, WORKERS, 8).await.unwrap();
    let mut preview = label("env=prod", "ring", "1");
    preview.validate_only = true;
    let said = rig.agents.label_agents(preview).await.unwrap().into_inner();
    assert_eq!(said.changed_agents, 2);
    let request = label("env=prod", "ring", "1");
    let mut agents = rig.agents.clone();
    let (done, ask) = tokio::join!(agents.label_agents(request), relabelled(&mut worker));
    assert_eq!(done.unwrap().get_ref().changed_agents, 2);
    assert!(ask.labels);
    assert_eq!(ask.instance_uids, [vec![2_u8; 16], vec![3_u8; 16]]);
}

#[tokio::test]
async fn bad_labels_name_what_is_wrong_and_change_nothing() {
    let mut rig = with_agents(1).await;
    for (request, field) in [
        (label("", "a", "b"), "selector"),
        (label("env in", "a", "b"), "selector"),
        (label("*", "a b", "c"), "set"),
        (label("*", "a", "b,c"), "set"),
        (label("*", &"a".repeat(300), "b"), "set"),
        (LabelAgentsRequest { selector: "*".to_owned(), ..Default::default() }, "set"),
        (LabelAgentsRequest { name: "agents/x".to_owned(), ..label("", "a", "b") }, "name"),
    ] {
        let error = rig.agents.label_agents(request.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{request:?}");
        assert!(error.message().starts_with(field), "{error}");
    }
    let nobody = format!("agents/{}", opamp::InstanceUid::from_bytes([9; 16]));
    let request = LabelAgentsRequest { name: nobody, ..label("", "a", "b") };
    assert_eq!(rig.agents.label_agents(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_connected_agent_is_not_deleted_and_another_is_at_the_version_seen() {
    let mut rig = with_agents(2).await;
    let mut polls = agent(1, "prod");
    polls.polls = true;
    polls.last_seen = model::Clock::now(&*rig.clock);
    rig.commit(&polls).await;
    let delete = |byte: u8| DeleteAgentRequest {
        name: format!("agents/{}", opamp::InstanceUid::from_bytes([byte; 16])),
    };
    let mut agents = rig.agents.clone();
    until("it is seen to be connected", async || {
        let refused = agents.delete_agent(delete(1)).await.map(drop).unwrap_err();
        refused.code() == Code::FailedPrecondition
    })
    .await;
    let mut worker = rig.bus.join::<Forget>(&Subject::Forget, WORKERS, 8).await.unwrap();
    let worker = async {
        let (ask, responder) = worker.next().await.unwrap().split();
        let outcomes = vec![Outcome::Forgotten.into()];
        responder.send(&ForgetReply { outcomes }).await;
        ask
    };
    let (done, ask) = tokio::join!(rig.agents.delete_agent(delete(2)), worker);
    done.unwrap();
    assert_eq!((&ask.targets[0].instance_uid[..], ask.targets[0].version), (&[2; 16][..], 1));
    assert_eq!(rig.agents.delete_agent(delete(9)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_is_silent_for_too_long_is_forgotten() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let after = Duration::from_secs(3600);
    let rig = Rig::keeping_house(records, after).await;
    let mut worker = rig.bus.join::<Forget>(&Subject::Forget, WORKERS, 8).await.unwrap();
    let received = timeout(PATIENCE, worker.next()).await.expect("a request in time").unwrap();
    assert_eq!(received.body.targets.len(), 1, "it was last seen before the clock began");
}
