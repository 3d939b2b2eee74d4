//! Who may ask: operators show a token, and what they did carries its name.

use std::path::Path;
use std::time::Duration;

use control::Limits;
use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use trust::{Files, Keeper};

use crate::rig::{PATIENCE, Rig, Watched, until};
use crate::{apply, faults, list, set};

const ALICE: &str = "0123456789abcdef-alice";
const BOB: &str = "0123456789abcdef-bob";

fn write(path: &Path, holders: &[(&str, &str)]) {
    let lines = holders.iter().map(|(name, token)| format!("{name} {token}\n"));
    std::fs::write(path, lines.collect::<String>()).unwrap();
}

/// A control that asks for tokens, and the directory of its file, which is followed.
async fn guarded(holders: &[(&str, &str)]) -> (Rig, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("operators");
    write(&path, holders);
    let mut keeper = Keeper::default();
    let files = Files { tokens: Some(path), ..Files::default() };
    let door = files.door(b"h2", &mut keeper).unwrap();
    let config = control::Config { limits: Limits::default(), door, ..Default::default() };
    let mut rig = Rig::configured(
        Default::default(),
        Default::default(),
        Watched::default(),
        Watched::default(),
        config,
    )
    .await;
    let stop = rig.shutdown.clone();
    rig.serving.spawn(keeper.run(stop));
    until("the view is ready", async || rig.control.ready()).await;
    (rig, dir)
}

type Shown = InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

fn with(rig: &Rig, show: fn(Request<()>) -> Result<Request<()>, Status>) -> Shown {
    InterceptedService::new(rig.channel.clone(), show)
}

fn show(mut request: Request<()>, text: &'static str) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("authorization", MetadataValue::from_static(text));
    Ok(request)
}

fn as_alice(request: Request<()>) -> Result<Request<()>, Status> {
    show(request, "Bearer 0123456789abcdef-alice")
}

fn as_bob(request: Request<()>) -> Result<Request<()>, Status> {
    show(request, "bearer 0123456789abcdef-bob")
}

fn as_mallory(request: Request<()>) -> Result<Request<()>, Status> {
    show(request, "Bearer 0123456789abcdef-mallory")
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told_but_health() {
    let (mut rig, _dir) = guarded(&[("alice", ALICE)]).await;
    let error = rig.agents.list_agents(list("", 0, "")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    assert!(error.message().contains("Bearer"), "{error}");
    let error = AgentsClient::new(with(&rig, as_mallory)).list_agents(list("", 0, "")).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    assert!(!error.message().contains("mallory"), "no token is repeated: {error}");
    let error = rig.configs.apply_config(apply("c", "a: 1")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    AgentsClient::new(with(&rig, as_alice)).list_agents(list("", 0, "")).await.unwrap();
    until("health is told", async || faults::health(&rig, "").await == 1).await;
}

#[tokio::test]
async fn what_was_done_carries_the_name_of_the_token() {
    let (rig, _dir) = guarded(&[("alice", ALICE), ("bob", BOB)]).await;
    let mut configs = ConfigsClient::new(with(&rig, as_alice));
    let revision = configs.apply_config(apply("c", "a: 1")).await.unwrap().into_inner();
    assert_eq!(revision.actor, "alice");
    let mut assignments = AssignmentsClient::new(with(&rig, as_bob));
    assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    assignments.hold_offers(HoldOffersRequest::default()).await.unwrap();
    let listed = assignments.list_assignments(ListAssignmentsRequest {}).await.unwrap();
    let listed = listed.into_inner();
    assert_eq!(listed.assignments[0].actor, "bob");
    assert_eq!(listed.hold.unwrap().actor, "bob");
    let name = "configs/c".to_owned();
    let config = configs.get_config(GetConfigRequest { name }).await.unwrap().into_inner();
    assert_eq!(config.revisions[0].actor, "alice");
}

#[tokio::test]
async fn a_token_taken_out_ends_what_it_opened() {
    let (rig, dir) = guarded(&[("alice", ALICE), ("bob", BOB)]).await;
    let mut agents = AgentsClient::new(with(&rig, as_alice));
    let mut bobs = AgentsClient::new(with(&rig, as_bob));
    let watch = WatchAgentsRequest::default();
    let mut watched = agents.watch_agents(watch.clone()).await.unwrap().into_inner();
    let mut bobs_watch = bobs.watch_agents(watch).await.unwrap().into_inner();
    watched.message().await.unwrap();
    bobs_watch.message().await.unwrap();
    write(&dir.path().join("operators"), &[("bob", BOB)]);
    let ended = tokio::time::timeout(PATIENCE, watched.message()).await.expect("an end in time");
    assert_eq!(ended.unwrap_err().code(), Code::Unauthenticated);
    let refused = agents.list_agents(list("", 0, "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    bobs.list_agents(list("", 0, "")).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(50), bobs_watch.message()).await;
    assert!(quiet.is_err(), "the other watch goes on: {quiet:?}");
}
