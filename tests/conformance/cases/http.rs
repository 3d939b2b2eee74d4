//! The plain HTTP transport.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, StatusCode};
use opamp::v1::*;
use prost::Message as _;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) async fn gen_01_both_transports_on_one_url(fleet: &Fleet) {
    let uid = fleet.uid();
    let answer = fleet.post(&[], full(uid, 0, "none").encode_to_vec()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    assert_eq!(ServerToAgent::decode(answer.body).unwrap().instance_uid, uid.as_bytes());
    let mut socket = fleet.connect().await;
    socket.send(&bare(uid, 1)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0, "one agent, either way");
}

pub(crate) async fn gen_02_other_paths_are_not_there(fleet: &Fleet) {
    let body = full(fleet.uid(), 0, "none").encode_to_vec();
    let headers = [("content-type", "application/x-protobuf")];
    let request = Request::post("/");
    let answer = fleet.poller().send(request, &headers, body.into()).await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

pub(crate) async fn gen_06_media_type_in_any_spelling(fleet: &Fleet) {
    let body = full(fleet.uid(), 0, "none").encode_to_vec();
    let headers = [("content-type", "Application/X-Protobuf; charset=x")];
    let answer = fleet.poller().post(&headers, body.into()).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

pub(crate) async fn gen_07_neither_post_nor_upgrade(fleet: &Fleet) {
    let uid = fleet.uid();
    let body = bytes::Bytes::from(full(uid, 0, "none").encode_to_vec());
    let protobuf = [("content-type", "application/x-protobuf")];
    let json = [("content-type", "application/json")];
    let path = || fleet.endpoint(true).path;
    let put = fleet.poller().send(Request::put(path()), &protobuf, body.clone()).await.unwrap();
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    let other = fleet.poller().send(Request::post(path()), &json, body).await.unwrap();
    assert_eq!(other.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let get = fleet.poller().send(Request::get(path()), &[], Default::default()).await.unwrap();
    assert!(matches!(get.status.as_u16(), 400 | 426), "{}", get.status);
    assert!(fleet.agent(uid).await.is_none());
}

pub(crate) async fn http_03_gzip_requests(fleet: &Fleet) {
    let uid = fleet.uid();
    let body = gzip(&full(uid, 0, "none").encode_to_vec());
    let answer = fleet.post(&[("content-encoding", "gzip")], body).await;
    assert_eq!(answer.status, StatusCode::OK);
    fleet.until(uid, |agent| !agent.identifying_attributes.is_empty()).await;
}

pub(crate) async fn http_04_gzip_replies_where_wanted(fleet: &Fleet) {
    let case = "http-04";
    fleet.give(case, &b"abc: def\n".repeat(1000)).await;
    for (accept, zipped) in [
        ("gzip", true),
        ("deflate, GZIP;q=0.5", true),
        ("*", true),
        ("gzip;q=0", false),
        ("identity", false),
    ] {
        let body = full(fleet.uid(), 0, case).encode_to_vec();
        let answer = fleet.post(&[("accept-encoding", accept)], body).await;
        assert_eq!(answer.headers.contains_key("content-encoding"), zipped, "{accept}");
        assert!(ServerToAgent::decode(answer.body).unwrap().remote_config.is_some());
    }
}

pub(crate) async fn http_05_a_bomb_is_refused(fleet: &Fleet) {
    let bomb = gzip(&vec![0; (64 << 20) + 1]);
    assert!(bomb.len() < 1 << 20);
    let answer = fleet.post(&[("content-encoding", "gzip")], bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

pub(crate) async fn http_09_uid_header_is_optional_and_body_wins(fleet: &Fleet) {
    let (uid, other) = (fleet.uid(), fleet.uid());
    for (seq, header) in
        [uid.to_string(), other.to_string(), "nonsense".to_owned()].iter().enumerate()
    {
        let message = full(uid, seq as u64, "none").encode_to_vec();
        let answer = fleet.post(&[("opamp-instance-uid", header)], message).await;
        let reply = ServerToAgent::decode(answer.body).unwrap();
        assert_eq!((&reply.instance_uid[..], reply.flags), (&uid.as_bytes()[..], 0), "{header}");
    }
    assert!(fleet.agent(other).await.is_none());
}

pub(crate) async fn http_10_an_offer_waits_for_the_poll(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "http-10");
    fleet.poll(&full(uid, 0, case)).await;
    let hash = fleet.give(case, b"a: 1").await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == hash).await;
    let idle = AgentToServer { capabilities: 0, ..bare(uid, 1) };
    let reply = fleet.poll(&idle).await;
    assert_eq!((&reply.instance_uid[..], offered(&reply)), (&uid.as_bytes()[..], Some(&hash[..])));
}

pub(crate) async fn http_12_connections_mean_nothing(fleet: &Fleet) {
    let (one, two) = (fleet.uid(), fleet.uid());
    let mut poller = fleet.poller();
    for seq in 0..4 {
        for uid in [one, two] {
            let message = if seq == 0 { full(uid, 0, "none") } else { bare(uid, seq) };
            let reply = poller.exchange(&message).await.unwrap();
            assert_eq!((&reply.instance_uid[..], reply.flags), (&uid.as_bytes()[..], 0));
        }
    }
    for seq in 4..8 {
        assert_eq!(fleet.poll(&bare(one, seq)).await.flags, 0, "each on a connection of its own");
    }
}

pub(crate) async fn http_14_unknown_or_corrupt_encoding(fleet: &Fleet) {
    let body = full(fleet.uid(), 0, "none").encode_to_vec();
    let answer = fleet.post(&[("content-encoding", "zstd")], body.clone()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = fleet.post(&[("content-encoding", "gzip")], body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

pub(crate) async fn http_13_two_polls_at_once_are_both_answered(fleet: &Fleet) {
    let uid = fleet.uid();
    fleet.poll(&full(uid, 0, "none")).await;
    for seq in (1..20).step_by(2) {
        let (one, two) = (bare(uid, seq), bare(uid, seq + 1));
        let (one, two) = tokio::join!(fleet.poll(&one), fleet.poll(&two));
        for reply in [one, two] {
            assert_eq!(
                (&reply.instance_uid[..], reply.error_response),
                (&uid.as_bytes()[..], None)
            );
        }
    }
    fleet.until(uid, |agent| agent.report.as_ref().unwrap().sequence_num.is_some()).await;
}

pub(crate) async fn http_15_no_poll_is_held_back(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "http-15");
    let prompt = async |message: AgentToServer| {
        let answer = tokio::time::timeout(std::time::Duration::from_secs(3), fleet.poll(&message));
        answer.await.expect("no waiting for something to say")
    };
    let reply = prompt(full(uid, 0, case)).await;
    assert_eq!(offered(&reply), None, "there is nothing to say");
    prompt(bare(uid, 1)).await;
    let hash = fleet.give(case, b"a: 1").await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == hash).await;
    assert_eq!(offered(&prompt(bare(uid, 2)).await), Some(&hash[..]));
}
