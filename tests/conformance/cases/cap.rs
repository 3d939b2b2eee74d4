//! Capabilities.

use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn cap_01_the_first_reply_declares(fleet: &Fleet) {
    let mut socket = fleet.connect().await;
    socket.send(&full(fleet.uid(), 0, "none")).await.unwrap();
    let by_socket = socket.receive(PATIENCE).await.unwrap().capabilities;
    let by_poll = fleet.poll(&full(fleet.uid(), 0, "none")).await.capabilities;
    for capabilities in [by_socket, by_poll] {
        let has = |bit: ServerCapabilities| capabilities & bit as u64 != 0;
        assert!(has(ServerCapabilities::AcceptsStatus));
        assert!(has(ServerCapabilities::OffersRemoteConfig));
        assert!(has(ServerCapabilities::AcceptsEffectiveConfig));
        assert_eq!(capabilities & !0x7f, 0, "no undefined bit");
    }
}

pub(crate) async fn cap_04_what_an_agent_lacks_is_not_used(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cap-04");
    fleet.give(case, b"a: 1").await;
    let lacking = |message: AgentToServer| AgentToServer { capabilities: 1, ..message };
    let mut socket = fleet.connect().await;
    socket.send(&lacking(full(uid, 0, case))).await.unwrap();
    let mut replies = vec![socket.receive(PATIENCE).await.unwrap()];
    fleet.give(case, b"a: 2").await;
    for seq in 1..4 {
        socket.send(&lacking(bare(uid, seq))).await.unwrap();
        replies.push(socket.receive(PATIENCE).await.unwrap());
    }
    for reply in replies {
        assert_eq!(reply.remote_config, None);
        assert_eq!((reply.connection_settings, reply.packages_available), (None, None));
        assert_eq!(reply.command, None);
    }
}

pub(crate) async fn cap_05_capabilities_change_at_any_time(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cap-05");
    let first = fleet.give(case, b"a: 1").await;
    assert_eq!(offered(&fleet.poll(&full(uid, 0, case)).await), Some(&first[..]));
    let without = CAPABILITIES & !(AgentCapabilities::AcceptsRemoteConfig as u64);
    let lacking = |seq| AgentToServer { capabilities: without, ..bare(uid, seq) };
    assert_eq!(offered(&fleet.poll(&lacking(1)).await), None);
    let second = fleet.give(case, b"a: 2").await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == second).await;
    assert_eq!(offered(&fleet.poll(&lacking(2)).await), None);
    assert_eq!(offered(&fleet.poll(&bare(uid, 3)).await), Some(&second[..]));
}

pub(crate) async fn cap_06_unknown_bits_are_kept(fleet: &Fleet) {
    let uid = fleet.uid();
    let all = AgentToServer { capabilities: u64::MAX, ..full(uid, 0, "none") };
    assert_eq!(fleet.poll(&all).await.error_response, None);
    fleet.until(uid, |agent| agent.capabilities == u64::MAX).await;
}

pub(crate) async fn cap_08_zero_means_unchanged(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cap-08");
    fleet.poll(&full(uid, 0, case)).await;
    let hash = fleet.give(case, b"a: 1").await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == hash).await;
    let zero = AgentToServer { capabilities: 0, ..bare(uid, 1) };
    assert_eq!(offered(&fleet.poll(&zero).await), Some(&hash[..]));
}

pub(crate) async fn cap_07_only_what_is_there_is_declared(fleet: &Fleet) {
    let declared = fleet.poll(&full(fleet.uid(), 0, "none")).await.capabilities;
    use ServerCapabilities as Bit;
    assert_eq!(declared & Bit::AcceptsConnectionSettingsRequest as u64, 0);
    for there in [Bit::OffersPackages, Bit::OffersConnectionSettings] {
        assert_ne!(declared & there as u64, 0, "{there:?}");
    }
    // What it says it takes, it keeps.
    assert_ne!(declared & Bit::AcceptsPackagesStatus as u64, 0);
    let uid = fleet.uid();
    let packages = PackageStatuses { error_message: "kept".to_owned(), ..Default::default() };
    let message =
        AgentToServer { package_statuses: Some(packages.clone()), ..full(uid, 0, "none") };
    fleet.poll(&message).await;
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.report.unwrap().package_statuses, Some(packages));
}

pub(crate) async fn evo_02_no_bit_of_later_versions_is_set(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    // A gap, a list of components, a request for a uid: every flag there is.
    let components = Some(AvailableComponents { hash: vec![1], ..Default::default() });
    let bit = AgentCapabilities::ReportsAvailableComponents as u64;
    let asks = AgentToServerFlags::RequestInstanceUid as u64;
    for (message, flags) in [
        (full(uid, 0, "none"), 0),
        (bare(uid, 7), FULL),
        (
            AgentToServer {
                available_components: components,
                capabilities: CAPABILITIES | bit,
                ..full(uid, 8, "none")
            },
            2,
        ),
        (AgentToServer { flags: asks, ..full(fleet.uid(), 0, "none") }, FULL),
    ] {
        socket.send(&message).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(reply.flags, flags);
        assert_eq!(reply.capabilities & !0x7f, 0);
    }
}
