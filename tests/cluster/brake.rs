//! The brake on a cluster: what is held goes out to nobody, and who dies half-way is taken over.

use std::time::Duration;

use agent::Handle;
use control::v1::assignment::State;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use opamp::v1::AgentConfigFile;
use tests::metric;
use tonic::transport::Channel;

use crate::{AGENTS, Cluster, PATIENCE, connected, until};

/// Heartbeats for which agents are watched that are to be offered nothing: two seconds of them,
/// and a look of the governor.
const WATCHED: u64 = 5;
/// Within this a hold is obeyed and a resume is felt.
const PROMPT: Duration = Duration::from_secs(1);

async fn apply(channel: &Channel) {
    let file = AgentConfigFile { body: "receivers: {}".into(), ..Default::default() };
    let files = [(String::new(), file)].into();
    let name = "configs/c".to_owned();
    let request = ApplyConfigRequest { name, files, allow_empty: false };
    ConfigsClient::new(channel.clone()).apply_config(request).await.unwrap();
}

async fn assign(channel: &Channel, max_in_flight: i32) {
    let assignment = Assignment {
        name: "assignments/everyone".to_owned(),
        config_revision: "configs/c".to_owned(),
        max_in_flight,
        ..Default::default()
    };
    let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
    AssignmentsClient::new(channel.clone()).set_assignment(request).await.unwrap();
}

/// How far the only assignment is; `None` while control does not answer.
async fn progress(channel: &Channel) -> Option<assignment::Progress> {
    let mut assignments = AssignmentsClient::new(channel.clone());
    let listed = assignments.list_assignments(ListAssignmentsRequest {}).await.ok()?;
    listed.into_inner().assignments.pop()?.progress
}

fn offers(agents: &[Handle]) -> u64 {
    agents.iter().map(|agent| agent.see(|agent| agent.ledger.offers)).sum()
}

/// Waits until each agent that lives was answered so many times more.
async fn watch(agents: &[Handle]) {
    let living = || agents.iter().filter(|agent| agent.see(|agent| agent.ledger.offers) == 0);
    let heard = |agent: &agent::Agent| agent.ledger.received;
    let before: Vec<(&Handle, u64)> = living().map(|agent| (agent, agent.see(heard))).collect();
    for (agent, before) in before {
        let told = |agent: &agent::Agent| {
            // One that is offered something may be dead by now: whoever counts will notice.
            heard(agent) >= before + WATCHED || agent.ledger.offers > 0
        };
        assert!(agent.until(PATIENCE, told).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_goes_out_to_nobody_until_it_is_resumed() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    until("all are listed", async || connected(&cluster.list().await) == AGENTS).await;
    let channel = &cluster.channel;
    let mut operator = AssignmentsClient::new(channel.clone());
    operator.hold_offers(HoldOffersRequest::default()).await.unwrap();
    apply(channel).await;
    assign(channel, 0).await;
    // They speak meanwhile, and half of them connect anew.
    for agent in &agents[..AGENTS / 2] {
        agent.cut().await;
    }
    watch(&agents).await;
    assert_eq!(offers(&agents), 0);

    operator.resume_offers(ResumeOffersRequest {}).await.unwrap();
    let first = async || until("somebody is offered it", async || offers(&agents) > 0).await;
    assert!(tokio::time::timeout(PROMPT, first()).await.is_ok(), "not within {PROMPT:?}");
    until("all are offered it", async || offers(&agents) == AGENTS as u64).await;
}

/// A gateway that restarts in the middle takes all agents away, and they come back all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_back_is_not_let_through_at_once() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let url = cluster.url(0);
    // Whoever gets the config is gone for good, and has not said how it went.
    let mortal = |number| agent::Settings {
        heartbeat_ms: 500,
        apply: |_| std::panic::panic_any("as it is meant to"),
        ..agent::swarm::settings(number)
    };
    let agents: Vec<Handle> =
        (0..AGENTS).map(|number| agent::start(mortal(number), &url).unwrap()).collect();
    until("all are listed", async || connected(&cluster.list().await) == AGENTS).await;
    apply(&cluster.channel).await;
    assign(&cluster.channel, 2).await;
    until("two are told", async || offers(&agents) == 2).await;
    cluster.real.gateways[0].kill().unwrap();
    until("all are seen to be gone", async || connected(&cluster.list().await) == 0).await;
    let looks =
        async || metric(&cluster.real.controls[0], "muster_control_brake_looks_total").await;
    let before = looks().await;
    until("the governor has seen it too", async || looks().await >= before + 2.0).await;
    cluster.real.gateways[0].restart().unwrap();
    until("the rest is back", async || connected(&cluster.list().await) == AGENTS - 2).await;
    watch(&agents).await;
    assert_eq!(offers(&agents), 2, "nobody else was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_on_where_a_killed_control_left_it() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    until("all are listed", async || connected(&cluster.list().await) == AGENTS).await;
    apply(&cluster.channel).await;
    assign(&cluster.channel, 1).await;
    until("some have it", async || {
        progress(&cluster.channel).await.is_some_and(|progress| progress.applied >= 5)
    })
    .await;
    cluster.real.controls[0].kill().unwrap();
    // Whoever was let through may still be told; nobody else is.
    watch(&agents).await;
    let while_away = offers(&agents);
    assert!(while_away < AGENTS as u64, "{while_away} offers: the front did not stand still");
    cluster.real.controls[0].restart().unwrap();
    until("all have it", async || {
        let found = progress(&cluster.channel).await;
        found.is_some_and(|found| found.state() == State::Done && found.applied == AGENTS as i64)
    })
    .await;
    assert_eq!(offers(&agents), AGENTS as u64, "each was told once");
}
