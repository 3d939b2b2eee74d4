//! Lists of components: kept once, asked for once, and believed of others until two disagree.

use model::components::ListHash;
use opamp::v1::{
    AgentCapabilities, AgentToServer, AnyValue, AvailableComponents, KeyValue, ServerToAgentFlags,
    any_value::Value,
};
use store::{Key, Store as _, tables};

use crate::next;
use crate::rig::{Rig, bare, claim, hello, poll};

const ASKS: u64 = ServerToAgentFlags::ReportAvailableComponents as u64;

fn list(names: &[&str]) -> AvailableComponents {
    let components = names.iter().map(|name| ((*name).to_owned(), Default::default())).collect();
    AvailableComponents { components, hash: b"mine".to_vec() }
}

/// An agent of a kind, with the hash of its list alone.
fn appears(uid: u8, kind: &str) -> AgentToServer {
    let mut message = hello(uid, 0);
    message.capabilities |= AgentCapabilities::ReportsAvailableComponents as u64;
    let value = Some(AnyValue { value: Some(Value::StringValue(kind.to_owned())) });
    let name = KeyValue { key: "service.name".to_owned(), value };
    message.agent_description.as_mut().unwrap().identifying_attributes = vec![name];
    AgentToServer { available_components: Some(list(&[])), ..message }
}

fn says(uid: u8, seq: u64, names: &[&str]) -> AgentToServer {
    AgentToServer { available_components: Some(list(names)), ..bare(uid, seq) }
}

async fn known(rig: &Rig, uid: u8) -> Option<ListHash> {
    rig.record(uid).await.components
}

#[tokio::test]
async fn a_list_is_asked_for_once_and_serves_all_agents_of_its_kind() {
    let rig = Rig::new().await;
    let (_, first) = rig.accepted(claim("gw", 1, &appears(1, "collector"))).await;
    assert_eq!(first.flags & ASKS, ASKS);
    let (_, reply) = rig.accepted(next("gw", 1, 1, 2, &says(1, 1, &["otlp"]))).await;
    assert_eq!(reply.flags & ASKS, 0);
    let list_hash = ListHash::of(&list(&["otlp"]));
    let key = Key::component_list(&list_hash);
    let stored = rig.records.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap();
    let kept = tables::components::decode_list(&key, &stored.value).unwrap().value;
    assert_eq!(kept.components, list(&["otlp"]).components);
    // The second one says a hash alone, by a session or a poll.
    let (_, reply) = rig.accepted(claim("gw", 2, &appears(2, "collector"))).await;
    assert_eq!(reply.flags & ASKS, 0);
    let (_, reply) = rig.accepted(poll(&appears(3, "collector"))).await;
    assert_eq!(reply.flags & ASKS, 0);
    for uid in 1..=3 {
        assert_eq!(known(&rig, uid).await, Some(list_hash));
        let reported = rig.record(uid).await.reported.available_components.unwrap();
        assert!(reported.components.is_empty(), "the list is no part of the record");
    }
    // Agents of another kind share nothing with them.
    let (_, reply) = rig.accepted(claim("gw", 4, &appears(4, "forwarder"))).await;
    assert_eq!((reply.flags & ASKS, known(&rig, 4).await), (ASKS, None));
}

#[tokio::test]
async fn who_lies_about_a_hash_spoils_it_for_nobody_who_says_its_own_list() {
    let rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &appears(1, "collector"))).await;
    rig.accepted(next("gw", 1, 1, 2, &says(1, 1, &["lie"]))).await;
    let mut honest = appears(2, "collector");
    honest.available_components = Some(list(&["otlp"]));
    rig.accepted(claim("gw", 2, &honest)).await;
    assert_eq!(known(&rig, 2).await, Some(ListHash::of(&list(&["otlp"]))));
    assert_eq!(known(&rig, 1).await, Some(ListHash::of(&list(&["lie"]))));
    // From now on nobody is believed but for itself.
    let (_, reply) = rig.accepted(claim("gw", 3, &appears(3, "collector"))).await;
    assert_eq!((reply.flags & ASKS, known(&rig, 3).await), (ASKS, None));
}

#[tokio::test]
async fn a_store_that_was_lost_is_told_again() {
    let rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &appears(1, "collector"))).await;
    rig.accepted(next("gw", 1, 1, 2, &says(1, 1, &["otlp"]))).await;
    rig.records.lose(store::Generation(2_000_000_000_000));
    let (_, reply) = rig.accepted(claim("gw", 2, &appears(2, "collector"))).await;
    assert_eq!((reply.flags & ASKS, known(&rig, 2).await), (ASKS, None));
    rig.accepted(next("gw", 2, 1, 2, &says(2, 1, &["otlp"]))).await;
    let (_, reply) = rig.accepted(claim("gw", 3, &appears(3, "collector"))).await;
    assert_eq!((reply.flags & ASKS, known(&rig, 3).await.is_some()), (0, true));
}
