//! The operators' API over a real socket, on the embedded seams.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brake;
mod commands;
mod components;
mod custom;
mod enrollment;
mod faults;
mod fleet;
mod intent;
mod life;
mod lists;
mod reaper;
mod registrar;
mod rig;
mod settings;
mod status;
mod trace;
mod trust;
mod watch;

use std::sync::atomic::Ordering;

use bus::{Subject, WORKERS, v1 as wire};
use control::v1::*;
use opamp::v1::AgentConfigFile;
use rig::{PATIENCE, Rig, Watched, agent, connected, put, until};
use tonic::Code;

fn apply(name: &str, body: &str) -> ApplyConfigRequest {
    let file = AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
    ApplyConfigRequest {
        name: format!("configs/{name}"),
        files: [(String::new(), file)].into(),
        allow_empty: false,
    }
}

fn set(name: &str, selector: &str, config: &str, priority: i64) -> SetAssignmentRequest {
    let assignment = Assignment {
        name: format!("assignments/{name}"),
        selector: selector.to_owned(),
        config_revision: format!("configs/{config}"),
        priority,
        ..Default::default()
    };
    SetAssignmentRequest { assignment: Some(assignment), validate_only: false }
}

fn list(selector: &str, page_size: i32, page_token: &str) -> ListAgentsRequest {
    let (selector, page_token) = (selector.to_owned(), page_token.to_owned());
    ListAgentsRequest { selector, page_size, page_token, ..Default::default() }
}

#[tokio::test]
async fn a_config_gains_a_revision_only_when_its_content_changes() {
    let mut rig = Rig::new().await;
    let first = rig.configs.apply_config(apply("c", "a: 1")).await.unwrap().into_inner();
    let same = rig.configs.apply_config(apply("c", "a: 1")).await.unwrap().into_inner();
    let second = rig.configs.apply_config(apply("c", "a: 2")).await.unwrap().into_inner();
    assert_eq!((first.revision, same.revision, second.revision), (1, 1, 2));
    assert_ne!(first.hash, second.hash);
    let name = "configs/c/revisions/1".to_owned();
    let read = rig.configs.get_config_revision(GetConfigRevisionRequest { name }).await.unwrap();
    assert_eq!(&read.get_ref().files[""].body[..], b"a: 1");
    let all = rig.configs.list_configs(ListConfigsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.configs[0].revisions.len(), 2);
}

