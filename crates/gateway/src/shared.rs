//! What all tasks of a gateway share.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use model::{Clock, GatewayId, Random, SessionId};
use opamp::InstanceUid;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trust::Door;

use crate::addresses::Addresses;
use crate::admission::{Admission, Reason};
use crate::budget::Budget;
use crate::closes::Closes;
use crate::doubts::Doubts;
use crate::guard::Guard;
use crate::index::{Connections, Index};
use crate::presence::Spoken;
use crate::roll::Known;
use crate::sealed::Opener;
use crate::session::Ended;
use crate::told::Told;
use crate::trace::Trace;
use crate::{Config, Limits, reply};

/// A gateway's insides.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: GatewayId,
    pub(crate) path: String,
    pub(crate) limits: Limits,
    pub(crate) door: Door,
    pub(crate) opener: Opener,
    /// Who has a credential, where those are asked for.
    pub(crate) roll: Option<Known>,
    pub(crate) bus: bus::Client,
    pub(crate) clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    pub(crate) index: Index,
    pub(crate) connections: Connections,
    pub(crate) presence: Spoken,
    pub(crate) closes: Closes,
    pub(crate) told: Told,
    pub(crate) doubts: Doubts,
    pub(crate) budget: Arc<Budget>,
    /// Turns of sessions' reports among those in flight.
    pub(crate) turns: Semaphore,
    pub(crate) admission: Admission,
    pub(crate) guard: Guard,
    pub(crate) addresses: Arc<Addresses>,
    /// The system lets no connection in, for want of files.
    pub(crate) starved: AtomicBool,
    pub(crate) trace: Trace,
    /// What follows the uid in the answer to a heartbeat: the same for all agents.
    pub(crate) heartbeat_tail: Bytes,
    /// The field that names our custom capabilities; empty if there are none.
    pub(crate) announcement: Bytes,
    pub(crate) draining: AtomicBool,
    /// Connections are being given away.
    pub(crate) shedding: AtomicBool,
    /// Owns every task but those of `serve` itself.
    pub(crate) tasks: TaskTracker,
    /// Ends what did not end in time.
    pub(crate) kill: CancellationToken,
    born: Instant,
    bus_heard_ms: AtomicU64,
    numbers: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        bus: bus::Client,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let limits = config.limits;
        let trace = Trace::new(&limits, clock.now());
        Self {
            id: config.id,
            path: config.path,
            door: config.door,
            opener: Opener::new(config.vault),
            roll: config.credentials.map(Known::new),
            bus,
            clock,
            random,
            index: Index::default(),
            connections: Connections::default(),
            presence: Spoken::default(),
            closes: Closes::new(limits.closes_max),
            told: Told::new(limits.commands_remembered_max),
            doubts: Doubts::default(),
            budget: Budget::new(limits.inbound_bytes_max),
            turns: Semaphore::new(limits.reports_in_flight_max),
            admission: Admission::new(&limits),
            guard: Guard::new(&limits),
            addresses: Addresses::new(limits.connections_per_address_max),
            starved: AtomicBool::new(false),
            trace,
            heartbeat_tail: reply::heartbeat_tail(),
            announcement: reply::announcement(&config.custom_capabilities),
            draining: AtomicBool::new(false),
            shedding: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            kill: CancellationToken::new(),
            born: Instant::now(),
            bus_heard_ms: AtomicU64::new(0),
            numbers: AtomicU64::new(1),
            limits,
        }
    }

    /// Runs a task that ends with the gateway at the latest. Should it panic, that is its end.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            let task = AssertUnwindSafe(kill.run_until_cancelled(task)).catch_unwind();
            // Killed or not, it is over.
            if let Err(panic) = task.await {
                panicked("a task", &*panic);
            }
        });
    }

    /// Milliseconds since the gateway began, never 0.
    pub(crate) fn uptime_ms(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.born);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A number no connection or ping of this gateway had before.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn new_session_id(&self) -> SessionId {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        SessionId(id)
    }

    /// Between once and twice the duration, at random.
    pub(crate) fn jittered(&self, least: Duration) -> Duration {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        let share = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
        least + least.mul_f64(share)
    }

    /// How long an agent is told to stay away.
    pub(crate) fn retry_after(&self) -> Duration {
        self.jittered(self.limits.retry_after)
    }

    /// The answer to a message that could not be stored.
    pub(crate) fn unavailable(&self, uid: Vec<u8>) -> Bytes {
        self.unavailable_for(uid, self.retry_after())
    }

    /// The answer to an agent that is to stay away for so long.
    pub(crate) fn unavailable_for(&self, uid: Vec<u8>, wait: Duration) -> Bytes {
        metrics::counter!("muster_gateway_unavailable_total").increment(1);
        reply::unavailable(uid, wait)
    }

    /// An agent says too much, or its words do harm: it is told to stay away, and when it comes
    /// back sooner it is told again.
    pub(crate) fn banish(&self, uid: &InstanceUid) -> Bytes {
        let wait = self.retry_after();
        self.guard.banish(uid, self.uptime_ms(), wait);
        self.unavailable_for(uid.as_bytes().to_vec(), wait)
    }

    /// The answer to a message for which there is no memory.
    pub(crate) fn out_of_memory(&self, uid: Vec<u8>) -> Bytes {
        Reason::Memory.count();
        self.unavailable(uid)
    }

    /// What may be sent of a reply: itself, or a short one if it exceeds the limit.
    pub(crate) fn within_send_limit(&self, uid: &InstanceUid, reply: Bytes) -> Bytes {
        if reply.len() < self.limits.send_bytes_max {
            return reply;
        }
        self.discarded(uid, reply.len());
        reply::instead_of(&reply)
    }

    /// A message to an agent was over the limit and is not sent.
    pub(crate) fn discarded(&self, uid: &InstanceUid, bytes: usize) {
        metrics::counter!("muster_gateway_oversize_discarded_total").increment(1);
        let limit = self.limits.send_bytes_max;
        tracing::warn!(agent = %uid, bytes, limit, "message exceeds the limit and is not sent");
    }

    /// A session ended: its agent is held no more, and a worker is to know.
    pub(crate) fn ended(&self, ended: Ended) {
        let (uid, epoch) = (ended.uid, ended.epoch);
        // In this order: who is asked about the session knows of it, or knows that it ended.
        self.closes.push(ended);
        self.index.release(&uid, epoch);
    }

    /// The bus is there.
    pub(crate) fn heard_bus(&self) {
        self.bus_heard_ms.store(self.uptime_ms(), Ordering::Relaxed);
    }

    /// When the bus was last heard, in milliseconds of the process's life; 0 is never.
    pub(crate) fn bus_heard_ms(&self) -> u64 {
        self.bus_heard_ms.load(Ordering::Relaxed)
    }

    /// Whether the bus was heard lately, connections get in, and the gateway is not about to stop.
    pub(crate) fn ready(&self) -> bool {
        let heard = self.bus_heard_ms();
        let silence = u128::from(self.uptime_ms().saturating_sub(heard));
        heard != 0
            && silence <= self.limits.bus_silence_max.as_millis()
            && !self.draining.load(Ordering::Relaxed)
            && !self.starved.load(Ordering::Relaxed)
    }
}

/// Work on something panicked, and whoever owns it goes on without it.
pub(crate) fn panicked(what: &str, panic: &(dyn Any + Send)) {
    metrics::counter!("muster_gateway_panics_total").increment(1);
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(what, panic = text, "panicked: a bug");
}
