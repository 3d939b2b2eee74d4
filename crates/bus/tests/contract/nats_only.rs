//! What only a server of its own can do to a bus: go away and come back.

use std::time::{Duration, Instant};

use bus::{Bus as _, Error, Nats};
use bytes::Bytes;
use tokio::time::timeout;

use crate::log::{entry, read};
use crate::{PATIENCE, connect, connect_to, nats_server, program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_went_away_is_told_of_and_comes_back() {
    let Some(mut server) = nats_server() else { return };
    let bus = connect(&server, "a").await;
    let mut subscription = bus.subscribe("s", None, 8).await.unwrap();
    let start = bus.tail().await.unwrap();
    bus.append(vec![entry("before")]).await.unwrap();

    server.kill().unwrap();
    let told = async {
        loop {
            let start = Instant::now();
            let asked = bus.request("s", Bytes::new(), Duration::from_secs(1)).await;
            assert!(start.elapsed() < Duration::from_secs(2), "told within two seconds");
            if matches!(asked, Err(Error::Unavailable(_))) {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("requests say that the bus is away");
    assert!(bus.publish("s", Bytes::new()).await.is_err());
    assert!(bus.append(vec![entry("lost")]).await.is_err());

    server.restart().unwrap();
    let back = async {
        loop {
            let _ = bus.publish("s", "again".into()).await;
            let heard = timeout(Duration::from_millis(100), subscription.next()).await;
            if heard.is_ok_and(|inbound| inbound.is_some_and(|i| i.payload == "again")) {
                return;
            }
        }
    };
    timeout(PATIENCE * 2, back).await.expect("the subscription lives on");
    bus.append(vec![entry("after")]).await.unwrap();
    let entries = read(&mut bus.read(start).await.unwrap(), 2).await;
    assert_eq!([entries[0].1.as_str(), entries[1].1.as_str()], ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_under_way_when_the_bus_breaks_is_not_waited_for() {
    let Some(mut server) = nats_server() else { return };
    let bus = connect(&server, "a").await;
    let mut silent = bus.subscribe("s", None, 8).await.unwrap();
    let start = Instant::now();
    let patience = Duration::from_secs(60);
    let (asked, ()) = tokio::join!(bus.request("s", Bytes::new(), patience), async {
        timeout(PATIENCE, silent.next()).await.unwrap().unwrap();
        server.kill().unwrap();
    });
    // It was sent: "unavailable" would say that nobody can have acted on it.
    assert!(matches!(asked, Err(Error::TimedOut(_))), "{asked:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_goes_on_where_it_was_after_a_restart() {
    let Some(mut server) = nats_server() else { return };
    let bus = connect(&server, "a").await;
    let mut reader = bus.read(bus.tail().await.unwrap()).await.unwrap();
    bus.append(vec![entry("before")]).await.unwrap();
    assert_eq!(read(&mut reader, 1).await[0].1, "before");
    server.kill().unwrap();
    server.restart().unwrap();
    append_until_taken(&bus, "after").await;
    bus.append(vec![entry("last")]).await.unwrap();
    let rest = read(&mut reader, 2).await;
    assert_eq!([rest[0].1.as_str(), rest[1].1.as_str()], ["after", "last"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_log_ends_its_readers_and_is_made_anew() {
    let Some(server) = nats_server() else { return };
    let bus = connect(&server, "a").await;
    bus.append(vec![entry("one"), entry("two")]).await.unwrap();
    let tail = bus.tail().await.unwrap();
    let mut reader = bus.read(tail).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    context.delete_stream("test_events_v1").await.unwrap();
    let told = timeout(PATIENCE, reader.next()).await.unwrap().unwrap();
    assert!(matches!(told, Err(Error::OutOfRange { .. })), "{told:?}");
    assert!(timeout(PATIENCE, reader.next()).await.unwrap().is_none());
    append_until_taken(&bus, "three").await;
    let old = bus.read(tail).await;
    assert!(matches!(old, Err(Error::OutOfRange { .. })), "beyond the new log: {old:?}");
    let new = bus.read(bus.tail().await.unwrap()).await.unwrap();
    assert_ne!(new.log(), reader.log(), "its positions are others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_whose_entries_made_room_is_out_of_range() {
    let Some(server) = nats_server() else { return };
    let bus = connect(&server, "a").await;
    let start = bus.tail().await.unwrap();
    bus.append((0..10).map(|n| entry(&n.to_string())).collect()).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut config =
        context.get_stream("test_events_v1").await.unwrap().cached_info().config.clone();
    config.max_messages = 3;
    context.update_stream(config).await.unwrap();
    let refused = bus.read(start).await;
    assert!(matches!(refused, Err(Error::OutOfRange { oldest: 8, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_jetstream_carries_messages_and_says_why_there_is_no_log() {
    let Some(program) = program() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = std::process::Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stderr(std::process::Stdio::null())
        .spawn();
    let _server = KillOnDrop(server.unwrap());
    // The server may still be starting: connecting waits a little for it.
    let bus = connect_to(format!("nats://127.0.0.1:{port}"), "a").await.unwrap();
    let mut subscription = bus.subscribe("s", None, 8).await.unwrap();
    bus.publish("s", Bytes::new()).await.unwrap();
    timeout(PATIENCE, subscription.next()).await.unwrap().unwrap();
    let error = bus.tail().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)));
    assert!(error.to_string().contains("JetStream is not enabled"), "{error}");
}

#[tokio::test]
async fn a_bus_that_is_not_there_is_told_of_without_its_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("nats://user:secret@127.0.0.1:{port}");
    let start = Instant::now();
    let error = connect_to(url, "a").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)));
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

struct KillOnDrop(std::process::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn append_until_taken(bus: &Nats, id: &str) {
    let taken = async {
        while bus.append(vec![entry(id)]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE * 2, taken).await.expect("the log is there again");
}
