//! Lists: order, filters, and pages that belong to one query.

use control::v1::*;
use model::record::Offered;
use model::{ConfigHash, RevisionRef};
use opamp::v1::{RemoteConfigStatus, RemoteConfigStatuses};
use tonic::Code;

use crate::rig::{Rig, Watched, agent, put};

fn by(order_by: &str, page_size: i32, page_token: &str) -> ListAgentsRequest {
    let (order_by, page_token) = (order_by.to_owned(), page_token.to_owned());
    ListAgentsRequest { order_by, page_size, page_token, ..Default::default() }
}

async fn ask(rig: &Rig, request: ListAgentsRequest) -> ListAgentsResponse {
    rig.agents.clone().list_agents(request).await.unwrap().into_inner()
}

fn first_bytes(page: &ListAgentsResponse) -> Vec<&str> {
    page.agents.iter().map(|agent| &agent.instance_uid[..2]).collect()
}

/// Agents 1 to 5 in environments that fall as their uids rise.
async fn rig() -> Rig {
    let records = Watched::default();
    for (byte, env) in [(1, "e"), (2, "d"), (3, "c"), (4, "b"), (5, "a")] {
        put(&records, &agent(byte, env)).await;
    }
    Rig::with(records).await
}

#[tokio::test]
async fn a_list_goes_on_in_its_order_though_agents_change() {
    let rig = rig().await;
    let first = ask(&rig, by("attributes.env", 2, "")).await;
    assert_eq!((first_bytes(&first), first.total_size), (vec!["05", "04"], 5));
    // The last one of the page moves to the end: the rest is still what comes after its place.
    rig.commit(&agent(4, "z")).await;
    rig.commit(&agent(6, "0")).await;
    crate::rig::until("the view has both", async || rig.total("env in (z,0)").await == 2).await;
    let second = ask(&rig, by("attributes.env", 2, &first.next_page_token)).await;
    assert_eq!(first_bytes(&second), ["03", "02"]);
    let third = ask(&rig, by("attributes.env", 2, &second.next_page_token)).await;
    assert_eq!(first_bytes(&third), ["01", "04"]);
    assert_eq!(third.next_page_token, "");
}

#[tokio::test]
async fn a_page_token_is_refused_by_any_other_query() {
    let rig = rig().await;
    let token = ask(&rig, by("attributes.env", 2, "")).await.next_page_token;
    let mut disconnected = by("attributes.env", 2, &token);
    disconnected.status = ConnectionStatus::Disconnected.into();
    let mut failed = by("attributes.env", 2, &token);
    failed.config_status = ConfigStatus::Failed.into();
    for request in [by("", 2, &token), by("attributes.env desc", 2, &token), disconnected, failed] {
        let error = rig.agents.clone().list_agents(request.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{request:?}");
        assert!(error.message().starts_with("page_token"), "{error}");
    }
    let error = rig.agents.clone().list_agents(by("size", 2, "")).await.unwrap_err();
    assert!(error.message().starts_with("order_by: no field \"size\""), "{error}");
}

#[tokio::test]
async fn filters_are_the_servers_work_and_cost_no_store_command() {
    let records = Watched::default();
    put(&records, &agent(1, "prod")).await;
    let mut failed = agent(2, "prod");
    let hash = ConfigHash([7; 32]);
    let config = Some(RevisionRef { config: "c".to_owned(), revision: 1, hash });
    failed.offered = Offered { config, decision: 1 };
    failed.reported.remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: hash.0.to_vec(),
        status: RemoteConfigStatuses::Failed.into(),
        ..Default::default()
    });
    put(&records, &failed).await;
    let rig = Rig::with(records).await;
    let asked = rig.records.asked.load(std::sync::atomic::Ordering::Relaxed);

    let config_status = ConfigStatus::Failed.into();
    let page = ask(&rig, ListAgentsRequest { config_status, ..Default::default() }).await;
    assert_eq!((first_bytes(&page), page.total_size), (vec!["02"], 1));
    let status = ConnectionStatus::Connected.into();
    let page = ask(&rig, ListAgentsRequest { status, ..Default::default() }).await;
    assert_eq!((page.agents.len(), page.total_size), (0, 0), "none of them has a session");
    let request = ListAgentsRequest { status: 9, ..Default::default() };
    let error = rig.agents.clone().list_agents(request).await.unwrap_err();
    assert!(error.message().starts_with("status"), "{error}");
    assert_eq!(rig.records.asked.load(std::sync::atomic::Ordering::Relaxed), asked);
}

#[tokio::test]
async fn a_page_has_a_size_in_bytes_and_words_are_cut_in_lists_only() {
    let records = Watched::default();
    for byte in 1..=40 {
        let mut big = agent(byte, &"e".repeat(200_000));
        big.reported.remote_config_status = Some(RemoteConfigStatus {
            status: RemoteConfigStatuses::Failed.into(),
            error_message: "w".repeat(50_000),
            ..Default::default()
        });
        put(&records, &big).await;
    }
    let rig = Rig::with(records).await;
    for order_by in ["", "name desc"] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = ask(&rig, by(order_by, 1000, &token)).await;
            assert!((10..=16).contains(&page.agents.len()) || page.next_page_token.is_empty());
            let words = page.agents.iter().map(|agent| agent.config.clone().unwrap().error_message);
            assert!(words.into_iter().all(|words| words.len() <= 4096 && words.ends_with('…')));
            seen.extend(page.agents.into_iter().map(|agent| agent.name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), 40);
        seen.dedup();
        assert_eq!(seen.len(), 40, "none twice");
    }
    let name = ask(&rig, by("", 1, "")).await.agents.remove(0).name;
    let whole = rig.agents.clone().get_agent(GetAgentRequest { name }).await.unwrap();
    assert_eq!(whole.get_ref().config.as_ref().unwrap().error_message.len(), 50_000);
}
