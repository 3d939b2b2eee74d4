//! What workers and control ask of this gateway: deliver, probe, supersede, shed.

use std::sync::Arc;

use bus::v1::deliver::Target;
use bus::v1::delivered::Outcome;
use bus::v1::gateway_request::Request;
use bus::v1::tap_reply::fact::Kind as Fact;
use bus::v1::{
    Deliver, Delivered, DoubtReply, GatewayReply, GatewayRequest, Ping, PingReply, Probe,
    ProbeReply, Supersede, SupersedeReply, gateway_reply,
};
use bus::{Inbox, Received};
use bytes::Bytes;
use opamp::InstanceUid;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use crate::command;
use crate::connection::Connection;
use crate::doubts;
use crate::index::Holder;
use crate::reply;
use crate::shared::Shared;
use crate::shed;
use crate::trace;
use crate::ws::{Decisions, Frame, Kind, NotTaken, Stub};

/// Answers requests until the bus is gone for good.
pub(crate) async fn run(shared: Arc<Shared>, mut inbox: Inbox<GatewayRequest>) {
    let working = Arc::new(Semaphore::new(shared.limits.inbox_max));
    while let Some(received) = inbox.next().await {
        shared.heard_bus();
        let permit = working.clone().acquire_owned().await;
        let handler = shared.clone();
        shared.spawn(async move {
            let span = tracing::info_span!("gateway_request", gateway = %handler.id);
            received.parent(&span);
            handle(&handler, received).instrument(span).await;
            drop(permit);
        });
    }
}

async fn handle(shared: &Arc<Shared>, received: Received<GatewayRequest>) {
    if received.expired() {
        return;
    }
    let (request, responder) = received.split();
    let reply = match request.request {
        Some(Request::Deliver(ask)) => gateway_reply::Reply::Delivered(deliver(shared, &ask).await),
        Some(Request::Probe(ask)) => {
            let alive = probe(shared, &ask).await;
            gateway_reply::Reply::Probe(ProbeReply { alive })
        }
        Some(Request::Supersede(ask)) => {
            superseded(shared, &ask);
            gateway_reply::Reply::Supersede(SupersedeReply {})
        }
        Some(Request::Ping(Ping {})) => gateway_reply::Reply::Ping(PingReply {}),
        Some(Request::Doubt(ask)) => {
            doubts::reaped(shared, &ask);
            gateway_reply::Reply::Doubt(DoubtReply {})
        }
        Some(Request::Tap(ask)) => gateway_reply::Reply::Tap(trace::answer(shared, &ask).await),
        Some(Request::Shed(ask)) => gateway_reply::Reply::Shed(shed::begin(shared, &ask)),
        Some(Request::Command(ask)) => {
            gateway_reply::Reply::Commanded(command::tell(shared, &ask).await)
        }
        // A newer asker's wish; it learns by silence that this gateway cannot fulfil it.
        None => return,
    };
    let reply = Some(reply);
    responder.send(&GatewayReply { reply }).await;
}

/// Queues one body for many agents and waits until their sockets have taken it.
async fn deliver(shared: &Shared, ask: &Deliver) -> Delivered {
    let Some(message) = shared.opener.open(&ask.message, &ask.sealed_offers) else {
        let outcomes = vec![Outcome::Unspecified.into(); ask.targets.len()];
        return Delivered { outcomes };
    };
    let bytes = Frame::message_bytes(&message, true);
    if bytes > shared.limits.send_bytes_max {
        for target in &ask.targets {
            if let Ok(uid) = InstanceUid::try_from(&target.instance_uid[..]) {
                shared.discarded(&uid, bytes);
            }
        }
        let outcomes = vec![Outcome::Unspecified.into(); ask.targets.len()];
        return Delivered { outcomes };
    }
    let queue = |target| queue(shared, target, &message);
    let queued: Vec<Result<Queued, Outcome>> = ask.targets.iter().map(queue).collect();
    let deadline = Instant::now() + shared.limits.deliver_deadline;
    let mut outcomes = Vec::with_capacity(queued.len());
    for queued in queued {
        let outcome = match queued {
            Ok(queued) => settle(shared, queued, deadline).await,
            Err(outcome) => outcome,
        };
        outcomes.push(outcome.into());
    }
    Delivered { outcomes }
}

/// A message on its way to an agent.
struct Queued {
    stub: Stub,
    connection: Arc<Connection>,
    /// Another may take its place, so it may wait where it is.
    may_wait: bool,
}

