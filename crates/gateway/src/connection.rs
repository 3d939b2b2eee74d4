//! What the rest of the gateway sees of one WebSocket: the agents' sessions on it, its outbox,
//! its signs of life, and the orders given to its task.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use model::SessionId;
use opamp::InstanceUid;
use tokio::sync::oneshot;
use trust::Holder;

use crate::Limits;
use crate::incoming::Incoming;
use crate::pass::Pass;
use crate::session::{Ended, Name, Session};
use crate::shared::Shared;
use crate::vitals::Vitals;
use crate::ws::{Decisions, Frame, NotTaken, Outbox, Parts};

/// One WebSocket.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) peer: std::net::SocketAddr,
    /// Whose token opened it, where one is asked for.
    pub(crate) holder: Option<Arc<Holder>>,
    /// How else it came in, where agents have credentials.
    pub(crate) pass: Option<Box<Pass>>,
    pub(crate) outbox: Outbox,
    pub(crate) vitals: Vitals,
    agents: Mutex<Agents>,
    /// Who waits for the pong to a ping of which number.
    probes: Mutex<Vec<(u64, oneshot::Sender<()>)>>,
    waker: AtomicWaker,
    close_code: AtomicU16,
    hurry: AtomicBool,
    cut: AtomicBool,
}

#[derive(Debug, Default)]
struct Agents {
    /// Nearly always one. Sorted by uid.
    sessions: Vec<Session>,
    /// Sessions with a report in flight.
    busy: usize,
    /// Bytes of the messages behind reports in flight.
    waiting_bytes: usize,
    /// The task is to be woken when a message leaves the queue.
    watched: bool,
    /// The socket is gone.
    over: bool,
}

/// How somebody came in.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// With a token of the door's.
    pub(crate) holder: Option<Arc<Holder>>,
    /// By the roll.
    pub(crate) pass: Option<Box<Pass>>,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It is a plain heartbeat, to be answered here.
    Answered {
        /// Epoch under which it was heard; 0 if that is nobody's business.
        epoch: u64,
    },
    /// It is queued, and somebody is to work the queue.
    Begun,
    /// It is queued behind others.
    Queued,
    /// One agent too many.
    TooMany,
    /// The agent says too much: the message is dropped.
    Flood,
}

impl Connection {
    pub(crate) fn new(
        number: u64,
        peer: std::net::SocketAddr,
        entry: Entry,
        now: u64,
        limits: &Limits,
    ) -> Self {
        Self {
            number,
            peer,
            holder: entry.holder,
            pass: entry.pass,
            outbox: Outbox::new(limits.outbox_bytes_max),
            vitals: Vitals::new(now),
            agents: Mutex::default(),
            probes: Mutex::default(),
            waker: AtomicWaker::new(),
            close_code: AtomicU16::new(0),
            hurry: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        }
    }

    /// Takes a message of one of its agents.
    pub(crate) fn submit(&self, message: Incoming, shared: &Shared) -> Submitted {
        let mut agents = self.agents();
        let agents = &mut *agents;
        let at = match agents.find(&message.uid) {
            Ok(at) => at,
            Err(_) if agents.sessions.len() >= shared.limits.agents_per_connection_max => {
                return Submitted::TooMany;
            }
            Err(at) => {
                // Room for one: a second agent on a connection is rare.
                agents.sessions.reserve_exact(1);
                let session = Session::new(message.uid, shared.new_session_id());
                agents.sessions.insert(at, session);
                at
            }
        };
        let session = &mut agents.sessions[at];
        if !session.may_speak(shared.uptime_ms(), shared.limits.messages) {
            return Submitted::Flood;
        }
        if let Some(epoch) = session.answers(&message) {
            return Submitted::Answered { epoch };
        }
        agents.waiting_bytes += message.body.len();
        if session.queue(message) {
            agents.busy += 1;
            return Submitted::Begun;
        }
        Submitted::Queued
    }

    /// The next message of an agent to ask about. Without one its queue is worked no more, and
    /// `Err` says what ended with that, if anything did.
    pub(crate) fn next(&self, uid: &InstanceUid) -> Result<Incoming, Option<Ended>> {
        let mut guard = self.agents();
        let agents = &mut *guard;
        let at = agents.find(uid).map_err(|_| None)?;
        let next = agents.sessions[at].next();
        let outcome = match next {
            Some(message) => {
                agents.waiting_bytes -= message.body.len();
                Ok(message)
            }
            None => {
                agents.busy -= 1;
                Err(agents.dismiss(at))
            }
        };
        if std::mem::take(&mut agents.watched) {
            drop(guard);
            self.waker.wake();
        }
        outcome
    }

