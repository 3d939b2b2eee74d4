//! What agents are made of: counted, looked for, and shown.

use control::v1::components_client::ComponentsClient;
use control::v1::*;
use model::components::ListHash;
use opamp::v1::{AnyValue, AvailableComponents, ComponentDetails, KeyValue, any_value::Value};
use store::{Key, Store as _, Version, Write, tables};
use tonic::Code;

use crate::rig::{Rig, Watched, agent, put};

fn list(version: &str, receivers: &[&str]) -> AvailableComponents {
    let value = Some(AnyValue { value: Some(Value::StringValue(version.to_owned())) });
    let metadata = vec![KeyValue { key: "version".to_owned(), value }];
    let one = ComponentDetails { metadata, ..Default::default() };
    let below = receivers.iter().map(|name| ((*name).to_owned(), one.clone())).collect();
    let kind = ComponentDetails { sub_component_map: below, ..Default::default() };
    AvailableComponents { components: [("receivers".to_owned(), kind)].into(), hash: vec![7] }
}

/// Agents 1 and 2 with one list, 3 with another, 4 with none, 5 with one that is lost.
async fn rig() -> Rig {
    let records = Watched::default();
    let (old, new) = (list("0.1.0", &["otlp", "filelog"]), list("0.2.0", &["otlp"]));
    for list in [&old, &new] {
        let key = Key::component_list(&ListHash::of(list));
        let value = tables::components::encode_list(list, &Default::default());
        records.commit(vec![Write::next(key, Version::ABSENT, value)]).await.unwrap();
    }
    let lists = [Some(&old), Some(&old), Some(&new), None, Some(&AvailableComponents::default())];
    for (byte, list) in (1..).zip(lists) {
        let mut record = agent(byte, "prod");
        record.components = list.map(ListHash::of);
        let hash = AvailableComponents { hash: vec![7], ..Default::default() };
        record.reported.available_components = list.map(|_| hash);
        put(&records, &record).await;
    }
    Rig::with(records).await
}

async fn components(rig: &Rig, request: ListComponentsRequest) -> ListComponentsResponse {
    let mut client = ComponentsClient::new(rig.channel.clone());
    client.list_components(request).await.unwrap().into_inner()
}

fn shown(answer: &ListComponentsResponse) -> Vec<String> {
    let row = |it: &Component| format!("{}@{}:{}", it.name, it.version, it.agents);
    answer.components.iter().map(row).collect()
}

#[tokio::test]
async fn components_are_counted_over_the_fleet_page_by_page() {
    let rig = rig().await;
    let all = components(&rig, ListComponentsRequest::default()).await;
    let expected =
        ["receivers/filelog@0.1.0:2", "receivers/otlp@0.1.0:2", "receivers/otlp@0.2.0:1"];
    assert_eq!(shown(&all), expected);
    assert_eq!((all.total_size, all.agents_listed, all.agents_not_listed), (3, 4, 1));
    let mut request =
        ListComponentsRequest { component: "otlp".to_owned(), page_size: 1, ..Default::default() };
    let first = components(&rig, request.clone()).await;
    assert_eq!((shown(&first), first.total_size), (vec![expected[1].to_owned()], 2));
    request.page_token = first.next_page_token;
    let second = components(&rig, request.clone()).await;
    assert_eq!(
        (&shown(&second)[..], &second.next_page_token[..]),
        (&[expected[2].to_owned()][..], "")
    );
    request.component = "filelog".to_owned();
    let error =
        ComponentsClient::new(rig.channel.clone()).list_components(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("page_token"), "{error}");
}

#[tokio::test]
async fn agents_are_found_by_what_they_are_made_of() {
    let rig = rig().await;
    let who = async |component: &str| {
        let component = component.to_owned();
        let request = ListAgentsRequest { component, ..Default::default() };
        let list = rig.agents.clone().list_agents(request).await.unwrap().into_inner();
        list.agents.iter().map(|agent| agent.instance_uid[..2].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(who("otlp").await, ["01", "02", "03"]);
    assert_eq!(who("receivers/otlp@v0.2.0").await, ["03"]);
    assert_eq!(who("nothing").await, [""; 0]);
    for wrong in ["@1", "otlp@", "a//b"] {
        let component = wrong.to_owned();
        let request = ListAgentsRequest { component, ..Default::default() };
        let error = rig.agents.clone().list_agents(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{wrong}");
        assert!(error.message().starts_with("component"), "{error}");
    }
}

#[tokio::test]
async fn one_agent_shows_the_list_that_its_hash_stands_for() {
    let rig = rig().await;
    let get = async |byte: u8| {
        let uid = opamp::InstanceUid::from_bytes([byte; 16]);
        let name = format!("agents/{uid}");
        let agent = rig.agents.clone().get_agent(GetAgentRequest { name }).await.unwrap();
        agent.into_inner().report.unwrap().available_components
    };
    let first = get(1).await.unwrap();
    assert_eq!(first, list("0.1.0", &["otlp", "filelog"]));
    assert_eq!(get(4).await, None);
    assert!(get(5).await.unwrap().components.is_empty(), "the list is gone");
}
