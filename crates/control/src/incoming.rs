//! Operators' connections: through the door and on to gRPC. Handshakes wait beside each other, so
//! that a peer that says nothing keeps nobody else out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;
use trust::Door;

use crate::Limits;

/// Pause when the system refuses a connection, for instance for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that is in.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: trust::Stream,
    name: CertificateName,
    /// Its share of the connections there may be.
    _room: OwnedSemaphorePermit,
}

/// The name in the certificate that a connection came in by; goes with each of its requests.
#[derive(Debug, Clone)]
pub(crate) struct CertificateName(pub(crate) Option<Arc<str>>);

/// Accepts connections until told to stop.
pub(crate) fn accept(
    listener: TcpListener,
    door: Door,
    limits: &Limits,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Peer>> {
    let (ready, peers) = mpsc::channel(1);
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let (patience, handshakes, stopped) = (limits.handshake_timeout, tasks.clone(), stop.clone());
    let accepting = async move {
        loop {
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(room) = room.clone().try_acquire_owned() else {
                metrics::counter!("muster_control_connections_refused_total").increment(1);
                continue;
            };
            let (door, ready) = (door.clone(), ready.clone());
            let come_in = async move {
                let failed = match timeout(patience, come_in(&door, stream, room)).await {
                    // Nobody takes it any more if the server stops.
                    Ok(Ok(peer)) => return drop(timeout(patience, ready.send(Ok(peer))).await),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "took too long".to_owned(),
                };
                metrics::counter!("muster_control_handshakes_failed_total").increment(1);
                tracing::debug!(failed, "TLS handshake failed");
            };
            handshakes.spawn(stopped.clone().run_until_cancelled_owned(come_in));
        }
    };
    tasks.spawn(stop.run_until_cancelled_owned(accepting));
    ReceiverStream::new(peers)
}

async fn come_in(door: &Door, stream: TcpStream, room: OwnedSemaphorePermit) -> io::Result<Peer> {
    stream.set_nodelay(true)?;
    let stream = door.open(stream).await?;
    let name = CertificateName(stream.certificate_name().map(Arc::from));
    Ok(Peer { stream, name, _room: room })
}

impl Connected for Peer {
    type ConnectInfo = CertificateName;

    fn connect_info(&self) -> CertificateName {
        self.name.clone()
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
