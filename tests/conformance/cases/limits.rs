//! Bounds on messages, both ways, and how operators set them.

use agent::link::WebSocket;
use http::StatusCode;
use opamp::v1::*;
use opamp::ws::{self, Opcode};
use prost::Message as _;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

const MASK: Option<[u8; 4]> = Some([4, 3, 2, 1]);
/// The limit that cases set.
const LIMIT: usize = 64 << 10;
/// The metric of what was not sent.
const DISCARDED: &str = "muster_gateway_oversize_discarded_total";

/// A full report of exactly this many bytes.
fn of_size(fleet: &Fleet, bytes: usize) -> Vec<u8> {
    let message = full(fleet.uid(), 0, "none");
    let with = |length: usize| {
        let file = AgentConfigFile { body: vec![b'x'; length].into(), ..Default::default() };
        let config_map = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
        let effective_config = Some(EffectiveConfig { config_map });
        AgentToServer { effective_config, ..message.clone() }.encode_to_vec()
    };
    let around = with(bytes).len() - bytes;
    let message = with(bytes - around);
    assert_eq!(message.len(), bytes);
    message
}

pub(crate) async fn ws_10_the_limit_on_messages_can_be_set(shared: &Fleet) {
    let limit = LIMIT.to_string();
    let fleet = shared.own(&["--opamp-message-max-bytes", &limit]).await;
    let mut socket = fleet.connect().await;
    let largest = [&[0][..], &of_size(&fleet, LIMIT - 1)].concat();
    socket.send_binary(&largest).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None, "the limit itself");
    socket.send_binary(&[&[0][..], &of_size(&fleet, LIMIT)].concat()).await.unwrap();
    assert_eq!(socket.closed(PATIENCE).await.unwrap(), Some(1009), "one byte more");
    in_fragments(&mut fleet.connect().await, &of_size(&fleet, LIMIT)).await;

    let answer = fleet.post(&[], of_size(&fleet, LIMIT)).await;
    assert_eq!(answer.status, StatusCode::OK, "a post has no header");
    let answer = fleet.post(&[], of_size(&fleet, LIMIT + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// No fragment is too large, all together are.
async fn in_fragments(socket: &mut WebSocket, body: &[u8]) {
    let mut bytes = Vec::new();
    ws::frame(&mut bytes, Opcode::Binary, &[0], MASK);
    bytes[0] &= 0x7f;
    for part in body.chunks(LIMIT / 2) {
        let start = bytes.len();
        ws::frame(&mut bytes, Opcode::Continuation, part, MASK);
        bytes[start] &= 0x7f;
    }
    socket.send_raw(&bytes).await.unwrap();
    assert_eq!(socket.closed(PATIENCE).await.unwrap(), Some(1009), "in fragments");
}

pub(crate) async fn ws_08_what_is_too_large_is_not_sent(shared: &Fleet) {
    let mut fleet = shared.own(&[]).await;
    let large = format!("a: {}", "x".repeat(LIMIT));
    let sent = fleet.give("ws-08", large.as_bytes()).await;
    let small = fleet.give("ws-08-small", b"a: 1").await;
    let limit = LIMIT.to_string();
    fleet.restart(&["--opamp-reply-max-bytes", &limit]).await;

    let (by_socket, by_poll) = (fleet.uid(), fleet.uid());
    let mut socket = fleet.connect().await;
    socket.send(&full(by_socket, 0, "ws-08")).await.unwrap();
    let replies = [
        (by_socket, socket.receive(PATIENCE).await.unwrap()),
        (by_poll, fleet.poll(&full(by_poll, 0, "ws-08")).await),
    ];
    for (uid, reply) in replies {
        assert_eq!((&reply.instance_uid[..], offered(&reply)), (&uid.as_bytes()[..], None));
        assert_eq!(reply.error_response, None, "a plain acknowledgement");
        assert_ne!(reply.capabilities, 0);
        assert!(fleet.log().contains(&uid.to_string()), "the log names {uid}");
    }
    let before = fleet.metric(DISCARDED).await;
    assert!(before >= 2.0, "{before} counted");
    let agent = fleet.until(by_socket, |_| true).await;
    assert_eq!(agent.config.unwrap().offered_hash, sent, "operators see that it is still due");

    // Pushed, it is not sent either. What is small enough is.
    let pushed = fleet.uid();
    socket.send(&full(pushed, 0, "ws-08-push")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    fleet.assign("ws-08-push", "ws-08").await;
    while fleet.metric(DISCARDED).await <= before {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    fleet.assign("ws-08-push", "ws-08-small").await;
    assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), Some(&small[..]));
}

pub(crate) async fn http_06_what_could_never_be_sent_is_not_taken(shared: &Fleet) {
    let limit = LIMIT.to_string();
    let fleet = shared.own(&["--opamp-reply-max-bytes", &limit]).await;
    let large = format!("a: {}", "x".repeat(LIMIT));
    let refused = fleet.try_apply("http-06", large.as_bytes()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("bytes"), "{refused}");
    let fits = format!("a: {}", "x".repeat(LIMIT / 2));
    let hash = fleet.give("http-06", fits.as_bytes()).await;
    assert_eq!(offered(&fleet.poll(&full(fleet.uid(), 0, "http-06")).await), Some(&hash[..]));
}
