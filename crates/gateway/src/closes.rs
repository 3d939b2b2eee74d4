//! Telling the workers which sessions ended, a few at a time, so that a broken load balancer does
//! not become a storm.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::Subject;
use bus::v1::Close;
use opamp::InstanceUid;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::session::Ended;
use crate::shared::Shared;

/// Closes asked of the workers at once.
const IN_FLIGHT_MAX: usize = 64;

/// Sessions that ended and whose workers do not know.
#[derive(Debug)]
pub(crate) struct Closes {
    queue: Mutex<VecDeque<Ended>>,
    queued: Notify,
    /// Those in the queue and those being told, by agent and epoch.
    untold: Mutex<BTreeSet<(InstanceUid, u64)>>,
    told: Notify,
    max: usize,
}

impl Closes {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            queued: Notify::new(),
            untold: Mutex::default(),
            told: Notify::new(),
            max,
        }
    }

    /// Queues one. Beyond the bound it is dropped: the agent's next session supersedes it.
    pub(crate) fn push(&self, ended: Ended) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= self.max {
            metrics::counter!("muster_gateway_closes_dropped_total").increment(1);
            return;
        }
        self.untold().insert((ended.uid, ended.epoch));
        queue.push_back(ended);
        drop(queue);
        self.queued.notify_one();
    }

    /// Waits until nobody is left to be told that a session ended. Who claims its agent then finds
    /// the last number answered in the record.
    pub(crate) async fn until_told(&self, uid: InstanceUid, epoch: u64) {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            // From here on no wake-up is missed.
            told.as_mut().enable();
            if !self.untold().contains(&(uid, epoch)) {
                return;
            }
            told.await;
        }
    }

    fn is_told(&self, ended: &Ended) {
        self.untold().remove(&(ended.uid, ended.epoch));
        self.told.notify_waiters();
    }

    fn untold(&self) -> MutexGuard<'_, BTreeSet<(InstanceUid, u64)>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Ended> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queue.pop_front();
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
        next
    }
}

/// Tells of every session that ends, until it is stopped and all are told.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut telling = JoinSet::new();
    loop {
        while telling.len() < IN_FLIGHT_MAX
            && let Some(ended) = shared.closes.pop()
        {
            let shared = shared.clone();
            telling.spawn(async move {
                tell(&shared, &ended).await;
                shared.closes.is_told(&ended);
            });
        }
        if telling.is_empty() && stop.is_cancelled() {
            return;
        }
        tokio::select! {
            biased;
            Some(_) = telling.join_next(), if !telling.is_empty() => {}
            () = shared.closes.queued.notified(), if telling.len() < IN_FLIGHT_MAX => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
    }
}

async fn tell(shared: &Shared, ended: &Ended) {
    let close = Close {
        gateway_id: shared.id.to_string(),
        session_id: ended.session.0.to_vec().into(),
        instance_uid: ended.uid.as_bytes().to_vec().into(),
        epoch: ended.epoch,
        answered_sequence_num: ended.answered,
    };
    let limits = &shared.limits;
    for _ in 0..limits.close_attempts {
        let ask = shared.bus.request(&Subject::Close, &close, limits.close_timeout);
        match ask.await {
            Ok(_) => return shared.heard_bus(),
            Err(error) => tracing::debug!(agent = %ended.uid, %error, "close not answered"),
        }
        tokio::time::sleep(shared.jittered(limits.close_timeout / 4)).await;
    }
    metrics::counter!("muster_gateway_closes_dropped_total").increment(1);
}
