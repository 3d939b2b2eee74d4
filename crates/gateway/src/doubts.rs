//! Making sure again. After this gateway or the bus was silent, workers are asked whether its
//! sessions are still its own; agents of which something is not stored, or is stored no more, are
//! asked for their full state. A few at a time, so that an outage does not end in a storm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bus::v1::resume::Session as Claimed;
use bus::v1::resume_reply::Outcome;
use bus::v1::{Doubt, Generation, Resume};
use bus::{Inbox, Subject};
use opamp::InstanceUid;
use tokio::time::{MissedTickBehavior, interval};

use crate::connection::Connection;
use crate::reply;
use crate::session::{Held, Session, Standing};
use crate::shared::Shared;
use crate::ws::{Frame, Kind};

/// Sessions in one question to a worker: one read and at most one write of the store.
const RESUME_MAX: usize = 256;
/// Questions between two looks at what else is to be done.
const QUESTIONS_MAX: usize = 16;

/// What is not sure.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// There may be sessions that are not sure.
    any: AtomicBool,
    /// A report failed since a worker last said that it can store.
    unstored: AtomicBool,
    /// The newest generation of the records that was heard of; 0 before the first.
    generation: AtomicU64,
}

/// Sessions found in one walk.
#[derive(Default)]
struct Found {
    /// To be asked about.
    doubted: Vec<(Arc<Connection>, InstanceUid, Claimed)>,
    /// Agents to be asked.
    dirty: Vec<(Arc<Connection>, InstanceUid)>,
    /// Agents that were asked lately.
    asked: usize,
}

impl Doubts {
    /// Something an agent said could not be stored.
    pub(crate) fn something_is_missing(&self) {
        self.unstored.store(true, Ordering::Relaxed);
        self.any.store(true, Ordering::Relaxed);
    }

    /// A session was asked for its full state, and is asked again if it says nothing.
    pub(crate) fn one_is_asked(&self) {
        self.any.store(true, Ordering::Relaxed);
    }
}

/// Looks after sessions that are not sure, for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(shared.limits.doubt_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = shared.uptime_ms();
    loop {
        ticks.tick().await;
        let now = shared.bus_heard_ms();
        let silence = u128::from(now.saturating_sub(heard));
        heard = heard.max(now);
        // Whether it slept or the bus was away: others may have given its sessions up.
        if silence >= shared.limits.silence_max.as_millis() {
            tracing::warn!(silence_ms = silence, "was not heard: makes sure of its sessions");
            shared.connections.each(|connection| connection.each_session(Session::doubt)).await;
            shared.doubts.any.store(true, Ordering::Relaxed);
        }
        if shared.doubts.generation.load(Ordering::Relaxed) == 0 {
            // Not known before the first answer: what is lost later must be seen to be another.
            ask_worker(&shared, Vec::new()).await;
        }
        if shared.doubts.any.swap(false, Ordering::Relaxed) && !make_sure(&shared).await {
            shared.doubts.any.store(true, Ordering::Relaxed);
        }
    }
}

/// Hears how old the records are, for ever. Another age than before means that some were lost.
pub(crate) async fn listen(shared: Arc<Shared>, mut inbox: Inbox<Generation>) {
    while let Some(received) = inbox.next().await {
        learn(&shared, received.body.generation).await;
        received.body.lost.iter().for_each(|uid| lost(&shared, uid));
    }
}

/// One agent's record is lost.
fn lost(shared: &Shared, uid: &[u8]) {
    let Ok(uid) = InstanceUid::try_from(uid) else { return };
    let Some(holder) = shared.index.get(&uid) else { return };
    tracing::warn!(%uid, "its record was lost: it reports again");
    holder.connection.with(&uid, Session::soil);
    shared.doubts.something_is_missing();
}

async fn learn(shared: &Shared, generation: u64) {
    let before = shared.doubts.generation.fetch_max(generation, Ordering::Relaxed);
    if before == 0 || generation <= before {
        return;
    }
    tracing::warn!(generation, "records were lost: agents report again");
    metrics::counter!("muster_gateway_generations_total").increment(1);
    shared.connections.each(|connection| connection.each_session(Session::soil)).await;
    shared.doubts.something_is_missing();
}

/// Sessions were given up by others while this gateway lives.
pub(crate) fn reaped(shared: &Shared, told: &Doubt) {
    for uid in &told.instance_uids {
        let Ok(uid) = InstanceUid::try_from(&uid[..]) else { continue };
        let Some(holder) = shared.index.get(&uid) else { continue };
        holder.connection.with(&uid, Session::doubt);
        shared.doubts.any.store(true, Ordering::Relaxed);
    }
}