fn queue(shared: &Shared, target: &Target, body: &Bytes) -> Result<Queued, Outcome> {
    let uid = &target.instance_uid[..];
    let uid = InstanceUid::try_from(uid).map_err(|_| Outcome::NotOwner)?;
    let holder = shared.index.get(&uid).filter(|holder| holder.epoch == target.epoch);
    let connection = holder.ok_or(Outcome::NotOwner)?.connection;
    let kind = reply::pushed_kind(body, uid);
    let decisions =
        Decisions([target.decision, target.settings_decision, target.packages_decision]);
    let (frame, stub) = Frame::addressed(&uid, body.clone(), kind).with_ticket();
    let room = shared.limits.outbox_bytes_max;
    match connection.offer(&uid, decisions, frame, room) {
        Ok(()) => Ok(Queued { stub, connection, may_wait: kind != Kind::Unique }),
        Err(NotTaken::Full) => Err(Outcome::Busy),
        Err(NotTaken::Closing) => Err(Outcome::NotOwner),
        Err(NotTaken::Outdated) => {
            metrics::counter!("muster_gateway_offers_outdated_total").increment(1);
            Err(Outcome::Superseded)
        }
    }
}

/// Sent means flushed. Busy means surely not sent: the frame was taken back. An agent that does not
/// read keeps nobody waiting: its offer stays where it is. Where none of that is sure, its fate is
/// unknown, and so is what is said.
async fn settle(shared: &Shared, mut queued: Queued, deadline: Instant) -> Outcome {
    let grace = shared.limits.flush_grace;
    let vitals = &queued.connection.vitals;
    let stub = &mut queued.stub;
    loop {
        if queued.may_wait && vitals.is_behind(shared.uptime_ms(), grace) {
            return if stub.is_superseded() { Outcome::Superseded } else { Outcome::Queued };
        }
        let look = deadline.min(Instant::now() + grace);
        match timeout_at(look, &mut stub.flushed).await {
            Ok(Ok(())) => return Outcome::Sent,
            Err(_) if look < deadline => {}
            Ok(Err(_)) | Err(_) if stub.withdraw() => return Outcome::Busy,
            Ok(Err(_)) | Err(_) if stub.is_superseded() => return Outcome::Superseded,
            Ok(Err(_)) | Err(_) => return Outcome::Unspecified,
        }
    }
}

/// Whether a session's agent is there. One whose session has just ended is not, and the asker is
/// told so once the record shows it.
async fn probe(shared: &Shared, ask: &Probe) -> bool {
    let Ok(uid) = InstanceUid::try_from(&ask.instance_uid[..]) else {
        return false;
    };
    let deadline = Instant::now() + shared.limits.probe_deadline;
    let holder = shared.index.get(&uid).filter(|holder| holder.epoch == ask.epoch);
    if let Some(holder) = holder
        && answers_ping(shared, &holder.connection).await
    {
        return true;
    }
    // Untold for that long, it may cost a full report.
    let _ = timeout_at(deadline, shared.closes.until_told(uid, ask.epoch)).await;
    false
}

async fn answers_ping(shared: &Shared, connection: &Connection) -> bool {
    let pong = connection.probe(shared.next_number());
    matches!(timeout(shared.limits.probe_deadline, pong).await, Ok(Ok(())))
}

fn superseded(shared: &Arc<Shared>, ask: &Supersede) {
    let Ok(uid) = InstanceUid::try_from(&ask.instance_uid[..]) else {
        return;
    };
    let epoch = ask.epoch;
    let holder = shared.index.get(&uid);
    if let Some(holder) = holder.filter(|holder| holder.epoch < epoch) {
        let fresh = shared.clone();
        shared.spawn(async move { supersede(&fresh, &holder, &uid, epoch).await });
    }
}

/// Drops a session whose agent another one holds since `epoch`. Nobody needs to be told. A socket
/// that then holds no agent and does not answer is a zombie.
pub(crate) async fn supersede(shared: &Shared, holder: &Holder, uid: &InstanceUid, epoch: u64) {
    shared.index.release(uid, holder.epoch);
    shared.note_fact(*uid, Fact::Superseded, epoch, 0);
    let connection = &holder.connection;
    let others = connection.supersede(uid, epoch, shared.new_session_id());
    if !others && !answers_ping(shared, connection).await && !connection.holds_any() {
        tracing::debug!(peer = %connection.peer, agent = %uid, "connection cut: superseded");
        connection.cut();
    }
}
