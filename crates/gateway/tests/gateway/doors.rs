//! Who gets in: TLS and tokens on the agents' door.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opamp::Message as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use services::{Authority, Pair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use trust::{Door, Files, Keeper};

use crate::agent::{Agent, HANDSHAKE, heartbeat, report};
use crate::field::{Field, PATIENCE, until};

const TOKEN: &str = "a-token-of-an-agent";
const OTHER: &str = "another-token-of-an-agent";

/// A gateway behind a door whose files are followed.
struct House {
    field: Field,
    _keeping: JoinSet<()>,
}

impl House {
    async fn behind(files: &Files) -> Self {
        let mut keeper = Keeper::default();
        let door: Door = files.door(b"http/1.1", &mut keeper).unwrap();
        let mut keeping = JoinSet::new();
        keeping.spawn(keeper.run(CancellationToken::new()));
        let field = Field::behind(door, |limits| {
            limits.handshake_deadline = Duration::from_millis(300);
            // Who is expelled is not to wait for it.
            limits.close_grace = PATIENCE * 2;
        });
        Self { field: field.await, _keeping: keeping }
    }
}

fn tls(authority: &Authority) -> Files {
    let Pair { certificate, key } = authority.server("gateway").unwrap();
    Files { certificate: Some((certificate, key)), ..Files::default() }
}

fn tokens(path: &Path, text: &str) -> Files {
    std::fs::write(path, text).unwrap();
    Files { tokens: Some(path.to_owned()), ..Files::default() }
}

