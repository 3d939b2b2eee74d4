//! The life of one connection: to its upstream, then both directions until both have ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::limits::CONNECT_TIMEOUT;
use crate::pump::{Cut, pump};
use crate::{Birth, Counts, Direction, State};

pub(crate) async fn run(
    mut near: TcpStream,
    mut state: watch::Receiver<State>,
    birth: Birth,
    counts: Arc<Counts>,
) {
    counts.live.fetch_add(1, Ordering::Relaxed);
    let _alive = Alive(&counts);
    let Some(mut far) = dial(&mut state, &near).await else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ended = {
        let (one, other) = (state.clone(), state);
        let (near_read, mut near_write) = near.split();
        let (far_read, mut far_write) = far.split();
        let up = pump(&near_read, &mut far_write, one, &birth, Direction::Up, &counts);
        let down = pump(&far_read, &mut near_write, other, &birth, Direction::Down, &counts);
        tokio::try_join!(up, down)
    };
    if matches!(ended, Err(Cut)) {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// The first upstream that takes it. While nothing gets through nobody is asked; who connected
/// waits, and may give up.
async fn dial(state: &mut watch::Receiver<State>, near: &TcpStream) -> Option<TcpStream> {
    loop {
        let (upstreams, swallowed) = {
            let state = state.borrow_and_update();
            (state.upstreams.clone(), state.toxics.iter().any(|toxics| toxics.blackhole))
        };
        if !swallowed {
            return first(&upstreams).await;
        }
        tokio::select! {
            biased;
            changed = state.changed() => changed.ok()?,
            () = gone(near) => return None,
        }
    }
}

async fn first(upstreams: &[SocketAddr]) -> Option<TcpStream> {
    for upstream in upstreams {
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(upstream)).await {
            return Some(stream);
        }
    }
    None
}

/// Who connected has hung up.
async fn gone(near: &TcpStream) {
    let mut byte = [0];
    while near.peek(&mut byte).await.is_ok_and(|count| count > 0) {
        // It has said something, which stays there: its end cannot be seen behind it.
        std::future::pending::<()>().await;
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Alive<'a>(&'a Counts);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}
