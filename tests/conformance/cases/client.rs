//! What clients in the field do differently from each other, as their authors built them.

use agent::link::{Endpoint, WebSocket};
use control::v1::ConnectionStatus;
use opamp::v1::*;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

/// Go's client posts chunks, without a length.
pub(crate) async fn http_01_a_body_may_come_in_chunks(fleet: &Fleet) {
    let (uid, endpoint) = (fleet.uid(), fleet.endpoint(true));
    let body = full(uid, 0, "none").encode_to_vec();
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         content-type: application/x-protobuf\r\n\r\n",
        endpoint.path, endpoint.authority
    )
    .into_bytes();
    for part in body.chunks(9) {
        request.extend(format!("{:x}\r\n", part.len()).into_bytes());
        request.extend([part, b"\r\n"].concat());
    }
    request.extend(b"0\r\n\r\n");
    let mut stream = TcpStream::connect(&endpoint.authority).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.expect("an answer").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    fleet.until(uid, |agent| !agent.identifying_attributes.is_empty()).await;
}

/// Some keep what follows the path of their URL.
pub(crate) async fn gen_02_a_query_is_ignored(fleet: &Fleet) {
    let with_query = |polls| {
        let endpoint = fleet.endpoint(polls);
        Endpoint { path: format!("{}?tenant=x&y", endpoint.path), ..endpoint }
    };
    let mut poller = agent::link::Poller::new(with_query(true));
    let reply = poller.exchange(&full(fleet.uid(), 0, "none")).await.unwrap();
    assert_eq!(reply.error_response, None);
    let mut socket = WebSocket::connect(&with_query(false), &[]).await.unwrap();
    socket.send(&full(fleet.uid(), 0, "none")).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
}

/// Messages of old clients have no header. One that begins with the uid's field reads as header
/// 10, which is none that is known.
pub(crate) async fn ws_03_a_message_without_a_header_is_malformed(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send_binary(&full(uid, 0, "none").encode_to_vec()).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!(error_type(&reply), Some(ServerErrorResponseType::BadRequest));
    assert!(fleet.agent(uid).await.is_none());
    socket.send(&full(uid, 0, "none")).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None, "one is forgiven");
}

/// Before uids were 16 bytes they were 26 letters.
pub(crate) async fn uid_01_a_uid_in_letters_is_a_bad_request(fleet: &Fleet) {
    let instance_uid = b"01HZX4J2Q8K5V9T3R7N1M6P0DC".to_vec();
    let message = AgentToServer { instance_uid, ..full(fleet.uid(), 0, "none") };
    let bad = Some(ServerErrorResponseType::BadRequest);
    assert_eq!(error_type(&fleet.poll(&message).await), bad);
}

/// Python's client says goodbye, sends a stale heartbeat, and says goodbye again.
pub(crate) async fn life_03_goodbye_twice_with_a_heartbeat_between(fleet: &Fleet) {
    let uid = fleet.uid();
    fleet.poll(&full(uid, 0, "none")).await;
    let goodbye =
        |seq| AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..bare(uid, seq) };
    for message in [goodbye(1), bare(uid, 1), goodbye(2)] {
        let reply = fleet.poll(&message).await;
        assert_eq!((reply.flags, reply.error_response), (0, None));
    }
    fleet.until(uid, |agent| agent.status() == ConnectionStatus::Disconnected).await;
}

/// Python's client gives two messages that it queued at once the same number.
pub(crate) async fn seq_08_two_messages_of_one_number_are_both_taken(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "seq-08");
    let hash = fleet.give(case, b"a: 1").await;
    fleet.poll(&full(uid, 0, case)).await;
    fleet.poll(&status(uid, 1, &hash, RemoteConfigStatuses::Applying)).await;
    let reply = fleet.poll(&status(uid, 1, &hash, RemoteConfigStatuses::Applied)).await;
    assert_eq!(reply.error_response, None);
    let applied = control::v1::ConfigStatus::Applied;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().status() == applied).await;
    // Whatever was asked for is answered once, and then there is peace.
    assert_eq!(fleet.poll(&full(uid, 2, "none")).await.flags, 0);
    assert_eq!(fleet.poll(&bare(uid, 3)).await.flags, 0);
}

/// Python and New Relic never mention a config before they got one, Node sends an empty status.
pub(crate) async fn cfg_02_no_status_and_an_empty_one_are_offered_the_config(fleet: &Fleet) {
    let case = "cfg-02-first";
    let hash = fleet.give(case, b"a: 1").await;
    for remote_config_status in [None, Some(RemoteConfigStatus::default())] {
        let message = AgentToServer { remote_config_status, ..full(fleet.uid(), 0, case) };
        assert_eq!(offered(&fleet.poll(&message).await), Some(&hash[..]));
    }
}

/// New Relic's client sends what it had before it started one message after its description.
pub(crate) async fn stat_06_parts_may_follow_later(fleet: &Fleet) {
    let uid = fleet.uid();
    let whole = full(uid, 2, "none");
    let first = AgentToServer {
        health: None,
        effective_config: None,
        remote_config_status: None,
        ..full(uid, 1, "none")
    };
    assert_eq!(fleet.poll(&first).await.flags, 0);
    let second = AgentToServer { agent_description: None, ..whole.clone() };
    assert_eq!(fleet.poll(&second).await.flags, 0);
    let agent = fleet.until(uid, |agent| agent.health.is_some()).await;
    assert_eq!(agent.report.unwrap().effective_config, whole.effective_config);
    assert!(!agent.identifying_attributes.is_empty());
}

/// Node's client dies of a reply in 200 whose uid is not its own 16 bytes.
pub(crate) async fn msg_03_errors_carry_the_uid_too(fleet: &Fleet) {
    let uid = fleet.uid();
    let many = (0..100_000).map(|n| text(&n.to_string(), "x")).collect();
    let description = AgentDescription { identifying_attributes: many, ..Default::default() };
    let absurd = AgentToServer { agent_description: Some(description), ..full(uid, 0, "none") };
    let reply = fleet.poll(&absurd).await;
    assert!(reply.error_response.is_some());
    assert_eq!(reply.instance_uid, uid.as_bytes());
    let mut truncated = full(uid, 0, "none").encode_to_vec();
    truncated.truncate(24);
    let answer = fleet.post(&[], truncated).await;
    assert_eq!(ServerToAgent::decode(answer.body).unwrap().instance_uid, uid.as_bytes());
}

/// Go's client has every capability, sends empty package statuses, and starts from 0.
pub(crate) async fn cap_04_every_capability_at_once(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    let all = |message| AgentToServer { capabilities: 0xffff, ..message };
    let first = AgentToServer {
        package_statuses: Some(PackageStatuses::default()),
        custom_capabilities: Some(CustomCapabilities::default()),
        available_components: Some(AvailableComponents { hash: vec![3; 32], ..Default::default() }),
        ..all(full(uid, 0, "none"))
    };
    socket.send(&first).await.unwrap();
    let mut replies = vec![socket.receive(PATIENCE).await.unwrap()];
    for seq in 1..4 {
        socket.send(&all(bare(uid, seq))).await.unwrap();
        replies.push(socket.receive(PATIENCE).await.unwrap());
    }
    for reply in replies {
        assert_eq!((reply.error_response, reply.flags & FULL), (None, 0));
        assert_eq!((reply.connection_settings, reply.packages_available), (None, None));
        assert_eq!((reply.command, reply.custom_message), (None, None), "nothing is made up");
    }
}