fn pem(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// A connection to the gateway by an agent that trusts one authority.
async fn secured(
    field: &Field,
    trusted: &Authority,
    identity: Option<&Pair>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem(&trusted.file()).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            builder.with_client_auth_cert(pem(&pair.certificate), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(field.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    timeout(PATIENCE, connector.connect(name, stream)).await.expect("answers in time")
}

/// An agent's handshake with a token.
fn handshake(token: &str) -> String {
    let line = format!("\r\nAuthorization: Bearer {token}\r\n\r\n");
    HANDSHAKE.replace("\r\n\r\n", &line)
}

async fn with_token(field: &Field, token: &str) -> (Agent, String) {
    let stream = TcpStream::connect(field.address).await.unwrap();
    Agent::try_over(stream, &handshake(token)).await
}

/// The status line and headers that come for a head without its body.
async fn answer_to(field: &Field, head: &str) -> String {
    let mut stream = TcpStream::connect(field.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("answers in time");
    String::from_utf8(answer[..read.unwrap()].to_vec()).unwrap()
}

#[tokio::test]
async fn websockets_and_polls_work_inside_tls() {
    let authority = Authority::new().unwrap();
    let house = House::behind(&tls(&authority)).await;
    let stream = secured(&house.field, &authority, None).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut agent, head) = Agent::try_over(stream, HANDSHAKE).await;
    Agent::welcomed(&head);
    assert_eq!(agent.say(&report(1, 0)).await.error_response, None);
    assert_eq!(agent.say(&heartbeat(1, 1)).await.error_response, None);

    let mut stream = secured(&house.field, &authority, None).await.unwrap();
    let body = heartbeat(2, 0).encode_to_vec();
    let length = body.len();
    let head = format!(
        "POST /v1/opamp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().expect("a clean end");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_large_message_crosses_tls_both_ways() {
    let authority = Authority::new().unwrap();
    let house = House::behind(&tls(&authority)).await;
    house.field.seen.answer_with(|report, message| {
        let epoch = report.epoch.max(1);
        Some(crate::field::accepted(epoch, message, |reply| {
            reply.custom_message =
                Some(opamp::v1::CustomMessage { data: vec![7; 3 << 20], ..Default::default() });
        }))
    });
    let stream = secured(&house.field, &authority, None).await.unwrap();
    let (mut agent, _) = Agent::try_over(stream, HANDSHAKE).await;
    let mut message = report(1, 0);
    message.custom_message =
        Some(opamp::v1::CustomMessage { data: vec![8; 3 << 20], ..Default::default() });
    let reply = agent.say(&message).await;
    assert_eq!(reply.custom_message.unwrap().data.len(), 3 << 20);
    assert_eq!(house.field.seen.reports()[0].1, message);
}

#[tokio::test]
async fn a_gateway_of_another_authority_is_refused_by_its_agent() {
    let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let house = House::behind(&tls(&ours)).await;
    let error = secured(&house.field, &other, None).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    secured(&house.field, &ours, None).await.expect("others come in as before");
}

#[tokio::test]
async fn where_a_client_certificate_is_asked_for_nobody_comes_in_without() {
    let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let files = Files { client_ca: Some(ours.file()), ..tls(&ours) };
    let house = House::behind(&files).await;
    let answer = async |identity: Option<&Pair>| {
        // In TLS 1.3 a client learns only from what it reads that it was refused.
        let mut stream = secured(&house.field, &ours, identity).await?;
        stream.write_all(HANDSHAKE.as_bytes()).await?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.map(|_| first)
    };
    assert!(answer(None).await.is_err());
    assert!(answer(Some(&other.client("stranger").unwrap())).await.is_err());
    assert_eq!(&answer(Some(&ours.client("agent").unwrap())).await.unwrap(), b"HTTP/1.1 101");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_not_waited_for() {
    let authority = Authority::new().unwrap();
    let house = House::behind(&tls(&authority)).await;
    let mut stream = TcpStream::connect(house.field.address).await.unwrap();
    let ended = timeout(PATIENCE, stream.read(&mut [0; 8])).await.expect("the end in time");
    assert!(matches!(ended, Ok(0) | Err(_)));
    // Nor is one that speaks something else.
    let answer = answer_to(&house.field, HANDSHAKE).await;
    assert!(!answer.starts_with("HTTP"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_counts_for_new_connections() {
    let authority = Authority::new().unwrap();
    let house = House::behind(&tls(&authority)).await;
    let shown = async || {
        let stream = secured(&house.field, &authority, None).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        (stream, shown)
    };
    let (stream, old) = shown().await;
    let (mut agent, _) = Agent::try_over(stream, HANDSHAKE).await;
    let pair = authority.server("gateway").unwrap();
    let new = pem(&pair.certificate).remove(0);
    assert_ne!(old, new);
    let deadline = Instant::now() + PATIENCE;
    while shown().await.1 != new {
        assert!(Instant::now() < deadline, "the old certificate is still shown");
    }
    assert_eq!(agent.say(&report(1, 0)).await.error_response, None, "the old ones live on");
}

#[tokio::test]
async fn strangers_are_turned_away_before_the_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::behind(&tokens(&dir.path().join("t"), &format!("agents {TOKEN}"))).await;
    for (_, head) in [
        Agent::try_connect(house.field.address).await,
        with_token(&house.field, "a-token-that-nobody-has").await,
    ] {
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert!(head.to_lowercase().contains("\r\nwww-authenticate: bearer\r\n"), "{head}");
    }
    let (mut agent, head) = with_token(&house.field, TOKEN).await;
    Agent::welcomed(&head);
    assert_eq!(agent.say(&report(1, 0)).await.error_response, None);
    assert_eq!(house.field.seen.reports()[0].0.token_name, "agents");
}

#[tokio::test]
async fn strangers_are_turned_away_before_their_body_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::behind(&tokens(&dir.path().join("t"), &format!("agents {TOKEN}"))).await;
    let head = "POST /v1/opamp HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/x-protobuf\r\nContent-Length: 50000000\r\n";
    let answer = answer_to(&house.field, &format!("{head}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let body = heartbeat(1, 0).encode_to_vec();
    let known = format!(
        "POST /v1/opamp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(house.field.address).await.unwrap();
    stream.write_all(known.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(house.field.seen.reports()[0].0.token_name, "agents");
}

#[tokio::test]
async fn a_token_that_is_taken_out_closes_what_it_opened_within_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    let both = format!("stay {TOKEN}\ngo {OTHER}\n");
    let house = House::behind(&tokens(&path, &both)).await;
    let (mut stays, _) = with_token(&house.field, TOKEN).await;
    let (mut goes, _) = with_token(&house.field, OTHER).await;
    stays.say(&report(1, 0)).await;
    goes.say(&report(2, 0)).await;
    let since = Instant::now();
    std::fs::write(&path, format!("stay {TOKEN}\n")).unwrap();
    assert_eq!(goes.closed().await, Some(1008));
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    until("the workers know", || house.field.seen.closes().len() == 1).await;
    assert_eq!(stays.say(&heartbeat(1, 1)).await.error_response, None);
    let (_, head) = with_token(&house.field, OTHER).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
}

#[tokio::test]
async fn a_reply_in_flight_does_not_hold_up_the_end_of_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    let both = format!("stay {TOKEN}\ngo {OTHER}\n");
    let house = House::behind(&tokens(&path, &both)).await;
    let (mut goes, _) = with_token(&house.field, OTHER).await;
    house.field.seen.delay(Duration::from_secs(5));
    goes.send(&report(2, 0)).await;
    let since = Instant::now();
    std::fs::write(&path, format!("stay {TOKEN}\n")).unwrap();
    assert_eq!(goes.closed().await, Some(1008));
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}
