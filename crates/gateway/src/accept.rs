//! From a TCP connection through the door to one of the two transports.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Router, routing};
use http::header::{
    ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_VERSION,
    UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use hyper::body::Incoming as RequestBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::addresses::Visit;
use crate::admission::Reason;
use crate::connection::{Connection, Entry};
use crate::plain::{self, refusal};
use crate::roll::Refused;
use crate::shared::Shared;
use crate::transport::{self, Choice, WEBSOCKET_VERSION};
use crate::ws::Socket;
use crate::{Limits, expel};

/// A request's headers, and what hyper may buffer of it.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// Pause when the system refuses a connection, for instance for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where agents' connections come from: a port, or what stands for one.
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next one, and says whose it is.
    fn accept(
        &mut self,
        limits: &Limits,
    ) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self, limits: &Limits) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        tune(&stream, limits);
        Ok((stream, peer))
    }
}

/// Where a request comes from.
#[derive(Debug, Clone)]
struct Caller {
    peer: SocketAddr,
    /// Held for as long as the connection lasts.
    visit: Option<Arc<Visit>>,
}

/// Accepts until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, mut listener: impl Listener, stop: CancellationToken) {
    let router = Router::new().route(&shared.path, routing::any(entry)).with_state(shared.clone());
    let room = Arc::new(Semaphore::new(shared.limits.http_connections_max));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept(&shared.limits) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                starve(&shared, &error).await;
                continue;
            }
        };
        if shared.starved.swap(false, Ordering::Relaxed) {
            tracing::info!("connections get in again");
        }
        let Ok(permit) = room.clone().try_acquire_owned() else {
            Reason::Connections.count();
            continue;
        };
        let Ok(visit) = shared.addresses.visit(peer.ip()) else {
            Reason::Address.count();
            continue;
        };
        let (within, router, stop) = (shared.clone(), router.clone(), stop.clone());
        shared.spawn(async move {
            if let Some(stream) = come_in(&within, stream, peer).await {
                serve(within, router, stream, Caller { peer, visit }, stop).await;
            }
            drop(permit);
        });
    }
}

/// Waits before the next try to accept: files are given back by and by. Until one gets in, others
/// are better sent elsewhere.
async fn starve(shared: &Shared, error: &io::Error) {
    metrics::counter!("muster_gateway_accepts_failed_total").increment(1);
    if is_for_want_of_files(error) && !shared.starved.swap(true, Ordering::Relaxed) {
        tracing::warn!(%error, "no connection gets in");
    }
    sleep(ACCEPT_PAUSE).await;
}

/// Other errors are about the one connection that was to be accepted.
fn is_for_want_of_files(error: &io::Error) -> bool {
    /// `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM` of Linux.
    const EXHAUSTED: [i32; 4] = [24, 23, 105, 12];
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

/// What cannot be set stays as the system has it.
fn tune(stream: &TcpStream, limits: &Limits) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(limits.unsent_bytes_max);
}

/// Lets a connection through the door, if it does not take for ever.
async fn come_in<IO>(shared: &Shared, stream: IO, peer: SocketAddr) -> Option<trust::Stream<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let opening = timeout(shared.limits.handshake_deadline, shared.door.open(stream));
    let failed = match opening.await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "took too long".to_owned(),
    };
    metrics::counter!("muster_gateway_handshakes_failed_total").increment(1);
    tracing::debug!(%peer, failed, "TLS handshake failed");
    None
}

