//! Asking the workers: one report of an agent after the other, repeated while its fate is
//! unknown, within the agent's patience.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bus::Subject;
use bus::v1::report_reply::{Accepted, Outcome};
use bus::v1::tap_reply::fact::Kind as Fact;
use bus::v1::{Report, Transport};
use bytes::Bytes;
use futures_util::FutureExt as _;
use opamp::InstanceUid;
use opamp::ws::close_code;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use crate::admission::{Place, Reason};
use crate::connection::Connection;
use crate::inbox;
use crate::incoming::Incoming;
use crate::pass::{Pass, Told};
use crate::reply;
use crate::session::Name;
use crate::shared::{Shared, panicked};
use crate::ws::{Decisions, Frame, Kind, NotTaken};

/// Pause before the first repeat, doubled up to the last; up to twice as long is drawn.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(2);
/// A report crosses the bus at this rate or faster; large ones get that much more time.
const BYTES_PER_SECOND_MIN: usize = 4 << 20;

/// A worker's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Accepted(Accepted),
    Stale,
    Unavailable,
}

/// A place among what is asked at once, for as long as it is held.
enum Turn<'a> {
    OfSession(#[expect(dead_code, reason = "held")] SemaphorePermit<'a>),
    Of(Place<'a>),
}

/// How long to wait for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a turn.
    pub(crate) turn: Duration,
    /// For one attempt.
    pub(crate) attempt: Duration,
    /// For all attempts.
    pub(crate) total: Duration,
}

/// Works an agent's queue until it is empty. What waited behind a message whose fate is unknown
/// is not tried: each would wait as long again.
pub(crate) async fn work(shared: Arc<Shared>, connection: Arc<Connection>, uid: InstanceUid) {
    let mut hopeless = 0;
    loop {
        let message = match connection.next(&uid) {
            Ok(message) => message,
            Err(ended) => {
                ended.into_iter().for_each(|ended| shared.ended(ended));
                return;
            }
        };
        let reply = if hopeless > 0 {
            hopeless -= 1;
            None
        } else if let Err(wait) = pace(&shared, &connection, &uid).await {
            stay_away(&shared, &connection, &message, wait);
            continue;
        } else {
            let span = tracing::info_span!("report", agent = %uid, gateway = %shared.id);
            let asking = report(&shared, &connection, &message).instrument(span);
            let Ok(reply) = AssertUnwindSafe(asking).catch_unwind().await.map_err(|panic| {
                panicked("a report", &*panic);
                poisonous(&shared, &connection, &message);
            }) else {
                continue;
            };
            if reply.is_none() {
                hopeless = connection.waiting(&uid);
            }
            reply
        };
        let (frame, decisions) = match reply {
            Some(accepted) => {
                let message = shared.within_send_limit(&uid, accepted.message);
                if let (Some(pass), Some(to)) =
                    (&connection.pass, connection.pass.as_ref().and(reply::said(&message).new_uid))
                {
                    pass.give(to);
                }
                let kind = reply::kind(&message, uid);
                let decisions = Decisions([
                    accepted.offer_decision,
                    accepted.settings_decision,
                    accepted.packages_decision,
                ]);
                (Frame::message(message, kind), decisions)
            }
            None => {
                let error = not_stored(&shared, &connection, &message);
                (Frame::message(error, Kind::Error(uid)), Decisions::default())
            }
        };
        let room = shared.limits.replies_bytes_max;
        if connection.reply(&uid, decisions, frame, room) == Err(NotTaken::Full) {
            tracing::debug!(agent = %uid, "connection cut: it does not read its replies");
            connection.cut();
        }
    }
}

/// An agent that begins sessions too often waits for its next one. `Err` says how long it is to
/// stay away instead.
async fn pace(shared: &Shared, connection: &Connection, uid: &InstanceUid) -> Result<(), Duration> {
    if connection.holds(uid) {
        return Ok(());
    }
    let wait = shared.guard.claim(uid, shared.uptime_ms())?;
    if !wait.is_zero() {
        metrics::counter!("muster_gateway_held_total").increment(1);
        sleep(wait).await;
    }
    Ok(())
}

