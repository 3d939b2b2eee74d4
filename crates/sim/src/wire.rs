//! A connection between an agent and a gateway, in memory: bytes take time, it breaks, falls
//! silent, or stands still with its gateway.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway::{Limits, Listener};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf,
    WriteHalf,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::dice::Dice;
use crate::limits::WIRE_BYTES;
use crate::process::Process;
use crate::world::World;

/// A gateway's port.
#[derive(Debug)]
pub(crate) struct Port(pub(crate) mpsc::Receiver<(Tapped, SocketAddr)>);

impl Listener for Port {
    type Io = Tapped;

    async fn accept(&mut self, _: &Limits) -> io::Result<(Tapped, SocketAddr)> {
        match self.0.recv().await {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }
}

/// What can be done to a connection from outside.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    broken: AtomicBool,
    silent: AtomicBool,
    changed: Notify,
}

impl Wire {
    /// Both ends see it end.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// The agent of a silent wire has given it up.
    pub(crate) fn hang_up(&self) {
        if self.silent.load(Ordering::Relaxed) {
            self.break_off();
        }
    }

    /// Nothing gets through any more, and nobody is told.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Something was done to it that its gateway has nothing to do with.
    pub(crate) fn is_faulted(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.silent.load(Ordering::Relaxed)
    }

    async fn broken(&self) {
        loop {
            let changed = self.changed.notified();
            if self.broken.load(Ordering::Relaxed) {
                return;
            }
            changed.await;
        }
    }
}

/// Sees the bytes that a gateway flushed, whatever becomes of them.
pub(crate) type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// A gateway's end of a connection.
pub(crate) struct Tapped {
    stream: DuplexStream,
    tap: Tap,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        (self.tap)(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Joins two ends.
pub(crate) struct Join {
    pub(crate) world: Arc<World>,
    pub(crate) gateway: Arc<Process>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) dice: Dice,
}

impl Join {
    /// The two ends of a new connection: the agent's and the gateway's.
    pub(crate) fn ends(self, tap: Tap) -> (DuplexStream, Tapped) {
        let (agent_end, agent_inner) = tokio::io::duplex(WIRE_BYTES);
        let (gateway_end, gateway_inner) = tokio::io::duplex(WIRE_BYTES);
        let world = self.world.clone();
        world.tasks.spawn(async move {
            let (from_agent, to_agent) = tokio::io::split(agent_inner);
            let (from_gateway, to_gateway) = tokio::io::split(gateway_inner);
            let up = self.pump(from_agent, to_gateway);
            let down = self.pump(from_gateway, to_agent);
            tokio::select! {
                biased;
                () = self.wire.broken() => {}
                () = self.gateway.death() => {}
                ((), ()) = async { tokio::join!(biased; up, down) } => {}
            }
        });
        (agent_end, Tapped { stream: gateway_end, tap })
    }

    async fn pump(&self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            let most = self.world.sky.now().delay_ms.max(1) * 1_000;
            sleep(Duration::from_micros(self.dice.between(100, most))).await;
            self.gateway.pass().await;
            if self.wire.silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                // The other end is gone or will see the end.
                let _ = to.shutdown().await;
                return;
            }
        }
    }
}
