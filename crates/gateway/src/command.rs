//! Commands to sessions: told once, in the order in which they come, and known by what became of
//! them. Nothing newer takes the place of one, and nothing else is in its message.

use std::sync::Arc;
use std::time::Duration;

use bus::v1::command::{Action, Target};
use bus::v1::commanded::Outcome;
use bus::v1::{Command, Commanded};
use bytes::Bytes;
use futures_util::future::join_all;
use model::Timestamp;
use opamp::InstanceUid;
use opamp::ws::close_code;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connection::Connection;
use crate::reply;
use crate::session::Session;
use crate::shared::Shared;
use crate::told::Turn;
use crate::ws::{Frame, Kind, NotTaken, Stub};

/// When one command has to be on the socket, and when the agent's proof has to be there.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    sent: Instant,
    proof: Duration,
    /// It came too late to be begun.
    late: bool,
}

/// A message on its way, and the ping right behind it.
struct Queued {
    connection: Arc<Connection>,
    stub: Stub,
    pong: oneshot::Receiver<()>,
}

/// Tells every target, and says what became of each once that is known of all.
pub(crate) async fn tell(shared: &Shared, ask: &Command) -> Commanded {
    let deadlines = deadlines(shared, ask);
    // Queued one after the other, in the order of the targets, before anybody is waited for.
    let begin = |target| begin(shared, ask, target, deadlines);
    let begun: Vec<_> = ask.targets.iter().map(begin).collect();
    let settled = begun.into_iter().map(async |begun| match begun {
        Err(outcome) => outcome,
        Ok(begun) => begun.settle(shared, deadlines).await,
    });
    let outcomes: Vec<Outcome> = join_all(settled).await;
    for outcome in &outcomes {
        metrics::counter!("muster_gateway_commands_total", "outcome" => name(*outcome))
            .increment(1);
    }
    Commanded { outcomes: outcomes.into_iter().map(Into::into).collect() }
}

fn deadlines(shared: &Shared, ask: &Command) -> Deadlines {
    let left = Timestamp(ask.not_after_unix_ms).millis_since(shared.clock.now());
    let left = Duration::from_millis(left).min(shared.limits.command_send_max);
    let proof = Duration::from_millis(ask.proof_ms.into()).min(shared.limits.command_proof_max);
    Deadlines { sent: Instant::now() + left, proof, late: left.is_zero() }
}

/// One target whose command was begun here, now or before.
struct Begun {
    turn: Turn,
    doing: Option<Doing>,
}

enum Doing {
    Telling(Queued),
    Closing { connection: Arc<Connection>, uid: InstanceUid, epoch: u64 },
}

fn begin(
    shared: &Shared,
    ask: &Command,
    target: &Target,
    deadlines: Deadlines,
) -> Result<Begun, Outcome> {
    let uid = InstanceUid::try_from(&target.instance_uid[..]).map_err(|_| Outcome::NotOwner)?;
    let id = <[u8; 16]>::try_from(&ask.command_id[..]).map_err(|_| Outcome::NotOwner)?;
    let turn = shared.told.turn(id, uid, target.attempt);
    // A late copy of what was told in time is not late.
    if turn.is_taken() {
        return Ok(Begun { turn, doing: None });
    }
    if deadlines.late {
        return Err(turn.decide(Outcome::Late));
    }
    match start(shared, ask, target, uid) {
        Ok(doing) => Ok(Begun { turn, doing: Some(doing) }),
        Err(outcome) => Err(turn.decide(outcome)),
    }
}

fn start(
    shared: &Shared,
    ask: &Command,
    target: &Target,
    uid: InstanceUid,
) -> Result<Doing, Outcome> {
    let holder = shared.index.get(&uid).filter(|holder| holder.epoch == target.epoch);
    let connection = holder.ok_or(Outcome::NotOwner)?.connection;
    match &ask.action {
        Some(Action::Message(message)) => {
            let own = &target.message;
            let message = if own.is_empty() { message } else { own };
            Ok(Doing::Telling(queue(shared, connection, uid, message)?))
        }
        Some(Action::Disconnect(_)) => {
            connection.close(close_code::GOING_AWAY);
            Ok(Doing::Closing { connection, uid, epoch: target.epoch })
        }
        // A newer asker's wish.
        None => Err(Outcome::Busy),
    }
}