/// Refuses an agent a session. What else is on the connection stays.
fn stay_away(shared: &Shared, connection: &Connection, message: &Incoming, wait: Duration) {
    Reason::Loop.count();
    let reply = shared.unavailable_for(message.reply_uid(), wait.max(shared.retry_after()));
    // Who does not read it is no better off.
    let _ = connection.send(Frame::message(reply, Kind::Error(message.uid)), usize::MAX);
    if !connection.holds_any() {
        connection.close(close_code::TRY_AGAIN_LATER);
    }
}

/// A message whose handling panicked: it may do so again, so its agent is kept away for a while.
fn poisonous(shared: &Shared, connection: &Connection, message: &Incoming) {
    let reply = shared.banish(&message.uid);
    let _ = connection.send(Frame::message(reply, Kind::Error(message.uid)), usize::MAX);
    connection.close(close_code::INTERNAL);
}

/// What the agent of a message is told that is not known to be stored.
fn not_stored(shared: &Shared, connection: &Connection, message: &Incoming) -> Bytes {
    if connection.may_wait(message) {
        return reply::heartbeat(message.reply_uid());
    }
    if message.disconnects {
        let ended = connection.forget(&message.uid, shared.new_session_id());
        ended.into_iter().for_each(|ended| shared.ended(ended));
    }
    shared.unavailable(message.reply_uid())
}

/// Reports one message and returns what the worker tells the agent; `None` if the message's fate
/// is unknown.
async fn report(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    message: &Incoming,
) -> Option<Accepted> {
    metrics::counter!("muster_gateway_reports_total").increment(1);
    let uid = message.uid;
    let mut reopened = false;
    while let Some(name) = connection.begin(message) {
        // It was held, it is not any more, and its agent is gone: others speak for it now.
        if name.epoch == 0 && name.floor > 0 && connection.is_over() {
            return None;
        }
        let patience = patience(shared, connection);
        let named = named(shared, connection, &name, message);
        match shared.ask(&named, patience).await {
            Answer::Accepted(mut accepted) => {
                let (epoch, refused) = (accepted.epoch, accepted.refused);
                if connection.accept(&name, epoch, message, refused) {
                    committed(shared, connection, &name, message, &accepted);
                    if name.epoch == 0 {
                        accepted.message =
                            reply::announcing(accepted.message, &shared.announcement);
                    }
                    return Some(accepted);
                }
            }
            Answer::Stale => {}
            Answer::Unavailable => {
                connection.fail(&uid, &name, shared.new_session_id());
                shared.doubts.something_is_missing();
                return None;
            }
        }
        // The session is superseded. Its agent is still here and speaks: open again, once.
        shared.index.release(&uid, name.epoch);
        connection.forget(&uid, shared.new_session_id());
        if std::mem::replace(&mut reopened, true) {
            return None;
        }
    }
    None
}

/// A report is stored: what follows from that here.
fn committed(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    name: &Name,
    message: &Incoming,
    accepted: &Accepted,
) {
    let (uid, epoch) = (message.uid, accepted.epoch);
    if message.disconnects {
        // The worker has marked it offline: no close follows.
        shared.index.release(&uid, epoch);
        connection.forget(&uid, shared.new_session_id());
        return;
    }
    if epoch == 0 {
        return;
    }
    if name.epoch != epoch {
        shared.note_fact(uid, Fact::Claimed, epoch, 0);
    }
    if name.epoch != epoch
        && let Some(before) = shared.index.claim(uid, epoch, connection)
    {
        let fresh = shared.clone();
        shared.spawn(async move { inbox::supersede(&fresh, &before, &uid, epoch).await });
    }
    if name.epoch == 0
        && let Some(ended) = connection.forget_renamed(&uid, shared.new_session_id())
    {
        shared.ended(ended);
    }
    if !accepted.refused {
        let now = shared.clock.now();
        shared.presence.note(uid, epoch, message.sequence_num, now);
    }
}

/// What is left to say once the socket is gone is tried once.
fn patience(shared: &Shared, connection: &Connection) -> Patience {
    let limits = &shared.limits;
    Patience {
        turn: limits.report_turn_deadline,
        attempt: limits.report_timeout,
        total: if connection.is_over() { limits.report_timeout } else { limits.report_patience },
    }
}

