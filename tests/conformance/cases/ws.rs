//! The WebSocket transport.

use std::time::Duration;

use agent::link::WebSocket;
use opamp::v1::*;
use opamp::ws::{self, Event, Opcode};
use opamp::{InstanceUid, envelope};
use prost::Message as _;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

const MASK: Option<[u8; 4]> = Some([9, 8, 7, 6]);

pub(crate) async fn gen_05_agents_on_one_socket_are_apart(fleet: &Fleet) {
    let case = "gen-05";
    let (one, two) = (fleet.uid(), fleet.uid());
    let mut socket = fleet.connect().await;
    for (uid, case) in [(one, "none"), (two, case)] {
        socket.send(&full(uid, 0, case)).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(reply.instance_uid, uid.as_bytes());
        assert_ne!(reply.capabilities, 0, "announced to each");
    }
    for seq in 1..5 {
        for uid in [one, two] {
            socket.send(&bare(uid, seq)).await.unwrap();
            let reply = socket.receive(PATIENCE).await.unwrap();
            assert_eq!((&reply.instance_uid[..], reply.flags), (&uid.as_bytes()[..], 0));
        }
    }
    let hash = fleet.give(case, b"a: 1").await;
    let push = socket.receive(PATIENCE).await.unwrap();
    assert_eq!((&push.instance_uid[..], offered(&push)), (&two.as_bytes()[..], Some(&hash[..])));
}

pub(crate) async fn ws_01_only_binary_messages_with_a_zero_header(fleet: &Fleet) {
    let mut socket = fleet.connect().await;
    socket.send(&full(fleet.uid(), 0, "none")).await.unwrap();
    let Event::Binary(payload) = socket.next().await.unwrap() else { panic!("not binary") };
    assert_eq!(payload[0], 0);
    assert!(ServerToAgent::decode(&payload[1..]).is_ok());
}

pub(crate) async fn ws_03_another_header_is_malformed(fleet: &Fleet) {
    let uid = fleet.uid();
    let message = full(uid, 0, "none").encode_to_vec();
    for header in [&[1][..], &[0x80; 11]] {
        let mut socket = fleet.connect().await;
        socket.send_binary(&[header, &message].concat()).await.unwrap();
        bad_request(&mut socket).await;
    }
    let mut socket = fleet.connect().await;
    let truncated = &envelope::encode(&full(uid, 0, "none"))[..20];
    socket.send_binary(truncated).await.unwrap();
    bad_request(&mut socket).await;
    assert!(fleet.agent(uid).await.is_none(), "nothing of it is processed");
}

pub(crate) async fn ws_04_any_spelling_of_zero_is_a_header(fleet: &Fleet) {
    let mut socket = fleet.connect().await;
    let message = full(fleet.uid(), 0, "none").encode_to_vec();
    socket.send_binary(&[&[0x80, 0][..], &message].concat()).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
}

pub(crate) async fn ws_05_an_empty_message_is_legal(fleet: &Fleet) {
    let mut socket = fleet.connect().await;
    socket.send_binary(&[0]).await.unwrap();
    bad_request(&mut socket).await;
    socket.send(&full(fleet.uid(), 0, "none")).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
}

pub(crate) async fn ws_07_over_the_limit_closes_with_1009(fleet: &Fleet) {
    // Announced lengths alone: just over the limit, and beyond any memory.
    for length in [(64_u64 << 20) + 1, (1 << 63) - 1] {
        let mut socket = fleet.connect().await;
        let mut header = vec![0x82, 0xff];
        header.extend(length.to_be_bytes());
        header.extend([0; 4]);
        socket.send_raw(&header).await.unwrap();
        assert_eq!(socket.closed(PATIENCE).await.unwrap(), Some(1009));
    }
}

pub(crate) async fn ws_11_an_offer_needs_no_question(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "ws-11");
    let mut socket = fleet.connect().await;
    socket.send(&full(uid, 0, case)).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    let hash = fleet.give(case, b"a: 1").await;
    let push = socket.receive(PATIENCE).await.unwrap();
    assert_eq!((&push.instance_uid[..], offered(&push)), (&uid.as_bytes()[..], Some(&hash[..])));
    let more = socket.receive(Duration::from_millis(300)).await;
    assert!(matches!(more, Err(agent::Error::TimedOut(_))), "once: {more:?}");
}

pub(crate) async fn ws_13_goodbye_and_close_are_answered(fleet: &Fleet) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    let goodbye = AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..bare(uid, 1) };
    socket.send(&goodbye).await.unwrap();
    let mut close = Vec::new();
    ws::close(&mut close, Some(1000), "", MASK);
    socket.send_raw(&close).await.unwrap();
    assert_eq!(socket.closed(Duration::from_secs(4)).await.unwrap(), Some(1000));
    use control::v1::ConnectionStatus::Disconnected;
    fleet.until(uid, |agent| agent.status() == Disconnected).await;
}

pub(crate) async fn ws_14_nothing_is_said_before_the_agent(fleet: &Fleet) {
    let silence = fleet.connect().await.receive(Duration::from_millis(500)).await;
    assert!(matches!(silence, Err(agent::Error::TimedOut(_))), "{silence:?}");
}

pub(crate) async fn ws_15_text_is_refused(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut socket = fleet.connect().await;
    let mut frame = Vec::new();
    ws::frame(&mut frame, Opcode::Text, &envelope::encode(&full(uid, 0, "none")), MASK);
    socket.send_raw(&frame).await.unwrap();
    assert_eq!(socket.closed(PATIENCE).await.unwrap(), Some(1003));
    assert!(fleet.agent(uid).await.is_none());
}

pub(crate) async fn ws_17_no_extension_is_negotiated(fleet: &Fleet) {
    let offer = [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")];
    let mut socket = WebSocket::connect(&fleet.endpoint(false), &offer).await.unwrap();
    socket.send(&full(fleet.uid(), 0, "none")).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
}

pub(crate) async fn ws_18_fragments_and_what_comes_between(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut socket = fleet.connect().await;
    let message = envelope::encode(&full(uid, 0, "none"));
    let mut bytes = Vec::new();
    for (index, part) in message.chunks(7).enumerate() {
        let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
        let start = bytes.len();
        ws::frame(&mut bytes, opcode, part, MASK);
        if (index + 1) * 7 < message.len() {
            bytes[start] &= 0x7f;
        }
        ws::ping(&mut bytes, b"between", MASK);
    }
    socket.send_raw(&bytes).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().instance_uid, uid.as_bytes());
    // One frame of 20 MiB.
    let uid: InstanceUid = fleet.uid();
    let file = AgentConfigFile { body: vec![7; 20 << 20].into(), ..Default::default() };
    let config_map = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
    let effective_config = Some(EffectiveConfig { config_map });
    socket.send(&AgentToServer { effective_config, ..full(uid, 0, "none") }).await.unwrap();
    let reply = socket.receive(PATIENCE * 4).await.unwrap();
    assert_eq!((&reply.instance_uid[..], reply.error_response), (&uid.as_bytes()[..], None));
}

/// The socket answers that it was a bad request, and why.
async fn bad_request(socket: &mut WebSocket) {
    let reply = socket.receive(PATIENCE).await.unwrap();
    let error = reply.error_response.expect("an error");
    assert_eq!(error.r#type(), ServerErrorResponseType::BadRequest);
    assert!(!error.error_message.is_empty());
}
