//! Available components.

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

pub(crate) async fn comp_02_an_unknown_hash_is_asked_about(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    // Bytes of the agent's own making.
    let (first, second) = ([0, 0xff, 0x80], [9; 33]);
    for (message, flags, why) in [
        (says(full(uid, 0, "none"), &first, None), ASK, "a hash without its list"),
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
    assert_eq!(fleet.poll(&says(full(polls, 0, "none"), &first, None)).await.flags, ASK);
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
    let (uid, other) = (fleet.uid(), fleet.uid());
    let known = async |uid| {
        let agent = fleet.until(uid, |_| true).await;
        agent.report.unwrap().available_components.unwrap()
    };
    fleet.poll(&says(full(uid, 0, "none"), &[7], Some("otlp"))).await;
    assert_eq!(known(uid).await.components, list("otlp"));
    // The hash alone erases nothing, not even in a full report out of the blue.
    fleet.poll(&says(full(uid, 9, "none"), &[7], None)).await;
    assert_eq!(known(uid).await.components, list("otlp"));
    // What one agent says of a hash is no word of another's.
    fleet.poll(&says(full(other, 0, "none"), &[7], None)).await;
    assert!(known(other).await.components.is_empty());
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