/// One round. True once there is nothing to make sure of any more.
async fn make_sure(shared: &Shared) -> bool {
    let mut found = walk(shared).await;
    for _ in 0..QUESTIONS_MAX {
        if found.doubted.is_empty() || !resume(shared, &found.doubted).await {
            break;
        }
        found = walk(shared).await;
    }
    let may_ask = found.dirty.is_empty() || can_store(shared).await;
    if may_ask {
        let room = shared.limits.asked_max.saturating_sub(found.asked);
        found.dirty.iter().take(room).for_each(|(connection, uid)| ask(shared, connection, *uid));
    }
    found.doubted.is_empty() && found.dirty.is_empty() && found.asked == 0
}

async fn walk(shared: &Shared) -> Found {
    let (mut found, now) = (Found::default(), shared.uptime_ms());
    let patience = shared.limits.ask_patience.as_millis();
    shared
        .connections
        .each_shared(|connection| {
            connection.each_session(|session| match session.standing() {
                Standing::Sure => {}
                Standing::Doubted if found.doubted.len() < RESUME_MAX => {
                    found.doubted.push((connection.clone(), session.uid, claimed(session)));
                }
                Standing::Doubted => {}
                Standing::Dirty { asked: 1.., at } if u128::from(now - at) < patience => {
                    found.asked += 1;
                }
                Standing::Dirty { .. } if found.dirty.len() < shared.limits.asked_max => {
                    found.dirty.push((connection.clone(), session.uid));
                }
                Standing::Dirty { .. } => {}
            });
        })
        .await;
    found
}

fn claimed(session: &Session) -> Claimed {
    let name = session.name();
    Claimed {
        session_id: name.session.0.to_vec().into(),
        instance_uid: session.uid.as_bytes().to_vec().into(),
        epoch: name.epoch,
        answered_sequence_num: name.answered,
    }
}

/// Asks a worker about sessions. Says whether one answered.
async fn resume(shared: &Shared, doubted: &[(Arc<Connection>, InstanceUid, Claimed)]) -> bool {
    let sessions = doubted.iter().map(|(_, _, session)| session.clone()).collect();
    let Some(outcomes) = ask_worker(shared, sessions).await else {
        return false;
    };
    for ((connection, uid, session), outcome) in doubted.iter().zip(outcomes) {
        let held = match Outcome::try_from(outcome) {
            Ok(Outcome::Held) => Held::Yes,
            Ok(Outcome::FullStateWanted) => Held::ButLacking,
            Ok(Outcome::Stale) => Held::No,
            Ok(Outcome::Unspecified) | Err(_) => continue,
        };
        if held == Held::No {
            shared.index.release(uid, session.epoch);
        }
        let fresh = shared.new_session_id();
        connection.with(uid, |found| found.resumed(session.epoch, held, fresh));
    }
    true
}

/// Whether what agents would say now could be stored.
async fn can_store(shared: &Shared) -> bool {
    if !shared.doubts.unstored.load(Ordering::Relaxed) {
        return true;
    }
    let answered = ask_worker(shared, Vec::new()).await.is_some();
    if answered {
        shared.doubts.unstored.store(false, Ordering::Relaxed);
    }
    answered
}

async fn ask_worker(shared: &Shared, sessions: Vec<Claimed>) -> Option<Vec<i32>> {
    let resume = Resume { gateway_id: shared.id.to_string(), sessions };
    match shared.bus.request(&Subject::Resume, &resume, shared.limits.report_timeout).await {
        Ok(answer) => {
            shared.heard_bus();
            learn(shared, answer.generation).await;
            Some(answer.outcomes)
        }
        Err(error) => {
            tracing::debug!(%error, "no worker to make sure with");
            None
        }
    }
}

fn ask(shared: &Shared, connection: &Connection, uid: InstanceUid) {
    let (now, times) = (shared.uptime_ms(), shared.limits.asks_max);
    if connection.with(&uid, |session| session.asks(now, times)).unwrap_or(false) {
        metrics::counter!("muster_gateway_full_state_asked_total").increment(1);
        let frame = Frame::message(reply::full_state_wanted(&uid), Kind::Unique);
        // One that does not take it is asked again, or is about to be cut.
        let _ = connection.send(frame, shared.limits.outbox_bytes_max);
    }
}
