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