/// What a claim's epoch must be above: all that were given out for the agent here, whatever the
/// store remembers.
fn floor(shared: &Shared, name: &Name, uid: &InstanceUid) -> u64 {
    if name.epoch == 0 { name.floor.max(shared.index.epoch(uid)) } else { 0 }
}

fn named(shared: &Shared, connection: &Connection, name: &Name, message: &Incoming) -> Report {
    let passed = passed(connection.pass.as_deref(), &message.uid);
    Report {
        gateway_id: shared.id.to_string(),
        session_id: name.session.0.to_vec().into(),
        epoch: name.epoch,
        epoch_floor: floor(shared, name, &message.uid),
        n: name.n,
        answered_sequence_num: name.answered,
        message: message.body.clone(),
        transport: Transport::WebSocket.into(),
        remote_address: connection.peer.to_string(),
        token_name: token_name(connection.holder.as_deref()),
        enrollment_token: passed.enrollment_token,
        credential_serial: passed.credential_serial,
        credential_uid: passed.credential_uid.into(),
    }
}

/// The name that goes with a token.
pub(crate) fn token_name(holder: Option<&trust::Holder>) -> String {
    holder.map_or_else(String::new, |holder| holder.name.to_string())
}

/// See [`Pass::told`].
pub(crate) fn passed(pass: Option<&Pass>, uid: &InstanceUid) -> Told {
    pass.map(|pass| pass.told(uid)).unwrap_or_default()
}

impl Shared {
    /// Asks the workers, again and again while nothing is known of the report's fate.
    pub(crate) async fn ask(&self, report: &Report, patience: Patience) -> Answer {
        let Some(turn) = self.turn(report, patience.turn).await else {
            tracing::debug!("no turn among the reports in flight");
            return Answer::Unavailable;
        };
        let seconds = report.message.len() / BYTES_PER_SECOND_MIN;
        let more = Duration::from_secs(seconds as u64);
        let deadline = Instant::now() + patience.total + more;
        let mut pause = PAUSE_FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = (patience.attempt + more).min(left);
            if let Some(answer) = self.ask_once(report, attempt).await {
                if let Turn::Of(place) = turn
                    && !matches!(answer, Answer::Unavailable)
                {
                    place.answered(self.uptime_ms());
                }
                return answer;
            }
            let wait = self.jittered(pause);
            if Instant::now() + wait >= deadline {
                return Answer::Unavailable;
            }
            sleep(wait).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// A turn among those asked at once. Polls and openings have their own.
    async fn turn(&self, report: &Report, patience: Duration) -> Option<Turn<'_>> {
        let lane = if report.transport == i32::from(Transport::Http) {
            &self.admission.polls
        } else if report.epoch == 0 {
            &self.admission.openings
        } else {
            let turn = timeout(patience, self.turns.acquire()).await;
            return turn.ok()?.ok().map(Turn::OfSession);
        };
        let place = lane.enter(self.uptime_ms(), patience).await;
        place.map(Turn::Of)
    }

    /// One attempt; `None` if it is worth another.
    async fn ask_once(&self, report: &Report, attempt: Duration) -> Option<Answer> {
        match self.bus.request(&Subject::Report, report, attempt).await {
            Ok(reply) => {
                self.heard_bus();
                match reply.outcome {
                    Some(Outcome::Accepted(mut accepted)) => {
                        // Without what does not open: the rest is stored, and has to be told.
                        let whole = self.opener.open(&accepted.message, &accepted.sealed_offers);
                        accepted.message = whole.unwrap_or(accepted.message);
                        Some(Answer::Accepted(accepted))
                    }
                    Some(Outcome::Stale(_)) => Some(Answer::Stale),
                    Some(Outcome::Unavailable(unavailable)) => {
                        tracing::debug!(reason = unavailable.reason, "report not stored");
                        None
                    }
                    // An outcome this version does not know cannot be acted upon.
                    None => Some(Answer::Unavailable),
                }
            }
            Err(error @ (bus::Error::Malformed { .. } | bus::Error::TooLarge { .. })) => {
                tracing::warn!(%error, "report not stored");
                Some(Answer::Unavailable)
            }
            Err(error) => {
                tracing::debug!(%error, "report not answered");
                None
            }
        }
    }
}