    /// Whether an agent has said nothing here so far, or nothing since it was let go.
    pub(crate) fn is_new(&self, uid: &InstanceUid) -> bool {
        self.agents().find(uid).is_err()
    }

    /// Whether an agent is held here.
    pub(crate) fn holds(&self, uid: &InstanceUid) -> bool {
        self.with(uid, |session| session.epoch() != 0).unwrap_or(false)
    }

    /// How many messages of an agent wait behind the one in flight.
    pub(crate) fn waiting(&self, uid: &InstanceUid) -> usize {
        self.with(uid, |session| session.waiting()).unwrap_or(0)
    }

    /// Names the report of a message.
    pub(crate) fn begin(&self, of: &Incoming) -> Option<Name> {
        self.with(&of.uid, |session| session.begin(of.describes))
    }

    /// Whether a message of an agent says nothing, and the agent is held, though something of it
    /// is not stored.
    pub(crate) fn may_wait(&self, message: &Incoming) -> bool {
        let held = |session: &mut Session| session.epoch() != 0 && session.is_dirty();
        message.bare && self.with(&message.uid, held).unwrap_or(false)
    }

    /// Looks at every session.
    pub(crate) fn each_session(&self, look: impl FnMut(&mut Session)) {
        self.agents().sessions.iter_mut().for_each(look);
    }

    /// See [`Session::accept`].
    pub(crate) fn accept(&self, name: &Name, epoch: u64, of: &Incoming, refused: bool) -> bool {
        self.with(&of.uid, |session| session.accept(name, epoch, of, refused)).unwrap_or(false)
    }

    /// See [`Session::fail`].
    pub(crate) fn fail(&self, uid: &InstanceUid, name: &Name, fresh: SessionId) {
        self.with(uid, |session| session.fail(name, fresh));
    }

    /// Lets go of an agent; says what ended, if it was held.
    pub(crate) fn forget(&self, uid: &InstanceUid, fresh: SessionId) -> Option<Ended> {
        self.with(uid, |session| {
            let ended = session.end();
            session.forget(fresh);
            ended
        })
        .flatten()
    }

    /// An agent speaks under a uid that it was given: lets go of the one that it had.
    pub(crate) fn forget_renamed(&self, to: &InstanceUid, fresh: SessionId) -> Option<Ended> {
        let renamed = |session: &&Session| session.is_renamed_to(to);
        let before = self.agents().sessions.iter().find(renamed).map(|session| session.uid)?;
        self.forget(&before, fresh)
    }

    /// Lets go of an agent that another session holds since `epoch`. Says whether any other agent
    /// is left here.
    pub(crate) fn supersede(&self, uid: &InstanceUid, epoch: u64, fresh: SessionId) -> bool {
        let mut agents = self.agents();
        if let Ok(at) = agents.find(uid)
            && agents.sessions[at].epoch() < epoch
        {
            agents.sessions[at].forget(fresh);
            if !agents.sessions[at].is_busy() {
                agents.dismiss(at);
            }
        }
        agents.sessions.iter().any(|session| session.uid != *uid)
    }

    /// Whether any agent is held here.
    pub(crate) fn holds_any(&self) -> bool {
        self.agents().sessions.iter().any(|session| session.epoch() != 0)
    }

    /// The uid of the only agent there is.
    pub(crate) fn only_agent(&self) -> Option<Vec<u8>> {
        match &self.agents().sessions[..] {
            [session] => Some(session.uid.as_bytes().to_vec()),
            _ => None,
        }
    }

    /// The socket is gone: says which sessions ended. Those with reports in flight end later.
    pub(crate) fn finish(&self) -> Vec<Ended> {
        self.outbox.end();
        let mut agents = self.agents();
        agents.over = true;
        self.probes().clear();
        let (busy, idle) = std::mem::take(&mut agents.sessions)
            .into_iter()
            .partition::<Vec<Session>, _>(Session::is_busy);
        agents.sessions = busy;
        idle.iter().filter_map(Session::end).collect()
    }

