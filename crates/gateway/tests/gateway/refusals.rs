//! What makes no sense is answered or closed, and reaches no worker.

use opamp::v1::{AgentDescription, AnyValue, ArrayValue, KeyValue, ServerToAgent, any_value};
use opamp::ws::{self, Event, Opcode};
use opamp::{Message as _, envelope};

use crate::agent::{Agent, MASK, heartbeat, report, uid};
use crate::field::{Field, accepted};

const BAD_REQUEST: i32 = 1;

fn bad_request(reply: &ServerToAgent) -> String {
    let error = reply.error_response.clone().expect("an error");
    assert_eq!(error.r#type, BAD_REQUEST);
    assert_eq!(error.details, None, "nothing to wait for");
    assert_eq!((reply.capabilities, reply.flags), (0, 0), "an error comes alone");
    error.error_message
}

#[tokio::test]
async fn malformed_messages_are_answered_and_the_socket_lives() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    let good = envelope::encode(&report(1, 0));
    let cases = [
        ("truncated", good[..good.len() - 1].to_vec(), uid(1)),
        ("header 1", [&[1], &good[1..]].concat(), vec![]),
        ("header without end", vec![0x80; 11], vec![]),
        ("no header", vec![], vec![]),
        ("nothing but a header", vec![0], vec![]),
        ("raw protobuf", good[1..].to_vec(), vec![]),
    ];
    for (name, bytes, uid) in cases {
        agent.send_message(&bytes).await;
        let reply = agent.hear().await;
        assert!(!bad_request(&reply).is_empty(), "{name}");
        assert_eq!(reply.instance_uid, uid, "{name}");
    }
    agent.say(&report(1, 0)).await;
    agent.send_message(&[0, 0xff]).await;
    assert_eq!(agent.hear().await.instance_uid, uid(1), "the only agent it can be");
    assert_eq!(field.seen.reports().len(), 1);
}

#[tokio::test]
async fn a_header_of_two_zero_bytes_is_a_header() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    let message = [&[0x80, 0], &envelope::encode(&report(1, 0))[1..]].concat();
    agent.send_message(&message).await;
    assert_eq!(agent.hear().await.error_response, None);
}

#[tokio::test]
async fn a_uid_must_have_16_bytes() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    for length in [0, 15, 17, 26] {
        let mut message = report(1, 0);
        message.instance_uid = vec![7; length];
        let reply = agent.say(&message).await;
        assert!(bad_request(&reply).contains(&length.to_string()));
        assert_eq!(reply.instance_uid, message.instance_uid);
    }
    assert!(field.seen.reports().is_empty());
}

#[tokio::test]
async fn absurd_nesting_is_refused_by_name_and_deeper_still_by_the_decoder() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    for (depth, expected) in [(20, "nested more than 16"), (200, "recursion limit")] {
        let value = (0..depth).fold(AnyValue::default(), |inner, _| AnyValue {
            value: Some(any_value::Value::ArrayValue(ArrayValue { values: vec![inner] })),
        });
        let mut message = report(1, 0);
        let attribute = KeyValue { key: "k".to_owned(), value: Some(value) };
        message.agent_description = Some(AgentDescription {
            non_identifying_attributes: vec![attribute],
            ..Default::default()
        });
        let reply = agent.say(&message).await;
        let text = bad_request(&reply);
        assert!(text.contains(expected), "{text}");
        assert_eq!(reply.instance_uid, uid(1));
    }
    assert!(field.seen.reports().is_empty());
}

#[tokio::test]
async fn too_many_malformed_messages_in_a_row_close_the_socket() {
    let field = Field::with(|limits| limits.malformed_in_a_row_max = 3).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    for bytes in [&[1][..], &[1]] {
        agent.send_message(bytes).await;
        bad_request(&agent.hear().await);
    }
    agent.say(&heartbeat(1, 1)).await;
    for _ in 0..3 {
        agent.send_message(&[1]).await;
        bad_request(&agent.hear().await);
    }
    assert_eq!(agent.closed().await, Some(1008));
}

#[tokio::test]
async fn text_is_closed_with_1003() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    agent.send_frame(Opcode::Text, b"{}").await;
    assert_eq!(agent.closed().await, Some(1003));
}

#[tokio::test]
async fn broken_frames_are_closed_with_1002() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    let mut frame = Vec::new();
    ws::binary(&mut frame, b"unmasked", None);
    agent.write(&frame).await;
    assert_eq!(agent.closed().await, Some(1002));
}

#[tokio::test]
async fn oversize_is_closed_with_1009_in_one_frame_and_in_many() {
    let field = Field::with(|limits| limits.receive_bytes_max = 10_000).await;
    let mut whole = Agent::connect(field.address).await;
    whole.send_message(&[0; 10_001]).await;
    assert_eq!(whole.closed().await, Some(1009));
    let mut parts = Agent::connect(field.address).await;
    for first in [0x02, 0x00, 0x00] {
        let mut frame = Vec::new();
        ws::binary(&mut frame, &[0; 4_000], Some(MASK));
        frame[0] = first;
        parts.write(&frame).await;
    }
    assert_eq!(parts.closed().await, Some(1009));
}

#[tokio::test]
async fn a_message_of_exactly_the_limit_arrives_in_fragments_with_pings_between() {
    let mut message = report(1, 0);
    message.remote_config_status.as_mut().unwrap().error_message = "x".repeat(50_000);
    let bytes = envelope::encode(&message);
    let limit = bytes.len();
    let field = Field::with(|limits| limits.receive_bytes_max = limit).await;
    let mut agent = Agent::connect(field.address).await;
    let parts: Vec<&[u8]> = bytes.chunks(4_096).collect();
    for (index, part) in parts.iter().enumerate() {
        let mut frame = Vec::new();
        ws::binary(&mut frame, part, Some(MASK));
        let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
        frame[0] = fin | if index == 0 { 2 } else { 0 };
        agent.write(&frame).await;
        agent.send_frame(Opcode::Ping, b"there?").await;
    }
    let (mut pongs, mut replies) = (0, 0);
    while (pongs, replies) != (parts.len(), 1) {
        match agent.event().await {
            Some(Event::Pong(payload)) => {
                assert_eq!(payload, b"there?");
                pongs += 1;
            }
            Some(Event::Binary(_)) => replies += 1,
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(field.seen.reports()[0].0.message, message.encode_to_vec());
}

#[tokio::test]
async fn a_reply_over_the_send_limit_is_replaced_by_an_acknowledgement() {
    let field = Field::with(|limits| limits.send_bytes_max = 1_000).await;
    field.seen.answer_with(|_, message| {
        Some(accepted(1, message, |reply| {
            reply.flags = 1;
            reply.agent_identification =
                Some(opamp::v1::AgentIdentification { new_instance_uid: vec![0; 1_000] });
        }))
    });
    let mut agent = Agent::connect(field.address).await;
    let reply = agent.say(&report(1, 0)).await;
    assert_eq!((&reply.instance_uid, reply.flags), (&uid(1), 1));
    assert_eq!(reply.agent_identification, None);
    assert_eq!(reply.capabilities, opamp::capability::SERVER);
}

#[tokio::test]
async fn one_socket_carries_a_bounded_number_of_agents() {
    let field = Field::with(|limits| limits.agents_per_connection_max = 2).await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    assert!(bad_request(&proxy.say(&report(3, 0)).await).contains("too many agents"));
    assert_eq!(proxy.say(&heartbeat(1, 1)).await.error_response, None);
}
