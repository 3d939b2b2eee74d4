//! What each toxic does, between real sockets.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use proxy::{Direction, Proxy, Toxics};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long anything may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what is not to happen is waited for.
const SHORT: Duration = Duration::from_millis(200);

/// Both ends of a connection through a proxy.
struct Ends {
    proxy: Proxy,
    listener: TcpListener,
    near: TcpStream,
    far: TcpStream,
}

impl Ends {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let near = TcpStream::connect(proxy.address()).await.unwrap();
        let (far, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        Self { proxy, listener, near, far }
    }

    fn up(&self, toxics: Toxics) {
        self.proxy.set(Direction::Up, toxics);
    }

    /// Sends up, and waits until it has arrived.
    async fn passes(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.near.write_all(bytes).await.unwrap();
        let mut arrived = vec![0; bytes.len()];
        timeout(PATIENCE, self.far.read_exact(&mut arrived)).await.unwrap().unwrap();
        arrived
    }
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.unwrap();
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn untouched_bytes_pass_both_ways_and_so_does_the_end() {
    let mut ends = Ends::new().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut near_read, mut near_write) = ends.near.split();
    let (mut far_read, mut far_write) = ends.far.split();
    let echo = async {
        let count = tokio::io::copy(&mut far_read, &mut far_write).await.unwrap();
        far_write.shutdown().await.unwrap();
        count
    };
    let send = async {
        near_write.write_all(&sent).await.unwrap();
        near_write.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let all = async { tokio::join!(echo, send, near_read.read_to_end(&mut back)) };
    let (echoed, (), read) = timeout(PATIENCE, all).await.unwrap();
    assert_eq!((echoed, read.unwrap()), (1_000_000, 1_000_000));
    assert_eq!(back, sent);
    assert_eq!(ends.proxy.bytes(Direction::Up), 1_000_000);
    let over = async {
        while ends.proxy.live() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, over).await.is_ok(), "nothing is left of it");
}