    /// The socket is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.agents().over
    }

    /// Queues a frame and tells the task.
    pub(crate) fn send(&self, frame: Frame, bytes_max: usize) -> Result<(), NotTaken> {
        self.outbox.push(frame, bytes_max)?;
        self.waker.wake();
        Ok(())
    }

    /// Queues offers for an agent, but for those of which newer ones were sent.
    pub(crate) fn offer(
        &self,
        uid: &InstanceUid,
        decisions: Decisions,
        offer: Frame,
        bytes_max: usize,
    ) -> Result<(), NotTaken> {
        let mut agents = self.agents();
        let at = agents.find(uid).map_err(|_| NotTaken::Closing)?;
        let outdated = agents.sessions[at].offers(offer.offers(), decisions);
        let offer = offer.without(outdated).map_err(|_| NotTaken::Outdated)?;
        // Queued before anybody else looks, or an older one might slip in behind it.
        self.outbox.push(offer, bytes_max)?;
        drop(agents);
        self.waker.wake();
        Ok(())
    }

    /// Queues a worker's reply, without offers of which newer ones were sent.
    pub(crate) fn reply(
        &self,
        uid: &InstanceUid,
        decisions: Decisions,
        mut reply: Frame,
        bytes_max: usize,
    ) -> Result<(), NotTaken> {
        let mut agents = self.agents();
        let outdated = match agents.find(uid) {
            Ok(at) => agents.sessions[at].offers(reply.offers(), decisions),
            Err(_) => Parts::NONE,
        };
        if !outdated.is_empty() {
            metrics::counter!("muster_gateway_offers_outdated_total").increment(1);
            reply = reply.without(outdated).expect("an answer is more than its offers");
        }
        self.outbox.push(reply, bytes_max)?;
        drop(agents);
        self.waker.wake();
        Ok(())
    }

    /// Pings, to learn whether the peer is there: the pong is told.
    pub(crate) fn probe(&self, number: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut probes = self.probes();
        probes.retain(|(_, waiter)| !waiter.is_closed());
        probes.push((number, sender));
        drop(probes);
        // Untaken, the ping goes unanswered, which is what the asker is to learn.
        let _ = self.send(Frame::ping(number), usize::MAX);
        receiver
    }

    /// Waits until the socket is gone.
    pub(crate) async fn until_over(&self) {
        let (sender, receiver) = oneshot::channel();
        // No ping has this number, so that only the end of the connection ends the wait.
        self.probes().push((u64::MAX, sender));
        if !self.is_over() {
            let _ = receiver.await;
        }
    }

    /// A pong came. It answers its ping and all before it.
    pub(crate) fn pong(&self, payload: &[u8]) {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else {
            return;
        };
        let mut probes = self.probes();
        for (asked, waiter) in std::mem::take(&mut *probes) {
            if asked <= number {
                // Who asked may have given up.
                let _ = waiter.send(());
            } else {
                probes.push((asked, waiter));
            }
        }
    }

    /// Orders a close with a code, once replies in flight are out. The first order counts.
    pub(crate) fn close(&self, code: u16) {
        // Zero means none was asked for yet.
        let _ = self.close_code.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn close_asked(&self) -> Option<u16> {
        match self.close_code.load(Ordering::Relaxed) {
            0 => None,
            code => Some(code),
        }
    }

    /// Orders a close that is due to wait no longer.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Orders the end without another word.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Whether no reply is in flight, or there is no time to wait for it. If not, the task is
    /// woken when that changes.
    pub(crate) fn may_close(&self) -> bool {
        let mut agents = self.agents();
        agents.watched = agents.busy > 0;
        !agents.watched || self.hurry.load(Ordering::Relaxed)
    }

    /// Whether so much is waiting that nothing more is to be read. If so, the task is woken when
    /// that changes.
    pub(crate) fn pauses(&self, limits: &Limits) -> bool {
        let mut agents = self.agents();
        let queue_is_full = agents.waiting_bytes > limits.waiting_bytes_max;
        agents.watched |= queue_is_full;
        drop(agents);
        let pauses = queue_is_full || self.outbox.bytes() > limits.outbox_bytes_max;
        self.vitals.paused(pauses);
        pauses
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn with<T>(
        &self,
        uid: &InstanceUid,
        act: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        let mut agents = self.agents();
        let at = agents.find(uid).ok()?;
        Some(act(&mut agents.sessions[at]))
    }

    fn agents(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probes(&self) -> MutexGuard<'_, Vec<(u64, oneshot::Sender<()>)>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agents {
    fn find(&self, uid: &InstanceUid) -> Result<usize, usize> {
        self.sessions.binary_search_by_key(uid, |session| session.uid)
    }

    /// Drops an idle session that holds and misses nothing, or whose socket is gone.
    fn dismiss(&mut self, at: usize) -> Option<Ended> {
        let ended = self.sessions[at].end();
        let idle = ended.is_none() && !self.sessions[at].is_dirty();
        if idle || self.over {
            self.sessions.remove(at);
        }
        ended.filter(|_| self.over)
    }
}
