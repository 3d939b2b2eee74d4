//! Available components.

use opamp::InstanceUid;
use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

const ASK: u64 = ServerToAgentFlags::ReportAvailableComponents as u64;
const REPORTS: u64 = CAPABILITIES | AgentCapabilities::ReportsAvailableComponents as u64;

/// A list with one component in another.
fn list(name: &str) -> std::collections::BTreeMap<String, ComponentDetails> {
    let inner =
        ComponentDetails { metadata: vec![text("code.namespace", name)], ..Default::default() };
    let outer = ComponentDetails {
        sub_component_map: [(name.to_owned(), inner)].into(),
        ..Default::default()
    };
    [("receivers".to_owned(), outer)].into()
}

/// A message about a list, with or without it.
fn says(message: AgentToServer, hash: &[u8], name: Option<&str>) -> AgentToServer {
    let components = name.map(list).unwrap_or_default();
    let available_components = Some(AvailableComponents { components, hash: hash.to_vec() });
    AgentToServer { capabilities: REPORTS, available_components, ..message }
}

/// An agent's first message as one of a kind: lists are shared among those.
fn born(uid: InstanceUid, kind: &str) -> AgentToServer {
    let mut message = full(uid, 0, "none");
    let description = message.agent_description.as_mut().unwrap();
    description.identifying_attributes = vec![text("service.name", kind)];
    message
}

/// A kind that no other test knows, on no other form.
fn kind(fleet: &Fleet) -> String {
    format!("kind-{}", fleet.uid())
}

pub(crate) async fn comp_02_an_unknown_hash_is_asked_about(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    let kind = kind(fleet);
    // Bytes of the agent's own making.
    let (first, second) = ([0, 0xff, 0x80], [9; 33]);
    for (message, flags, why) in [
        (says(born(uid, &kind), &first, None), ASK, "a hash without its list"),
        (says(bare(uid, 1), &first, Some("otlp")), 0, "the list"),
        (AgentToServer { capabilities: REPORTS, ..bare(uid, 2) }, 0, "absent is unchanged"),
        (says(bare(uid, 3), &first, None), 0, "a known hash"),
        (says(bare(uid, 4), &second, None), ASK, "another hash"),
        (says(bare(uid, 5), &second, Some("kafka")), 0, "its list"),
    ] {
        socket.send(&message).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!((reply.flags, reply.error_response), (flags, None), "{why}");
    }
    let polls = fleet.uid();
    let other = self::kind(fleet);
    assert_eq!(fleet.poll(&says(born(polls, &other), &first, None)).await.flags, ASK);
    assert_eq!(fleet.poll(&says(bare(polls, 1), &first, Some("otlp"))).await.flags, 0);
    assert_eq!(fleet.poll(&says(bare(polls, 2), &first, None)).await.flags, 0);
}

pub(crate) async fn comp_01_only_who_reports_components_is_asked(fleet: &Fleet) {
    let uid = fleet.uid();
    let without = |message| AgentToServer { capabilities: CAPABILITIES, ..message };
    let reply = fleet.poll(&without(says(full(uid, 0, "none"), &[1], None))).await;
    assert_eq!((reply.flags, reply.error_response), (0, None), "taken, not asked about");
    let reply = fleet.poll(&without(says(bare(uid, 1), &[2], None))).await;
    assert_eq!(reply.flags, 0);
    fleet
        .until(uid, |agent| {
            let report = agent.report.as_ref().unwrap();
            report.available_components.as_ref().is_some_and(|known| known.hash == [2])
        })
        .await;
}

pub(crate) async fn comp_06_details_are_kept_and_shown(fleet: &Fleet) {
    let uid = fleet.uid();
    let known = async |uid| {
        let agent = fleet.until(uid, |_| true).await;
        agent.report.unwrap().available_components.unwrap()
    };
    fleet.poll(&says(full(uid, 0, "none"), &[7], Some("otlp"))).await;
    assert_eq!(known(uid).await.components, list("otlp"));
    // The hash alone erases nothing, not even in a full report out of the blue.
    fleet.poll(&says(full(uid, 9, "none"), &[7], None)).await;
    assert_eq!(known(uid).await.components, list("otlp"));
}

/// The list is asked for once, and serves agents of the kind on any gateway, by sockets and polls.
pub(crate) async fn comp_03_lists_are_known_by_their_hash(fleet: &Fleet) {
    let kind = kind(fleet);
    let known = async |uid| {
        let agent = fleet.until(uid, |_| true).await;
        agent.report.unwrap().available_components.unwrap().components
    };
    let first = fleet.uid();
    assert_eq!(fleet.poll(&says(born(first, &kind), &[3], None)).await.flags, ASK);
    assert_eq!(fleet.poll(&says(bare(first, 1), &[3], Some("otlp"))).await.flags, 0);
    let polls = fleet.uid();
    assert_eq!(fleet.poll(&says(born(polls, &kind), &[3], None)).await.flags, 0);
    assert_eq!(known(polls).await, list("otlp"));
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&says(born(uid, &kind), &[3], None)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
    assert_eq!(known(uid).await, list("otlp"));
}

/// A hash is an agent's own word: it is none about agents of another kind, and none about anybody
/// else once two disagree.
pub(crate) async fn comp_07_nobody_is_believed_about_others_who_disagree(fleet: &Fleet) {
    let (kind, another) = (kind(fleet), kind(fleet));
    let known = async |uid| {
        let agent = fleet.until(uid, |_| true).await;
        agent.report.unwrap().available_components.unwrap().components
    };
    let (liar, honest, third) = (fleet.uid(), fleet.uid(), fleet.uid());
    fleet.poll(&says(born(liar, &kind), &[4], Some("lie"))).await;
    assert_eq!(fleet.poll(&says(born(fleet.uid(), &another), &[4], None)).await.flags, ASK);
    fleet.poll(&says(born(honest, &kind), &[4], Some("otlp"))).await;
    assert_eq!(known(honest).await, list("otlp"));
    assert_eq!(known(liar).await, list("lie"));
    // A worker that took the first word for true may do so for some seconds.
    let distrusted = async {
        while fleet.poll(&says(born(fleet.uid(), &kind), &[4], None)).await.flags != ASK {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, distrusted).await.expect("asked in time");
    fleet.poll(&says(born(third, &kind), &[4], Some("batch"))).await;
    assert_eq!(known(third).await, list("batch"));
}

pub(crate) async fn comp_07_who_does_not_answer_is_asked_no_more(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    let mut asked = 0;
    for seq in 0..9 {
        let message = if seq == 0 { full(uid, 0, "none") } else { bare(uid, seq) };
        socket.send(&says(message, &[5], None)).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        asked += u32::from(reply.flags & ASK != 0);
    }
    assert!((1..=3).contains(&asked), "asked {asked} times");
}
