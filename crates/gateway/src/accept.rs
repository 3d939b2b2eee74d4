//! From a TCP connection to one of the two transports. Generic over the stream, so that TLS can
//! come between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Router, routing};
use http::header::{ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use hyper::body::Incoming as RequestBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::connection::Connection;
use crate::plain::{self, refusal};
use crate::shared::Shared;
use crate::transport::{self, Choice, WEBSOCKET_VERSION};
use crate::ws::Socket;

/// A request's headers, and what hyper may buffer of it.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// Pause when the system refuses a connection, for instance for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let router = Router::new().route(&shared.path, routing::any(entry)).with_state(shared.clone());
    let room = Arc::new(Semaphore::new(shared.limits.connections_max));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            metrics::counter!("muster_gateway_refused_total").increment(1);
            continue;
        };
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let serving = serve(shared.clone(), router.clone(), stream, peer, stop.clone());
        shared.spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}

/// Speaks HTTP on one connection until it ends or becomes a WebSocket.
async fn serve<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    shared: Arc<Shared>,
    router: Router,
    io: IO,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: Request<RequestBody>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
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
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "http connection ended");
    }
}

async fn entry(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request<Body>,
) -> Response {
    match transport::choose(request.method(), request.version(), request.headers()) {
        Choice::Exchange => plain::exchange(&shared, peer, request).await,
        Choice::Upgrade { accept_key } => upgrade(&shared, peer, request, &accept_key),
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

/// Admits a WebSocket, or says when to come back: an agent that is let in and then closed comes
/// back at once.
fn upgrade(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    mut request: Request<Body>,
    accept_key: &str,
) -> Response {
    if !shared.ready() || shared.connections.len() >= shared.limits.connections_max {
        metrics::counter!("muster_gateway_refused_total").increment(1);
        let response = refusal(StatusCode::SERVICE_UNAVAILABLE, "no room for a connection now");
        return plain::later(shared, response);
    }
    let number = shared.next_number();
    let connection = Arc::new(Connection::new(number, peer, shared.uptime_ms()));
    shared.connections.insert(connection.clone());
    let upgrade = hyper::upgrade::on(&mut request);
    let task = become_socket(shared.clone(), connection, upgrade);
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

async fn become_socket(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
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
