//! Stores that are away, silent or read-only, and what operators see of it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use control::Limits;
use control::v1::*;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::rig::{Rig, Watched, agent, put, until};
use crate::{apply, list, set};

/// What the health service says of a service.
pub(crate) async fn health(rig: &Rig, service: &str) -> i32 {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(rig.channel.clone()).check(request).await.map_or(-1, |ok| ok.get_ref().status)
}

type Answer = (&'static str, Option<Code>);

/// A call and the code of its failure. It must come within 2 s.
fn timed<'a, T: 'a>(
    what: &'static str,
    call: impl Future<Output = Result<T, Status>> + Send + 'a,
) -> BoxFuture<'a, Answer> {
    async move {
        let start = Instant::now();
        let code = call.await.err().map(|status| status.code());
        assert!(start.elapsed() < Duration::from_secs(2), "{what} took {:?}", start.elapsed());
        (what, code)
    }
    .boxed()
}

/// Everything an operator may ask of a store.
fn calls(rig: &Rig) -> Vec<BoxFuture<'_, Answer>> {
    let (agents, configs, assignments) = (&rig.agents, &rig.configs, &rig.assignments);
    let name = format!("agents/{}", opamp::InstanceUid::from_bytes([1; 16]));
    let revision = "configs/c/revisions/latest".to_owned();
    let all = "assignments/all".to_owned();
    vec![
        timed("get agent", async move { agents.clone().get_agent(GetAgentRequest { name }).await }),
        timed("apply", async move { configs.clone().apply_config(apply("c", "a: 2")).await }),
        timed("list configs", async move {
            configs.clone().list_configs(ListConfigsRequest::default()).await
        }),
        timed("get revision", async move {
            let request = GetConfigRevisionRequest { name: revision };
            configs.clone().get_config_revision(request).await
        }),
        timed(
            "set",
            async move { assignments.clone().set_assignment(set("all", "", "c", 0)).await },
        ),
        timed("list assignments", async move {
            assignments.clone().list_assignments(ListAssignmentsRequest {}).await
        }),
        timed("delete", async move {
            let request = DeleteAssignmentRequest { name: all };
            assignments.clone().delete_assignment(request).await
        }),
    ]
}

#[tokio::test]
async fn a_store_that_is_away_or_silent_is_told_fast_and_lists_go_on() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let mut rig = Rig::with(records).await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    let switches = [
        [rig.records.away.clone(), rig.ledger.away.clone()],
        [rig.records.silent.clone(), rig.ledger.silent.clone()],
    ];
    for pair in switches {
        pair.iter().for_each(|switch| switch.store(true, Ordering::Relaxed));
        for (call, code) in join_all(calls(&rig)).await {
            assert_eq!(code, Some(Code::Unavailable), "{call}");
        }
        assert_eq!(rig.total("").await, 1, "the view needs no store");
        pair.iter().for_each(|switch| switch.store(false, Ordering::Relaxed));
    }
    for call in calls(&rig) {
        let (call, code) = call.await;
        assert_eq!(code, None, "{call}");
    }
}

#[tokio::test]
async fn what_was_not_written_is_never_said_to_be() {
    let mut rig = Rig::new().await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.ledger.read_only.store(true, Ordering::Relaxed);
    let error = rig.configs.apply_config(apply("c", "a: 2")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let error = rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    rig.ledger.read_only.store(false, Ordering::Relaxed);
    let second = rig.configs.apply_config(apply("c", "a: 2")).await.unwrap();
    assert_eq!(second.get_ref().revision, 2, "nothing was left behind");
}

#[tokio::test]
async fn nothing_is_listed_or_called_healthy_before_the_fleet_was_read() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    // Silent, not away: the read must not wait for ever.
    records.silent.store(true, Ordering::Relaxed);
    let limits = Limits {
        retry_min: Duration::from_millis(5),
        scan_timeout: Duration::from_millis(20),
        ..Limits::default()
    };
    let mut rig = Rig::start(records, limits).await;
    let error = rig.agents.list_agents(list("", 0, "")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    until("it is said not to serve", async || health(&rig, "").await == 2).await;
    assert!(!rig.control.ready());
    rig.records.silent.store(false, Ordering::Relaxed);
    until("the fleet is read", async || rig.control.ready()).await;
    assert_eq!(rig.total("").await, 1);
    until("it is said to serve", async || health(&rig, "").await == 1).await;
}
