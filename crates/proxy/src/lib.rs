//! A TCP proxy in user space that does to connections what networks do: delays, starves, cuts,
//! garbles them, or swallows what is sent. What it does can change at any time, and applies to
//! the connections that live as well.
//!
//! It knows nothing of what is spoken through it, and no product crate depends on it.

mod connection;
mod limits;
mod pump;
mod toxic;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::limits::CONNECTIONS_MAX;
pub use toxic::{Direction, Toxics};

/// A proxy that listens for as long as this value lives; its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
    _accepting: JoinSet<()>,
}

/// What is done to connections, as of now.
#[derive(Debug, Clone)]
struct State {
    /// Where connections go: to the first of these that takes them.
    upstreams: Vec<SocketAddr>,
    /// Connections are reset as soon as they are made.
    refuses: bool,
    toxics: [Toxics; 2],
    past: Birth,
}

/// What had been done when a connection was made: more than that is done to it.
#[derive(Debug, Clone, Copy, Default)]
struct Birth {
    resets: u64,
    half_closes: [u64; 2],
}

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    accepted: AtomicU64,
    bytes: [AtomicU64; 2],
}

impl Proxy {
    /// Listens on a port of its own choice.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), vec![upstream]).await
    }

    /// Listens there. A connection goes to the first upstream that takes it.
    pub async fn listen(at: SocketAddr, upstreams: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State {
            upstreams,
            refuses: false,
            toxics: [Toxics::default(); 2],
            past: Birth::default(),
        });
        let counts = Arc::<Counts>::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, state.clone(), counts.clone()));
        Ok(Self { address, state, counts, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where new connections go from now on.
    pub fn redirect(&self, upstreams: Vec<SocketAddr>) {
        self.state.send_modify(|state| state.upstreams = upstreams);
    }

    /// What is done from now on to what goes in a direction, on every connection.
    pub fn set(&self, direction: Direction, toxics: Toxics) {
        self.state.send_modify(|state| state.toxics[direction as usize] = toxics);
    }

    /// Whether new connections are reset at once.
    pub fn refuse(&self, refuses: bool) {
        self.state.send_modify(|state| state.refuses = refuses);
    }

    /// Resets every connection that lives.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.past.resets += 1);
    }

    /// Ends a direction of every connection that lives, as if its sender had no more to say. What
    /// it says from then on is swallowed.
    pub fn half_close(&self, direction: Direction) {
        self.state.send_modify(|state| state.past.half_closes[direction as usize] += 1);
    }

    /// Does nothing to anybody any more. What was swallowed up to now goes on its way, as it would
    /// when a network is mended.
    pub fn heal(&self) {
        self.state.send_modify(|state| {
            state.toxics = [Toxics::default(); 2];
            state.refuses = false;
        });
    }

    /// Connections that live.
    pub fn live(&self) -> usize {
        self.counts.live.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Bytes passed on in a direction so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counts.bytes[direction as usize].load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, state: watch::Sender<State>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, most likely: what lives goes on, and gives some back.
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            continue;
        };
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        let (refuses, birth) = {
            let state = state.borrow();
            (state.refuses, state.past)
        };
        if refuses || connections.len() >= CONNECTIONS_MAX {
            let _ = stream.set_zero_linger();
            continue;
        }
        connections.spawn(connection::run(stream, state.subscribe(), birth, counts.clone()));
    }
}