#[tokio::test]
async fn revisions_written_at_once_all_get_their_number() {
    let rig = Rig::new().await;
    let writes = (0..4).map(|n| {
        let mut configs = rig.configs.clone();
        async move { configs.apply_config(apply("c", &format!("a: {n}"))).await }
    });
    let results = futures_util::future::join_all(writes).await;
    let mut numbers: Vec<u64> =
        results.into_iter().map(|revision| revision.unwrap().into_inner().revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn bad_input_names_the_field_and_changes_nothing() {
    let mut rig = Rig::new().await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    let no_files = ApplyConfigRequest { name: "configs/c".to_owned(), ..Default::default() };
    let error = rig.configs.apply_config(no_files).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("files"), "{error}");
    let mut broken = apply("c", "a: [1,\nb: 2");
    broken.files.get_mut("").unwrap().content_type = "text/yaml".to_owned();
    let error = rig.configs.apply_config(broken).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("not YAML") && error.message().contains("line 2"), "{error}");
    let error = rig.configs.apply_config(apply("No", "a")).await.unwrap_err();
    assert!(error.message().starts_with("name"), "{error}");
    let error = rig.assignments.set_assignment(set("x", "a in", "c", 0)).await.unwrap_err();
    assert!(error.message().starts_with("assignment.selector"), "{error}");
    let error = rig.assignments.set_assignment(set("x", "", "missing", 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let error = rig.agents.list_agents(list("", -1, "")).await.unwrap_err();
    assert!(error.message().starts_with("page_size"), "{error}");
    let name = "agents/nonsense".to_owned();
    let error = rig.agents.get_agent(GetAgentRequest { name }).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let all = rig.assignments.list_assignments(ListAssignmentsRequest {}).await.unwrap();
    assert!(all.get_ref().assignments.is_empty());
}

#[tokio::test]
async fn assignments_that_could_tie_are_refused() {
    let mut rig = Rig::new().await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    rig.assignments.set_assignment(set("prod", "env=prod", "c", 0)).await.unwrap();
    let error = rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("\"prod\""), "{error}");
    rig.assignments.set_assignment(set("all", "", "c", -1)).await.unwrap();
    let all = rig.assignments.list_assignments(ListAssignmentsRequest {}).await.unwrap();
    let names: Vec<&str> = all.get_ref().assignments.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["assignments/prod", "assignments/all"], "highest priority first");
    let name = "assignments/all".to_owned();
    rig.assignments
        .delete_assignment(DeleteAssignmentRequest { name: name.clone() })
        .await
        .unwrap();
    let error = rig.assignments.delete_assignment(DeleteAssignmentRequest { name }).await;
    assert_eq!(error.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_assignment_pins_the_revision_it_was_set_with() {
    let mut rig = Rig::new().await;
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    let pinned = rig.assignments.set_assignment(set("all", "", "c", 0)).await.unwrap();
    let pinned = pinned.into_inner().assignment.unwrap();
    assert_eq!(pinned.config_revision, "configs/c/revisions/1");
    rig.configs.apply_config(apply("c", "a: 2")).await.unwrap();
    let all = rig.assignments.list_assignments(ListAssignmentsRequest {}).await.unwrap();
    assert_eq!(all.get_ref().assignments[0], pinned);
}

#[tokio::test]
async fn the_view_has_what_was_there_and_what_comes() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let mut rig = Rig::with(records).await;
    rig.commit(&agent(2, "dev")).await;
    let agents = rig.agents.clone();
    until("both agents are listed", async || {
        let all = agents.clone().list_agents(list("", 0, "")).await.unwrap();
        all.get_ref().total_size == 2
    })
    .await;
    let prod = rig.agents.list_agents(list("env=prod", 0, "")).await.unwrap().into_inner();
    assert_eq!((prod.agents.len(), prod.total_size), (1, 1));
    let name = prod.agents[0].name.clone();
    let one = rig.agents.get_agent(GetAgentRequest { name }).await.unwrap().into_inner();
    assert!(one.report.is_some());
}

#[tokio::test]
async fn lists_go_on_page_by_page_and_ask_the_store_nothing() {
    let records = Watched::default();
    for byte in 0..25 {
        put(&records, &agent(byte, "prod")).await;
    }
    let mut rig = Rig::with(records).await;
    let before = rig.records.asked.load(Ordering::Relaxed);
    let (mut token, mut seen) = (String::new(), 0);
    loop {
        let page = rig.agents.list_agents(list("env=prod", 10, &token)).await.unwrap();
        let page = page.into_inner();
        seen += page.agents.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let error = rig.agents.list_agents(list("env=dev", 10, &token)).await.unwrap_err();
        assert!(error.message().starts_with("page_token"), "{error}");
    }
    assert_eq!(seen, 25);
    assert_eq!(rig.records.asked.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn agents_that_are_offered_something_else_are_reassessed() {
    let records = Watched::default();
    put(&records, &connected(1, "prod")).await;
    put(&records, &connected(2, "dev")).await;
    let mut rig = Rig::with(records).await;
    let mut worker = rig.bus.join::<wire::Reassess>(&Subject::Reassess, WORKERS, 8).await.unwrap();
    rig.configs.apply_config(apply("c", "a: 1")).await.unwrap();
    let response = rig.assignments.set_assignment(set("prod", "env=prod", "c", 0)).await.unwrap();
    assert_eq!((response.get_ref().matched_agents, response.get_ref().affected_agents), (1, 1));
    let asked = tokio::time::timeout(PATIENCE, worker.next()).await.unwrap().unwrap();
    assert_eq!(asked.body.instance_uids, [vec![1_u8; 16]]);
    assert_eq!(asked.body.decision, rig.decision().await);
}

#[tokio::test]
async fn health_is_served_and_stopping_ends_even_while_it_is_watched() {
    let limits = control::Limits { stop_timeout: PATIENCE / 50, ..Default::default() };
    let mut rig = Rig::start(Watched::default(), limits).await;
    for service in ["", "muster.control.v1.Agents"] {
        until("it is said to serve", async || faults::health(&rig, service).await == 1).await;
    }
    // Who watches has a stream that never ends by itself.
    let mut health = tonic_health::pb::health_client::HealthClient::new(rig.channel.clone());
    let ask = tonic_health::pb::HealthCheckRequest::default();
    let mut watch = health.watch(ask).await.unwrap().into_inner();
    watch.message().await.unwrap();
    rig.shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE * 2, rig.serving.join_next()).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    let rig = Rig::new().await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let ask = ServerReflectionRequest { message_request, ..Default::default() };
    let mut client = ServerReflectionClient::new(rig.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap();
    let answer: ServerReflectionResponse = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("expected a list, got {answer:?}");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["Agents", "Configs", "Assignments"] {
        assert!(names.contains(&format!("muster.control.v1.{service}")), "{names:?}");
    }
}