#[tokio::test]
async fn latency_and_jitter_delay_and_keep_the_order() {
    let mut ends = Ends::new().await;
    let (latency, jitter) = (Duration::from_millis(150), Duration::from_millis(100));
    ends.up(Toxics { latency, jitter, ..Toxics::default() });
    let start = Instant::now();
    for n in 0..20_u8 {
        ends.near.write_all(&[n]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut arrived = [0; 20];
    timeout(PATIENCE, ends.far.read_exact(&mut arrived)).await.unwrap().unwrap();
    assert!(start.elapsed() >= latency, "{:?}", start.elapsed());
    assert!(arrived.is_sorted(), "{arrived:?}");
    let start = Instant::now();
    ends.far.write_all(b"x").await.unwrap();
    ends.near.read_exact(&mut [0]).await.unwrap();
    assert!(start.elapsed() < latency, "the other way is free");
}

#[tokio::test]
async fn bandwidth_bounds_bytes_a_second() {
    let mut ends = Ends::new().await;
    ends.up(Toxics { bytes_per_second: 20_000, ..Toxics::default() });
    let start = Instant::now();
    ends.passes(&[7; 10_000]).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    ends.proxy.heal();
    let start = Instant::now();
    ends.passes(&[7; 10_000]).await;
    assert!(start.elapsed() < took, "free again, on the same connection");
}

#[tokio::test]
async fn a_blackhole_swallows_one_way_and_gives_back_when_it_is_healed() {
    let mut ends = Ends::new().await;
    ends.up(Toxics { blackhole: true, ..Toxics::default() });
    ends.near.write_all(b"lost?").await.unwrap();
    let mut arrived = [0; 5];
    assert!(timeout(SHORT, ends.far.read_exact(&mut arrived)).await.is_err());
    ends.far.write_all(b"down").await.unwrap();
    timeout(PATIENCE, ends.near.read_exact(&mut [0; 4])).await.unwrap().unwrap();
    // Who connects now is in the dark as well.
    let mut late = TcpStream::connect(ends.proxy.address()).await.unwrap();
    assert!(timeout(SHORT, ends.listener.accept()).await.is_err());
    ends.proxy.heal();
    timeout(PATIENCE, ends.far.read_exact(&mut arrived)).await.unwrap().unwrap();
    assert_eq!(&arrived, b"lost?");
    let (mut far, _) = timeout(PATIENCE, ends.listener.accept()).await.unwrap().unwrap();
    late.write_all(b"x").await.unwrap();
    timeout(PATIENCE, far.read_exact(&mut [0])).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_that_leaves_through_a_blackhole_is_missed_by_nobody() {
    let mut ends = Ends::new().await;
    for direction in Direction::BOTH {
        ends.proxy.set(direction, Toxics { blackhole: true, ..Toxics::default() });
    }
    drop(ends.near);
    assert!(timeout(SHORT, ends.far.read(&mut [0])).await.is_err(), "half open");
    ends.proxy.heal();
    assert_eq!(timeout(PATIENCE, ends.far.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_reset_ends_both_sides_hard_and_new_connections_work() {
    let mut ends = Ends::new().await;
    ends.proxy.reset();
    assert!(is_reset(&mut ends.near).await);
    assert!(is_reset(&mut ends.far).await);
    ends.near = TcpStream::connect(ends.proxy.address()).await.unwrap();
    (ends.far, _) = timeout(PATIENCE, ends.listener.accept()).await.unwrap().unwrap();
    ends.passes(b"again").await;
}

#[tokio::test]
async fn who_is_refused_is_reset() {
    let ends = Ends::new().await;
    ends.proxy.refuse(true);
    let mut late = TcpStream::connect(ends.proxy.address()).await.unwrap();
    assert!(is_reset(&mut late).await);
}

#[tokio::test]
async fn a_half_close_ends_one_way_and_leaves_the_other() {
    let mut ends = Ends::new().await;
    ends.passes(b"before").await;
    ends.proxy.half_close(Direction::Up);
    assert_eq!(timeout(PATIENCE, ends.far.read(&mut [0])).await.unwrap().unwrap(), 0);
    ends.near.write_all(b"into nowhere").await.unwrap();
    ends.far.write_all(b"still there").await.unwrap();
    timeout(PATIENCE, ends.near.read_exact(&mut [0; 11])).await.unwrap().unwrap();
}

#[tokio::test]
async fn slices_arrive_one_by_one() {
    let mut ends = Ends::new().await;
    ends.up(Toxics { slice: 1, bytes_per_second: 100, ..Toxics::default() });
    ends.near.write_all(b"abcdef").await.unwrap();
    let mut buffer = [0; 16];
    let mut most = 0;
    let mut arrived = 0;
    while arrived < 6 {
        let count = timeout(PATIENCE, ends.far.read(&mut buffer)).await.unwrap().unwrap();
        most = most.max(count);
        arrived += count;
    }
    assert!(most < 6, "{most} at once");
    ends.up(Toxics { slice: 3, ..Toxics::default() });
    assert_eq!(ends.passes(&[5; 10_000]).await, [5; 10_000]);
}

#[tokio::test]
async fn corruption_flips_some_bits_and_no_length() {
    let mut ends = Ends::new().await;
    ends.up(Toxics { corrupt_one_in: 100, ..Toxics::default() });
    let arrived = ends.passes(&[0; 10_000]).await;
    let flipped: u32 = arrived.iter().map(|byte| byte.count_ones()).sum();
    assert!((20..1000).contains(&flipped), "{flipped} bits");
    ends.proxy.heal();
    assert_eq!(ends.passes(&[0; 1000]).await, [0; 1000]);
}

#[tokio::test]
async fn a_limit_lets_so_many_bytes_pass_and_then_resets() {
    let mut ends = Ends::new().await;
    ends.passes(b"these do not count").await;
    ends.up(Toxics { limit_bytes: Some(4), ..Toxics::default() });
    // The limit counts from when the connection hears of it, which the next bytes wait for.
    ends.near.write_all(b"12345678").await.unwrap();
    let mut arrived = Vec::new();
    let read = timeout(PATIENCE, ends.far.read_to_end(&mut arrived)).await.unwrap();
    assert!(read.is_err(), "reset");
    assert_eq!(arrived, b"1234");
}

#[tokio::test]
async fn the_first_upstream_that_takes_a_connection_gets_it() {
    let mut ends = Ends::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    ends.proxy.redirect(vec![nobody, ends.listener.local_addr().unwrap()]);
    ends.near = TcpStream::connect(ends.proxy.address()).await.unwrap();
    (ends.far, _) = timeout(PATIENCE, ends.listener.accept()).await.unwrap().unwrap();
    ends.passes(b"there").await;
}
