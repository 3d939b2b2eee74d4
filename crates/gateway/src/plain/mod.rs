//! OpAMP over plain HTTP: one message in a request, its answer in the response. Nothing is kept
//! between requests, and the TCP connection means nothing.

mod body;
mod coding;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bus::v1::{Report, Transport};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use opamp::InstanceUid;
use tracing::Instrument as _;

use crate::admission::Reason;
use crate::ask::{Answer, Patience, passed, token_name};
use crate::connection::Entry;
use crate::incoming::{Incoming, Refused};
use crate::reply;
use crate::shared::Shared;
use crate::trace::NOBODY;
use crate::transport::PROTOBUF;

/// Header that may repeat the uid for those who route by it.
const INSTANCE_UID: &str = "opamp-instance-uid";

/// Answers one posted message.
pub(crate) async fn exchange(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    entry: &Entry,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let coded = match coding::of_request(&parts.headers) {
        Ok(coded) => coded,
        Err(text) => return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text),
    };
    if shared.admission.polls.projected_wait(shared.uptime_ms()) > turn_patience(shared) {
        Reason::Wait.count();
        let response = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many agents wait");
        return later(shared, response);
    }
    let gzip = coding::allows_gzip(parts.headers.get_all(ACCEPT_ENCODING));
    let (bytes, charge) = match body::read(shared, &parts.headers, body, coded).await {
        Ok(read) => read,
        Err(error) => return unreadable(shared, &error),
    };
    let incoming = match Incoming::read(bytes.clone(), charge, &shared.limits) {
        Ok(incoming) => incoming,
        Err(refused) => return refuse(shared, &parts.headers, refused, &bytes, gzip).await,
    };
    if let Some(Err(refused)) = entry.pass.as_ref().map(|pass| pass.check(&incoming)) {
        return refuse(shared, &parts.headers, refused, &bytes, gzip).await;
    }
    shared.note_in(incoming.uid, Transport::Http, &incoming.body);
    count_mismatch(&parts.headers, &incoming);
    if let Err(wait) = shared.guard.poll(&incoming.uid, shared.uptime_ms()) {
        Reason::Flood.count();
        let wait = wait.max(shared.retry_after());
        let reply = shared.unavailable_for(incoming.reply_uid(), wait);
        let answer = Manner { status: StatusCode::SERVICE_UNAVAILABLE, wait: Some(wait), gzip };
        return answer.respond(shared, &incoming.uid, reply).await;
    }
    let span = tracing::info_span!("report", agent = %incoming.uid, gateway = %shared.id);
    let answer = ask(shared, peer, entry, &incoming).instrument(span).await;
    match answer {
        Some(message) => {
            let message = shared.within_send_limit(&incoming.uid, message);
            let answer = Manner { status: StatusCode::OK, wait: None, gzip };
            answer.respond(shared, &incoming.uid, message).await
        }
        None => {
            let reply = shared.unavailable(incoming.reply_uid());
            let wait = Some(shared.retry_after());
            let answer = Manner { status: StatusCode::SERVICE_UNAVAILABLE, wait, gzip };
            answer.respond(shared, &incoming.uid, reply).await
        }
    }
}

/// An answer in words.
pub(crate) fn refusal(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Tells the agent when to come back.
pub(crate) fn later(shared: &Shared, response: Response) -> Response {
    after(shared.retry_after(), response)
}

fn after(wait: Duration, mut response: Response) -> Response {
    response.headers_mut().insert(RETRY_AFTER, retry_after_seconds(wait).into());
    response
}

/// Rounded up: never sooner than meant.
fn retry_after_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)
}

async fn ask(
    shared: &Shared,
    peer: SocketAddr,
    entry: &Entry,
    incoming: &Incoming,
) -> Option<Bytes> {
    metrics::counter!("muster_gateway_polls_total").increment(1);
    let passed = passed(entry.pass.as_deref(), &incoming.uid);
    let report = Report {
        gateway_id: shared.id.to_string(),
        message: incoming.body.clone(),
        transport: Transport::Http.into(),
        remote_address: peer.to_string(),
        token_name: token_name(entry.holder.as_deref()),
        enrollment_token: passed.enrollment_token,
        credential_serial: passed.credential_serial,
        credential_uid: passed.credential_uid.into(),
        ..Default::default()
    };
    let limit = shared.limits.poll_patience;
    let patience = Patience { turn: turn_patience(shared), attempt: limit, total: limit };
    match shared.ask(&report, patience).await {
        Answer::Accepted(accepted) => {
            Some(reply::announcing(accepted.message, &shared.announcement))
        }
        Answer::Stale | Answer::Unavailable => None,
    }
}

/// How long a poll waits for its turn: half of all its patience.
fn turn_patience(shared: &Shared) -> Duration {
    shared.limits.poll_patience / 2
}

fn unreadable(shared: &Shared, error: &body::Unreadable) -> Response {
    let status = match error {
        body::Unreadable::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        body::Unreadable::Corrupt | body::Unreadable::Broken => StatusCode::BAD_REQUEST,
        body::Unreadable::TooSlow => StatusCode::REQUEST_TIMEOUT,
        body::Unreadable::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
    };
    let response = refusal(status, error.text());
    match error {
        body::Unreadable::Exhausted => {
            Reason::Memory.count();
            later(shared, response)
        }
        _ => response,
    }
}

/// What cannot be decoded is the transport's business, what makes no sense is OpAMP's.
async fn refuse(
    shared: &Shared,
    headers: &HeaderMap,
    mut refused: Refused,
    bytes: &[u8],
    gzip: bool,
) -> Response {
    metrics::counter!("muster_gateway_malformed_total").increment(1);
    if refused.uid.is_empty()
        && let Some(uid) = header_uid(headers)
    {
        refused.uid = uid.as_bytes().to_vec();
    }
    let status = match refused.undecodable {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::OK,
    };
    let uid = InstanceUid::try_from(&refused.uid[..]).unwrap_or(NOBODY);
    shared.note_in(uid, Transport::Http, bytes);
    let reply = reply::bad_request(refused.uid, refused.text);
    Manner { status, wait: None, gzip }.respond(shared, &uid, reply).await
}

/// How a message is answered.
struct Manner {
    status: StatusCode,
    /// How long the agent is to stay away.
    wait: Option<Duration>,
    gzip: bool,
}

impl Manner {
    async fn respond(self, shared: &Shared, uid: &InstanceUid, message: Bytes) -> Response {
        let Self { status, wait, gzip } = self;
        let retry_after_seconds = wait.map_or(0, retry_after_seconds);
        shared.note_response(*uid, status.as_u16(), retry_after_seconds, &message);
        let (body, gzipped) = match gzip {
            true => (coding::gzip(message).await, true),
            false => (message, false),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if gzipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        match wait {
            Some(wait) => after(wait, response),
            None => response,
        }
    }
}

fn header_uid(headers: &HeaderMap) -> Option<InstanceUid> {
    headers.get(INSTANCE_UID)?.to_str().ok()?.parse().ok()
}

/// The body's uid is the one that counts.
fn count_mismatch(headers: &HeaderMap, incoming: &Incoming) {
    if headers.contains_key(INSTANCE_UID) && header_uid(headers) != Some(incoming.uid) {
        metrics::counter!("muster_gateway_uid_mismatch_total").increment(1);
        tracing::debug!(agent = %incoming.uid, "opamp-instance-uid header names another agent");
    }
}
