//! Messages and their answers.

use http::StatusCode;
use opamp::v1::*;
use prost::Message as _;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn msg_01_every_message_is_answered(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    for seq in 1..20 {
        socket.send(&bare(uid, seq)).await.unwrap();
    }
    for _ in 0..20 {
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(reply.instance_uid, uid.as_bytes());
        assert_eq!((reply.flags, reply.remote_config, reply.error_response), (0, None, None));
    }
    let goodbye = AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..bare(uid, 20) };
    socket.send(&goodbye).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
}

pub(crate) async fn msg_03_the_uid_comes_back_as_it_was(fleet: &Fleet) {
    // 16 bytes that are no UUID of any version.
    let mut bytes = *fleet.uid().as_bytes();
    (bytes[6], bytes[7]) = (0xff, 0xff);
    let uid = opamp::InstanceUid::from_bytes(bytes);
    assert_eq!(fleet.poll(&full(uid, 0, "none")).await.instance_uid, bytes);
    let mut socket = fleet.connect().await;
    socket.send(&bare(uid, 1)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().instance_uid, bytes);
}

pub(crate) async fn msg_05_success_has_no_error(fleet: &Fleet) {
    let reply = fleet.poll(&full(fleet.uid(), 0, "none")).await;
    assert_eq!(reply.error_response, None);
}

pub(crate) async fn msg_06_an_error_stands_alone(fleet: &Fleet) {
    let mut socket = fleet.connect().await;
    let bad = AgentToServer { instance_uid: vec![1; 15], ..full(fleet.uid(), 0, "none") };
    socket.send(&bad).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    let error = reply.error_response.expect("an error");
    assert_eq!(error.r#type(), ServerErrorResponseType::BadRequest);
    let alone = ServerToAgent {
        instance_uid: reply.instance_uid,
        error_response: Some(error.clone()),
        ..Default::default()
    };
    let reply = ServerToAgent {
        error_response: Some(error),
        instance_uid: alone.instance_uid.clone(),
        flags: reply.flags,
        capabilities: reply.capabilities,
        remote_config: reply.remote_config,
        connection_settings: reply.connection_settings,
        packages_available: reply.packages_available,
        agent_identification: reply.agent_identification,
        command: reply.command,
        custom_capabilities: reply.custom_capabilities,
        custom_message: reply.custom_message,
    };
    assert_eq!(reply, alone);
}

pub(crate) async fn msg_07_twice_the_same_is_answered_twice(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    for _ in 0..2 {
        socket.send(&full(uid, 0, "none")).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!((reply.flags, reply.error_response), (0, None));
    }
    let polls = fleet.uid();
    for _ in 0..2 {
        assert_eq!(fleet.poll(&full(polls, 3, "none")).await.flags, 0);
    }
}

pub(crate) async fn msg_08_only_the_newest_offer_counts(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "msg-08");
    fleet.poll(&full(uid, 0, case)).await;
    fleet.give(case, b"a: 1").await;
    fleet.give(case, b"a: 2").await;
    let last = fleet.give(case, b"a: 3").await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == last).await;
    assert_eq!(offered(&fleet.poll(&bare(uid, 1)).await), Some(&last[..]));
    assert_eq!(offered(&fleet.poll(&bare(uid, 2)).await), None);
}

pub(crate) async fn msg_10_an_idle_agent_is_left_alone(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    for seq in 1..30 {
        socket.send(&bare(uid, seq)).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(reply.flags, 0, "nothing makes it speak again");
    }
    let quiet = socket.receive(std::time::Duration::from_millis(500)).await;
    assert!(matches!(quiet, Err(agent::Error::TimedOut(_))), "{quiet:?}");
}

pub(crate) async fn err_11_statuses_of_bad_posts(fleet: &Fleet) {
    let answer = fleet.post(&[], vec![0x0a, 0x10, 1]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let error = ServerToAgent::decode(answer.body).unwrap();
    assert_eq!(error_type(&error), Some(ServerErrorResponseType::BadRequest));
    let invalid = AgentToServer { instance_uid: vec![1; 17], ..Default::default() };
    let answer = fleet.post(&[], invalid.encode_to_vec()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let error = ServerToAgent::decode(answer.body).unwrap();
    assert_eq!(error_type(&error), Some(ServerErrorResponseType::BadRequest));
    assert!(!error.error_response.unwrap().error_message.is_empty());
}

pub(crate) async fn msg_09_the_same_message_may_get_another_answer_later(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "msg-09");
    let message = full(uid, 0, case);
    assert_eq!(offered(&fleet.poll(&message).await), None);
    for body in ["a: 1", "a: 2"] {
        let hash = fleet.give(case, body.as_bytes()).await;
        assert_eq!(offered(&fleet.poll(&message).await), Some(&hash[..]), "{body}");
    }
}

pub(crate) async fn err_03_no_error_without_a_question(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    for seq in 1..6 {
        // One message, one answer: the malformed one gets the error, nothing comes after it.
        let bad = AgentToServer { instance_uid: vec![1; 15], ..bare(uid, seq) };
        socket.send(&bad).await.unwrap();
        let bad_request = Some(ServerErrorResponseType::BadRequest);
        assert_eq!(error_type(&socket.receive(PATIENCE).await.unwrap()), bad_request);
        socket.send(&bare(uid, seq)).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!((reply.error_response, reply.flags), (None, 0), "nor does it move the number");
    }
    let quiet = socket.receive(std::time::Duration::from_millis(300)).await;
    assert!(matches!(quiet, Err(agent::Error::TimedOut(_))), "{quiet:?}");
}
