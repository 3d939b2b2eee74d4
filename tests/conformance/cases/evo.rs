//! How the protocol may grow: by numbers on the wire, and by fields that are not known yet.

use http::StatusCode;
use opamp::v1::*;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

/// A field of bytes, by its number.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(number < 16 && length < 0x80, "one byte each");
    [&[number << 3 | 2, length][..], bytes].concat()
}

/// A field with a small number.
fn varint(number: u8, value: u8) -> Vec<u8> {
    assert!(number < 16 && value < 0x80, "one byte each");
    vec![number << 3, value]
}

pub(crate) async fn evo_01_unknown_fields_are_ignored(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut bytes = full(uid, 0, "none").encode_to_vec();
    // Field 99, a varint.
    bytes.extend([0x98, 0x06, 7]);
    let answer = fleet.post(&[], bytes).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(ServerToAgent::decode(answer.body).unwrap().error_response, None);
    fleet.until(uid, |_| true).await;
    // A flag and a status of later versions.
    let later = AgentToServer { flags: 1 << 40, ..bare(uid, 1) };
    assert_eq!(fleet.poll(&later).await.error_response, None);
    let status = Some(RemoteConfigStatus { status: 77, ..Default::default() });
    let later = AgentToServer { remote_config_status: status, ..bare(uid, 2) };
    assert_eq!(fleet.poll(&later).await.error_response, None);
}

pub(crate) async fn evo_03_numbers_on_the_wire_are_the_published_ones(fleet: &Fleet) {
    let uid = fleet.uid();
    let text = |key: &str, value: &str| {
        [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
    };
    // Written by hand, after the published numbers: uid 1, number 2, description 3, capabilities
    // 4, health 5 with its status 4, remote config status 7 with its error 3.
    let description = [field(1, &text("service.name", "hand")), field(2, &text("k", "v"))];
    let message = [
        field(1, uid.as_bytes()),
        varint(2, 5),
        field(3, &description.concat()),
        varint(4, 3),
        field(5, &[varint(1, 1), field(4, b"fine")].concat()),
        field(7, &[field(1, &[8; 32]), varint(2, 3), field(3, b"why")].concat()),
    ];
    let answer = fleet.post(&[], message.concat()).await;
    assert_eq!(answer.status, StatusCode::OK);
    // The uid is field 1, capabilities are field 7.
    assert!(answer.body.starts_with(&field(1, uid.as_bytes())));
    assert_eq!(answer.body[18], 7 << 3, "{:?}", answer.body);
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.identifying_attributes, [crate::messages::text("service.name", "hand")]);
    assert_eq!(agent.capabilities, 3);
    let health = agent.health.unwrap();
    assert_eq!((health.healthy, health.status.as_str()), (true, "fine"));
    let report = agent.report.unwrap();
    assert_eq!(report.sequence_num, Some(5));
    let status = report.remote_config_status.unwrap();
    assert_eq!(status.status(), RemoteConfigStatuses::Failed);
    assert_eq!(status.error_message, "why");
}

pub(crate) async fn evo_04_unknown_fields_reach_the_bus(fleet: &Fleet) {
    let address = fleet.bus();
    let mut tap = TcpStream::connect(&address).await.unwrap();
    tap.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n").await.unwrap();
    let mut heard = Vec::new();
    let mut hear = async |what: &[u8]| {
        let hearing = async {
            while !heard.windows(what.len()).any(|part| part == what) {
                assert_ne!(tap.read_buf(&mut heard).await.unwrap(), 0, "NATS is gone");
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.expect("it is heard on the bus");
    };
    hear(b"PONG").await;
    let mut message = full(fleet.uid(), 0, "none").encode_to_vec();
    // Field 99, bytes.
    let unknown = [&[0x9a, 0x06, 20][..], b"from a later version"].concat();
    message.extend(&unknown);
    let mut socket = fleet.connect().await;
    socket.send_binary(&[&[0][..], &message].concat()).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
    hear(&unknown).await;
}
