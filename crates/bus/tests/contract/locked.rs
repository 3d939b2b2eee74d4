//! A NATS that does not let everybody in, and one that cannot be trusted: who is wrong is told
//! at once, why, and without any secret.

use std::time::{Duration, Instant};

use bus::{Bus as _, Error, Nats, NatsAccess};
use bytes::Bytes;
use services::{Authority, Lock, PASSWORD, Server, USER};
use tokio::time::timeout;

use crate::{PATIENCE, connect_as, connect_to, nats_server, program};

/// Where the server is, for its user.
pub(crate) fn url(server: &Server) -> String {
    format!("tls://{USER}@{}", server.address())
}

/// What its user shows.
pub(crate) fn access(authority: &Authority) -> NatsAccess {
    NatsAccess {
        password: Some(PASSWORD.to_owned()),
        ca_file: Some(authority.file()),
        ..NatsAccess::default()
    }
}

/// What a connection that is refused is told, soon.
pub(crate) async fn refused(url: String, access: NatsAccess) -> String {
    let start = Instant::now();
    let shown = format!("{access:?}");
    let error = connect_as(url, "a", access).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(3), "{error}");
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    let text = error.to_string();
    for said in [&text, &shown, &format!("{error:?}")] {
        assert!(!said.contains("hunter2") && !said.contains("wrong-secret"), "{said}");
    }
    text
}

fn locked(authority: &Authority) -> Option<Server> {
    program()?;
    Some(Server::locked_nats(&Lock::new(authority).unwrap()).unwrap())
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_name() {
    let authority = Authority::new().unwrap();
    let Some(server) = locked(&authority) else { return };
    let wrong = NatsAccess { password: Some("wrong-secret".to_owned()), ..access(&authority) };
    let said = refused(url(&server), wrong.clone()).await;
    assert!(said.contains("refuses the user and password"), "{said}");
    let nobody = NatsAccess { password: None, ..wrong.clone() };
    let said = refused(server.url(), nobody).await;
    assert!(said.contains("refuses a client without credentials"), "{said}");
    let said = refused(server.url(), wrong).await;
    assert!(said.contains("refuses the token"), "{said}");
}

#[tokio::test]
async fn a_password_in_the_url_counts_once_it_is_unescaped() {
    let authority = Authority::new().unwrap();
    let Some(server) = locked(&authority) else { return };
    let url = format!("tls://{USER}:hunter2%40home%2F%2541@{}", server.address());
    let access = NatsAccess { password: None, ..access(&authority) };
    let bus = connect_as(url, "a", access).await.unwrap();
    bus.publish("s", Bytes::new()).await.unwrap();
    assert!(!format!("{bus:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let Some(server) = locked(&authority) else { return };
    let said = refused(url(&server), access(&other)).await;
    assert!(said.contains("not signed by the given CA"), "{said}");
    let unknown = NatsAccess { ca_file: None, ..access(&authority) };
    let said = refused(url(&server), unknown).await;
    assert!(said.contains("give its CA"), "{said}");
    let missing = NatsAccess { ca_file: Some("/nowhere/ca.pem".into()), ..access(&authority) };
    let said = refused(url(&server), missing).await;
    assert!(said.contains("TLS with NATS cannot be set up"), "{said}");
}

#[tokio::test]
async fn tls_is_insisted_on_where_the_server_speaks_none() {
    let Some(server) = nats_server() else { return };
    let authority = Authority::new().unwrap();
    let ca = NatsAccess { ca_file: Some(authority.file()), ..NatsAccess::default() };
    let said = refused(server.url(), ca).await;
    assert!(said.contains("it seems to speak no TLS"), "{said}");
    let said = refused(server.url().replace("nats://", "tls://"), NatsAccess::default()).await;
    assert!(said.contains("it seems to speak no TLS"), "{said}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one() {
    if program().is_none() {
        return;
    }
    let authority = Authority::new().unwrap();
    let lock = Lock::new(&authority).unwrap().asking_certificate();
    let server = Server::locked_nats(&lock).unwrap();
    let without = connect_as(url(&server), "a", access(&authority)).await;
    assert!(without.is_err());
    let pair = authority.client("muster").unwrap();
    let certificate_files = Some((pair.certificate, pair.key));
    let with = NatsAccess { certificate_files, ..access(&authority) };
    connect_as(url(&server), "a", with).await.unwrap();
}

#[tokio::test]
async fn a_token_opens_a_server_that_asks_for_one() {
    if program().is_none() {
        return;
    }
    let server = Server::nats_with("authorization { token: \"the-token\" }").unwrap();
    let plain = |user: &str| format!("nats://{user}{}", server.address());
    connect_to(plain("the-token@"), "a").await.unwrap();
    let file = NatsAccess { password: Some("the-token".to_owned()), ..NatsAccess::default() };
    connect_as(plain(""), "a", file).await.unwrap();
    let said = refused(plain("wrong-secret@"), NatsAccess::default()).await;
    assert!(said.contains("refuses the token"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_outlives_a_while_in_which_it_is_refused() {
    let authority = Authority::new().unwrap();
    if program().is_none() {
        return;
    }
    let lock = Lock::new(&authority).unwrap();
    let mut server = Server::locked_nats(&lock).unwrap();
    let bus = connect_as(url(&server), "a", access(&authority)).await.unwrap();
    server.set(&lock.nats().replace(PASSWORD, "another")).unwrap();
    server.restart().unwrap();
    until(&bus, false).await;
    server.set(&lock.nats()).unwrap();
    server.restart().unwrap();
    until(&bus, true).await;
}

/// Waits until messages are taken, or not.
async fn until(bus: &Nats, taken: bool) {
    let waiting = async {
        while bus.publish("s", Bytes::new()).await.is_ok() != taken {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE * 2, waiting).await.expect("it comes to that");
}
