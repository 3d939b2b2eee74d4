//! Sequence numbers and status compression.

use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn seq_01_a_gap_asks_for_full_state(fleet: &Fleet) {
    let uid = fleet.uid();
    assert_eq!(fleet.poll(&full(uid, 1, "none")).await.flags, 0);
    assert_eq!(fleet.poll(&bare(uid, 5)).await.flags, FULL);
    assert_eq!(fleet.poll(&full(uid, 6, "none")).await.flags, 0);
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    for (message, flags) in
        [(full(uid, 1, "none"), 0), (bare(uid, 5), FULL), (full(uid, 6, "none"), 0)]
    {
        socket.send(&message).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, flags);
    }
}

pub(crate) async fn seq_02_what_is_left_out_stays(fleet: &Fleet) {
    let uid = fleet.uid();
    let whole = AgentToServer {
        package_statuses: Some(PackageStatuses {
            error_message: "none".to_owned(),
            ..Default::default()
        }),
        custom_capabilities: Some(CustomCapabilities { capabilities: vec!["a.b".to_owned()] }),
        available_components: Some(AvailableComponents { hash: vec![1], ..Default::default() }),
        connection_settings_status: Some(ConnectionSettingsStatus {
            status: ConnectionSettingsStatuses::Applied.into(),
            ..Default::default()
        }),
        ..full(uid, 0, "none")
    };
    fleet.poll(&whole).await;
    for seq in 1..4 {
        assert_eq!(fleet.poll(&bare(uid, seq)).await.flags, 0);
    }
    let agent = fleet.until(uid, |_| true).await;
    let report = agent.report.unwrap();
    assert_eq!(agent.health, whole.health);
    assert_eq!(report.effective_config, whole.effective_config);
    assert_eq!(report.remote_config_status, whole.remote_config_status);
    assert_eq!(report.package_statuses, whole.package_statuses);
    assert_eq!(report.custom_capabilities, whole.custom_capabilities);
    assert_eq!(report.available_components, whole.available_components);
    assert_eq!(report.connection_settings_status, whole.connection_settings_status);
}

pub(crate) async fn seq_03_what_is_there_replaces(fleet: &Fleet) {
    let uid = fleet.uid();
    let described = |seq, names: &[&str]| {
        let identifying_attributes = names.iter().map(|name| text(name, "x")).collect();
        let agent_description =
            Some(AgentDescription { identifying_attributes, ..Default::default() });
        AgentToServer { agent_description, ..full(uid, seq, "none") }
    };
    fleet.poll(&described(0, &["a", "b", "c"])).await;
    fleet.poll(&described(1, &["b"])).await;
    let agent = fleet.until(uid, |agent| agent.identifying_attributes.len() == 1).await;
    assert_eq!(agent.identifying_attributes[0].key, "b");
    assert!(agent.non_identifying_attributes.is_empty());
}

pub(crate) async fn seq_04_a_stranger_is_asked_for_everything(fleet: &Fleet) {
    assert_eq!(fleet.poll(&bare(fleet.uid(), 42)).await.flags, FULL);
    let mut socket = fleet.connect().await;
    socket.send(&bare(fleet.uid(), 42)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, FULL);
}

pub(crate) async fn seq_05_a_reconnect_elsewhere_needs_nothing(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut socket = fleet.connect().await;
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    for round in 0..5_u64 {
        for seq in 1..4 {
            socket.send(&bare(uid, round * 4 + seq)).await.unwrap();
            assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
        }
        socket.close().await.unwrap();
        socket = fleet.connect().await;
        socket.send(&bare(uid, round * 4 + 4)).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0, "after reconnect {round}");
    }
    let agent = fleet.until(uid, |_| true).await;
    assert!(!agent.identifying_attributes.is_empty(), "the record is whole");
}

pub(crate) async fn seq_06_a_first_report_from_zero(fleet: &Fleet) {
    for first in [0, 1] {
        let uid = fleet.uid();
        let reply = fleet.poll(&full(uid, first, "none")).await;
        assert_eq!((reply.flags, reply.error_response), (0, None));
        assert_eq!(fleet.poll(&bare(uid, first + 1)).await.flags, 0);
    }
}

pub(crate) async fn seq_07_starting_over_is_no_error(fleet: &Fleet) {
    let uid = fleet.uid();
    fleet.poll(&full(uid, 57, "none")).await;
    assert_eq!(fleet.poll(&full(uid, 0, "none")).await.error_response, None);
    assert_eq!(fleet.poll(&full(uid, 1, "none")).await.flags, 0);
    assert_eq!(fleet.poll(&bare(uid, 2)).await.flags, 0);
}

pub(crate) async fn seq_09_a_thousand_in_a_row_are_in_order(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    for seq in 1..1000_u64 {
        // Every tenth message says something.
        let health = (seq % 10 == 0)
            .then(|| ComponentHealth { status: seq.to_string(), ..Default::default() });
        socket.send(&AgentToServer { health, ..bare(uid, seq) }).await.unwrap();
    }
    for seq in 0..1000 {
        assert_eq!(socket.receive(PATIENCE * 3).await.unwrap().flags, 0, "message {seq}");
    }
    fleet.until(uid, |agent| agent.health.as_ref().unwrap().status == "990").await;
}

pub(crate) async fn seq_10_a_stuck_counter_is_asked_only_so_often(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut asked = 0;
    fleet.poll(&full(uid, 0, "none")).await;
    for round in 0..12 {
        let health = Some(ComponentHealth { status: round.to_string(), ..Default::default() });
        let reply = fleet.poll(&AgentToServer { health: health.clone(), ..bare(uid, 0) }).await;
        if reply.flags & FULL != 0 {
            asked += 1;
            fleet.poll(&AgentToServer { health, ..full(uid, 0, "none") }).await;
        }
    }
    assert!((1..=3).contains(&asked), "asked {asked} times");
}

pub(crate) async fn seq_12_a_full_report_forgets_what_it_leaves_out(fleet: &Fleet) {
    let uid = fleet.uid();
    let custom = CustomCapabilities { capabilities: vec!["a.b".to_owned()] };
    let with = AgentToServer { custom_capabilities: Some(custom), ..full(uid, 9, "none") };
    fleet.poll(&with).await;
    fleet.until(uid, |agent| agent.report.as_ref().unwrap().custom_capabilities.is_some()).await;
    fleet.poll(&full(uid, 0, "none")).await;
    fleet.until(uid, |agent| agent.report.as_ref().unwrap().custom_capabilities.is_none()).await;
}