fn queue(
    shared: &Shared,
    connection: Arc<Connection>,
    uid: InstanceUid,
    message: &Bytes,
) -> Result<Queued, Outcome> {
    if Frame::message_bytes(message, true) > shared.limits.send_bytes_max {
        return Err(Outcome::Busy);
    }
    let said = reply::said(message);
    // What an agent then reports is all of it, and follows no number.
    if said.wants_full_state {
        connection.with(&uid, |session| session.asked_by_operator(shared.uptime_ms()));
        shared.doubts.one_is_asked();
    }
    if let Some(to) = said.new_uid {
        connection.with(&uid, |session| session.rename(to));
        connection.pass.iter().for_each(|pass| pass.give(to));
    }
    let (frame, stub) = Frame::addressed(&uid, message.clone(), Kind::Unique).with_ticket();
    match connection.send(frame, shared.limits.outbox_bytes_max) {
        Ok(()) => {
            let pong = connection.probe(shared.next_number());
            Ok(Queued { connection, stub, pong })
        }
        Err(NotTaken::Full | NotTaken::Outdated) => Err(Outcome::Busy),
        Err(NotTaken::Closing) => Err(Outcome::NotOwner),
    }
}

impl Begun {
    async fn settle(self, shared: &Shared, deadlines: Deadlines) -> Outcome {
        let Self { turn, doing } = self;
        let Some(doing) = doing else {
            // Who began it says what became of it.
            return turn.outcome(deadlines.sent + deadlines.proof).await;
        };
        let outcome = match doing {
            Doing::Telling(queued) => queued.settle(deadlines).await,
            Doing::Closing { connection, uid, epoch } => {
                closed(shared, &connection, uid, epoch, deadlines).await
            }
        };
        turn.decide(outcome)
    }
}

impl Queued {
    /// Sent means flushed, and delivered that the ping behind it came back. What cannot be flushed
    /// in time is taken back, if nothing of it was written.
    async fn settle(self, deadlines: Deadlines) -> Outcome {
        let Self { connection, mut stub, pong } = self;
        match timeout_at(deadlines.sent, &mut stub.flushed).await {
            Ok(Ok(())) => return proof(pong, deadlines).await,
            // The connection is over, or it is too late.
            Ok(Err(_)) if stub.withdraw() => return Outcome::NotOwner,
            Ok(Err(_)) => return Outcome::Broken,
            Err(_) if stub.withdraw() => return Outcome::Busy,
            Err(_) => {}
        }
        // Part of it is on the socket.
        let rest = timeout(deadlines.proof, &mut stub.flushed).await;
        match rest {
            Ok(Ok(())) => proof(pong, deadlines).await,
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(peer = %connection.peer, "a command is stuck half-way");
                Outcome::Broken
            }
        }
    }
}

async fn proof(pong: oneshot::Receiver<()>, deadlines: Deadlines) -> Outcome {
    match timeout(deadlines.proof, pong).await {
        Ok(Ok(())) => Outcome::Delivered,
        Ok(Err(_)) | Err(_) => Outcome::Sent,
    }
}

/// The connection is to end: by its peer's answer to the close, or by force.
async fn closed(
    shared: &Shared,
    connection: &Connection,
    uid: InstanceUid,
    epoch: u64,
    deadlines: Deadlines,
) -> Outcome {
    if timeout(deadlines.proof, connection.until_over()).await.is_err() {
        connection.cut();
        if timeout(shared.limits.flush_grace, connection.until_over()).await.is_err() {
            return Outcome::Sent;
        }
    }
    // Whoever looks at the record next should find the session ended.
    let told = shared.closes.until_told(uid, epoch);
    let _ = timeout(deadlines.proof, told).await;
    Outcome::Delivered
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unspecified => "unknown",
        Outcome::Sent => "sent",
        Outcome::Delivered => "delivered",
        Outcome::NotOwner => "not_owner",
        Outcome::Busy => "busy",
        Outcome::Late => "late",
        Outcome::Broken => "broken",
    }
}

impl Session {
    /// An operator asks it for its full state.
    fn asked_by_operator(&mut self, now: u64) {
        self.soil();
        self.asks(now, u32::MAX);
    }
}