/// Speaks HTTP on one connection until it ends or becomes a WebSocket.
async fn serve(
    shared: Arc<Shared>,
    router: Router,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    stop: CancellationToken,
) {
    let peer = caller.peer;
    let asked = Arc::new(AtomicBool::new(false));
    let asks = asked.clone();
    let service = service_fn(move |request: Request<RequestBody>| {
        asks.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller.clone());
        let router = router.clone();
        async move { router.oneshot(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.header_deadline)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let silent = async {
        sleep(shared.limits.handshake_deadline).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = silent => {
            metrics::counter!("muster_gateway_handshakes_failed_total").increment(1);
            return tracing::debug!(%peer, "no request in time");
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "http connection ended");
    }
}

async fn entry(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Response {
    // Before the request is looked at any further, its body above all.
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let entry = match admitted(&shared, authorization) {
        Ok(entry) => entry,
        Err(Refused::Stranger(refused)) => return stranger(caller.peer, refused),
        Err(Refused::Later) => {
            Reason::Roll.count();
            let text = "who may come in is not known now";
            return plain::later(&shared, refusal(StatusCode::SERVICE_UNAVAILABLE, text));
        }
    };
    match transport::choose(request.method(), request.version(), request.headers()) {
        Choice::Exchange => plain::exchange(&shared, caller.peer, &entry, request).await,
        Choice::Upgrade { accept_key } => upgrade(&shared, caller, entry, request, &accept_key),
        Choice::Refuse(status, text) => {
            let mut response = refusal(status, text);
            let mut add = |name: HeaderName, value| {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
            };
            if status == StatusCode::METHOD_NOT_ALLOWED {
                add(ALLOW, "GET, POST");
            }
            if status == StatusCode::UPGRADE_REQUIRED {
                add(UPGRADE, "websocket");
                add(CONNECTION, "upgrade");
                add(SEC_WEBSOCKET_VERSION, WEBSOCKET_VERSION);
            }
            response
        }
    }
}

/// Who shows this: the door's tokens count beside the roll.
fn admitted(shared: &Shared, authorization: Option<&[u8]>) -> Result<Entry, Refused> {
    let by_door = shared.door.admit(authorization);
    match (&shared.roll, by_door) {
        (None, by_door) => {
            let holder = by_door.map_err(Refused::Stranger)?;
            Ok(Entry { holder, pass: None })
        }
        (Some(_), Ok(Some(holder))) => Ok(Entry { holder: Some(holder), pass: None }),
        (Some(roll), Ok(None) | Err(_)) => {
            let pass = roll.admit(shared, authorization)?;
            Ok(Entry { holder: None, pass: Some(Box::new(pass)) })
        }
    }
}

/// Turns somebody away who shows no good token.
fn stranger(peer: SocketAddr, refused: trust::Refused) -> Response {
    metrics::counter!("muster_gateway_unauthorized_total").increment(1);
    tracing::debug!(%peer, %refused, "turned away");
    let mut response = Response::new(Body::from(refused.to_string()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Admits a WebSocket, or says when to come back: an agent that is let in and then closed comes
/// back at once.
fn upgrade(
    shared: &Arc<Shared>,
    caller: Caller,
    entry: Entry,
    mut request: Request<Body>,
    accept_key: &str,
) -> Response {
    if let Err(reason) = admit(shared) {
        reason.count();
        let response = refusal(StatusCode::SERVICE_UNAVAILABLE, "no room for a connection now");
        return plain::later(shared, response);
    }
    let number = shared.next_number();
    let connection =
        Connection::new(number, caller.peer, entry, shared.uptime_ms(), &shared.limits);
    let connection = Arc::new(connection);
    shared.connections.insert(connection.clone());
    // Its token may have been taken out since it was looked at.
    expel::expelled_from(shared, &connection);
    let upgrade = hyper::upgrade::on(&mut request);
    let task = become_socket(shared.clone(), connection, caller.visit, upgrade);
    shared.tasks.spawn(task);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let accept_key = HeaderValue::from_str(accept_key).expect("base64 is a header value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key);
    response
}

/// Whether a WebSocket may begin now.
fn admit(shared: &Shared) -> Result<(), Reason> {
    let (now, limits) = (shared.uptime_ms(), &shared.limits);
    if !shared.ready() {
        return Err(Reason::NotReady);
    }
    if shared.connections.len() >= limits.connections_max {
        return Err(Reason::Connections);
    }
    // What is left then is for the workers.
    if shared.admission.openings.projected_wait(now) > limits.report_turn_deadline {
        return Err(Reason::Wait);
    }
    if !shared.admission.shakes_hands(now) {
        return Err(Reason::Handshakes);
    }
    Ok(())
}

async fn become_socket(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    _visit: Option<Arc<Visit>>,
    upgrade: hyper::upgrade::OnUpgrade,
) {
    match timeout(shared.limits.header_deadline, upgrade).await {
        Ok(Ok(upgraded)) => {
            let io = TokioIo::new(upgraded);
            Socket::new(io, shared, connection).run().await;
        }
        Ok(Err(_)) | Err(_) => shared.connections.remove(connection.number),
    }
}
