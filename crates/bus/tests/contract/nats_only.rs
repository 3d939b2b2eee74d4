//! What only a server of its own can do to a bus: go away and come back.

use std::time::{Duration, Instant};

use bus::{Bus as _, Error};
use bytes::Bytes;
use tokio::time::timeout;

use crate::log::{entry, read};
use crate::{PATIENCE, connect, nats_server};

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
