//! OpAMP over plain HTTP, and the door where the transports part.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use opamp::Message as _;
use opamp::v1::ServerToAgent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent::{heartbeat, report, uid};
use crate::field::{Field, PATIENCE, unavailable};

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn message(&self) -> ServerToAgent {
        ServerToAgent::decode(&self.body[..]).unwrap()
    }
}

async fn request(field: &Field, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(field.address).await.unwrap();
    let head = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The gateway may refuse by the head alone.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = timeout(PATIENCE, read).await.expect("answers in time");
    if answer.is_empty() {
        read.expect("an answer");
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: answer[end + 4..].to_vec(),
    }
}

pub(crate) async fn post(field: &Field, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!(
        "POST /v1/opamp HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {length}\r\n{headers}"
    );
    request(field, &head, body).await
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_poll_is_a_report_without_a_session() {
    let field = Field::start().await;
    let answer = post(&field, "", &heartbeat(1, 7).encode_to_vec()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.message().instance_uid, uid(1));
    let (asked, _) = &field.seen.reports()[0];
    assert!(asked.session_id.is_empty());
    assert_eq!((asked.epoch, asked.answered_sequence_num), (0, None));
    assert_eq!(asked.transport(), bus::v1::Transport::Http);
    assert_eq!(field.gateway.sessions(), 0);
}

#[tokio::test]
async fn bodies_may_be_chunked_and_gzipped() {
    let field = Field::start().await;
    let body = report(1, 0).encode_to_vec();
    let gzip = packed(&body);
    let answer = post(&field, "Content-Encoding: gzip\r\n", &gzip).await;
    assert_eq!((answer.status, answer.message().instance_uid), (200, uid(1)));
    let (first, rest) = body.split_at(5);
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    let chunked = [chunk(first), chunk(rest), chunk(b"")].concat();
    let head = "POST /v1/opamp HTTP/1.1\r\nContent-Type: Application/X-Protobuf; x=1\r\n\
        Transfer-Encoding: chunked\r\n";
    assert_eq!(request(&field, head, &chunked).await.status, 200);
    assert!(field.seen.reports().iter().all(|(asked, _)| asked.message == body));
}

#[tokio::test]
async fn responses_are_gzipped_where_allowed() {
    let field = Field::start().await;
    let body = report(1, 0).encode_to_vec();
    for (accept, gzipped) in [
        ("gzip", true),
        ("deflate, GZIP;q=0.5", true),
        ("*", true),
        ("gzip;q=0", false),
        ("identity", false),
    ] {
        let answer = post(&field, &format!("Accept-Encoding: {accept}\r\n"), &body).await;
        let coding = answer.header("content-encoding");
        assert_eq!(coding, gzipped.then_some("gzip"), "{accept}");
        let mut plain = answer.body.clone();
        if gzipped {
            plain.clear();
            GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).unwrap();
        }
        let message = ServerToAgent::decode(&plain[..]).unwrap();
        assert_eq!(message.instance_uid, uid(1));
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_on_the_wire_and_inflated() {
    let field = Field::with(|limits| limits.receive_bytes_max = 100_000).await;
    let bomb = packed(&vec![0; 50_000_000]);
    assert!(bomb.len() < 100_000);
    assert_eq!(post(&field, "Content-Encoding: gzip\r\n", &bomb).await.status, 413);
    assert_eq!(post(&field, "", &vec![0; 100_001]).await.status, 413);
    let head = "POST /v1/opamp HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n\
        Transfer-Encoding: chunked\r\n";
    let chunked = [&b"186a1\r\n"[..], &vec![0; 100_001], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(request(&field, head, &chunked).await.status, 413);
    assert!(field.seen.reports().is_empty());
}

#[tokio::test]
async fn codings_that_cannot_be_read_are_refused() {
    let field = Field::start().await;
    let body = report(1, 0).encode_to_vec();
    assert_eq!(post(&field, "Content-Encoding: zstd\r\n", &body).await.status, 415);
    assert_eq!(post(&field, "Content-Encoding: gzip\r\n", &body).await.status, 400);
    assert!(field.seen.reports().is_empty());
}

#[tokio::test]
async fn undecodable_is_400_and_invalid_is_200_each_with_a_reason() {
    let field = Field::start().await;
    let mut truncated = report(1, 0).encode_to_vec();
    truncated.pop();
    let answer = post(&field, "", &truncated).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.message().error_response.unwrap().r#type, 1);
    assert_eq!(answer.message().instance_uid, uid(1), "salvaged");
    let mut nameless = report(1, 0);
    nameless.instance_uid = vec![1; 15];
    let answer = post(&field, "", &nameless.encode_to_vec()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    let error = answer.message().error_response.unwrap();
    assert_eq!(error.r#type, 1);
    assert!(error.error_message.contains("15"));
    assert!(field.seen.reports().is_empty());
}

#[tokio::test]
async fn the_body_s_uid_counts_whatever_the_header_says() {
    let field = Field::start().await;
    let body = report(1, 0).encode_to_vec();
    for header in ["01010101-0101-0101-0101-010101010101", "nonsense", "", &"x".repeat(500)] {
        let answer = post(&field, &format!("OpAMP-Instance-UID: {header}\r\n"), &body).await;
        assert_eq!((answer.status, answer.message().instance_uid), (200, uid(1)));
    }
}

#[tokio::test]
async fn without_workers_a_poll_is_503_within_the_agent_s_patience() {
    let field = Field::start().await;
    let silences: [fn() -> Option<bus::v1::report_reply::Outcome>; 2] =
        [|| None, || Some(unavailable())];
    for silence in silences {
        field.seen.answer_with(move |_, _| silence());
        let began = tokio::time::Instant::now();
        let answer = post(&field, "", &report(1, 0).encode_to_vec()).await;
        assert_eq!(answer.status, 503);
        assert!(began.elapsed().as_millis() < 1_400);
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=61).contains(&seconds), "{seconds}");
        assert_eq!(answer.message().error_response.unwrap().r#type, 2);
    }
}

#[tokio::test]
async fn many_agents_share_one_connection() {
    let field = Field::start().await;
    let mut stream = TcpStream::connect(field.address).await.unwrap();
    for number in 1..=3 {
        let body = report(number, 0).encode_to_vec();
        let length = body.len();
        let head = format!(
            "POST /v1/opamp HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(ServerToAgent::decode(&body[..]).unwrap().instance_uid, uid(number));
    }
}

#[tokio::test]
async fn requests_of_neither_transport_are_told_so() {
    let field = Field::start().await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (head, status) in [
        ("GET /v1/opamp HTTP/1.1\r\n".to_owned(), 426),
        ("GET / HTTP/1.1\r\n".to_owned(), 404),
        ("POST /v1/opamp HTTP/1.1\r\nContent-Type: application/json\r\n".to_owned(), 415),
        ("PUT /v1/opamp HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n".to_owned(), 405),
        (format!("GET /v1/opamp HTTP/1.1\r\n{upgrade}Sec-WebSocket-Version: 8\r\n"), 426),
    ] {
        let answer = request(&field, &head, b"").await;
        assert_eq!(answer.status, status, "{head}");
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
}
