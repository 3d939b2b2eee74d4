//! Identity.

use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn uid_01_other_lengths_are_bad_requests(fleet: &Fleet) {
    for length in [0, 15, 17] {
        let message =
            AgentToServer { instance_uid: vec![1; length], ..full(fleet.uid(), 0, "none") };
        let bad = Some(ServerErrorResponseType::BadRequest);
        assert_eq!(error_type(&fleet.poll(&message).await), bad, "{length} bytes by poll");
        let mut socket = fleet.connect().await;
        socket.send(&message).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(error_type(&reply), bad, "{length} bytes by WebSocket");
    }
}

pub(crate) async fn uid_03_a_uid_on_request(fleet: &Fleet) {
    let temporary = fleet.uid();
    let flags = AgentToServerFlags::RequestInstanceUid as u64;
    let mut socket = fleet.connect().await;
    socket.send(&AgentToServer { flags, ..full(temporary, 0, "none") }).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!(reply.instance_uid, temporary.as_bytes());
    let given = reply.agent_identification.unwrap().new_instance_uid;
    assert_eq!((given.len(), given[6] >> 4, given[8] >> 6), (16, 7, 0b10), "a UUIDv7");
    let given = opamp::InstanceUid::try_from(&given[..]).unwrap();
    // Some clients still carry the flag in the first message under the new uid.
    socket.send(&AgentToServer { flags, ..full(given, 1, "none") }).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!((reply.agent_identification, reply.error_response), (None, None));
    fleet.until(given, |_| true).await;
    assert!(fleet.agent(temporary).await.is_none());
}

pub(crate) async fn uid_06_the_second_of_two_live_agents_gets_another(fleet: &Fleet) {
    let uid = fleet.uid();
    let (mut first, mut second) = (fleet.connect().await, fleet.connect().await);
    first.send(&full(uid, 0, "none")).await.unwrap();
    first.receive(PATIENCE).await.unwrap();
    second.send(&full(uid, 0, "none")).await.unwrap();
    // The first one answers the server's ping only while it reads.
    let (listening, reply) =
        tokio::join!(first.receive(std::time::Duration::from_secs(3)), second.receive(PATIENCE),);
    assert!(matches!(listening, Err(agent::Error::TimedOut(_))), "{listening:?}");
    let given = reply.unwrap().agent_identification.expect("another uid").new_instance_uid;
    assert_ne!(given, uid.as_bytes());
    first.send(&bare(uid, 1)).await.unwrap();
    assert_eq!(first.receive(PATIENCE).await.unwrap().flags, 0, "the first one goes on");
}

pub(crate) async fn uid_05_an_agent_goes_on_under_its_new_uid(fleet: &Fleet) {
    let temporary = fleet.uid();
    let flags = AgentToServerFlags::RequestInstanceUid as u64;
    let mut socket = fleet.connect().await;
    socket.send(&AgentToServer { flags, ..full(temporary, 0, "none") }).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!(reply.flags, FULL, "so that it speaks under its new uid at once");
    let given = reply.agent_identification.unwrap().new_instance_uid;
    let given = opamp::InstanceUid::try_from(&given[..]).unwrap();
    // One message was on its way already. Numbers go on.
    socket.send(&bare(temporary, 1)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
    for seq in 2..5 {
        let message = if seq == 2 { full(given, seq, "none") } else { bare(given, seq) };
        socket.send(&message).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!((&reply.instance_uid[..], reply.flags), (&given.as_bytes()[..], 0));
        assert_eq!((reply.agent_identification, reply.error_response), (None, None));
    }
    use control::v1::ConnectionStatus::Connected;
    fleet.until(given, |agent| agent.status() == Connected).await;
}

pub(crate) async fn uid_09_no_uid_is_given_twice(fleet: &Fleet) {
    let flags = AgentToServerFlags::RequestInstanceUid as u64;
    // Everybody starts from the same temporary uid, or from none at all.
    let temporary = fleet.uid();
    let mut given = std::collections::BTreeSet::new();
    for turn in 0..20 {
        let mut message = AgentToServer { flags, ..full(temporary, 0, "none") };
        if turn % 2 == 0 {
            message.instance_uid.clear();
        }
        let reply = fleet.poll(&message).await;
        let new = reply.agent_identification.expect("a uid").new_instance_uid;
        assert_ne!(new, [0; 16]);
        assert!(given.insert(new), "given twice");
    }
    assert!(fleet.agent(temporary).await.is_none());
}

pub(crate) async fn uid_10_uids_are_shown_as_text(fleet: &Fleet) {
    let uid = fleet.uid();
    fleet.poll(&full(uid, 0, "none")).await;
    let agent = fleet.until(uid, |_| true).await;
    let hex: String = uid.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    let text = parts.join("-");
    assert_eq!((agent.instance_uid, &agent.name), (text.clone(), &format!("agents/{text}")));
    assert_eq!(fleet.agent_named(&format!("agents/{text}")).await.unwrap().name, agent.name);
    let unknown = fleet.agent_named(&format!("agents/{}", fleet.uid())).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let nonsense = fleet.agent_named("agents/nonsense").await.unwrap_err();
    assert_eq!(nonsense.code(), tonic::Code::InvalidArgument);
}
