//! Answers that go on: each is a task, of which there are only so many, and ends with who listens,
//! with their token, with this server, or for a reason that it says. What may not enter: what is
//! told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::Error;

/// Why one ends: an error to tell, or `None` if all is told or nobody listens any more.
pub(crate) type Ended = Option<Error>;

/// How many there may be of a kind, and how long who listens may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// What so many do already, for who is one too many.
    pub(crate) does: &'static str,
    /// Name of the gauge that counts them.
    pub(crate) gauge: &'static str,
    pub(crate) most: usize,
    /// Answers that wait for who listens.
    pub(crate) queue_max: usize,
    /// How long they may wait when there is no room.
    pub(crate) stall: Duration,
}

/// Starts them, and bounds them.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    bounds: Bounds,
    tasks: TaskTracker,
    stop: CancellationToken,
    free: Arc<Semaphore>,
}

/// Where one puts what it tells.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    stall: Duration,
    queue: Sender<Result<T, Status>>,
}

impl<T> Queue<T> {
    pub(crate) async fn send(&self, response: T) -> Result<(), Ended> {
        let sent = self.queue.send_timeout(Ok(response), self.stall).await;
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Some(Error::TooSlow),
            SendTimeoutError::Closed(_) => None,
        })
    }
}

impl Streams {
    /// They are tasks of `tasks` and end at `stop`.
    pub(crate) fn new(bounds: Bounds, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { bounds, tasks, stop, free: Arc::new(Semaphore::new(bounds.most)) }
    }

    /// Room for one more.
    pub(crate) fn slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        let Bounds { does, most, .. } = self.bounds;
        let slot = self.free.clone().try_acquire_owned();
        slot.map_err(|_| Error::Exhausted(format!("{most} {does} already")))
    }

    /// Runs one until it has told everything or something ends it, and what is to be done then.
    pub(crate) fn run<T: Send + 'static, W: Future<Output = Ended> + Send + 'static>(
        &self,
        refused: impl Future<Output = ()> + Send + 'static,
        slot: OwnedSemaphorePermit,
        work: impl FnOnce(Queue<T>) -> W,
        afterwards: impl Future<Output = ()> + Send + 'static,
    ) -> Receiver<Result<T, Status>> {
        let Bounds { queue_max, stall, gauge, .. } = self.bounds;
        let (queue, updates) = mpsc::channel(queue_max + 1);
        let last = queue.clone().try_reserve_owned().expect("a new queue has room");
        let (listens, stop) = (queue.clone(), self.stop.clone());
        let work = work(Queue { stall, queue });
        self.tasks.spawn(async move {
            metrics::gauge!(gauge).increment(1.0);
            let working = async {
                tokio::select! {
                    biased;
                    () = refused => Some(Error::Unauthenticated),
                    () = listens.closed() => None,
                    ended = work => ended,
                }
            };
            let ended = stop.run_until_cancelled(working).await;
            metrics::gauge!(gauge).decrement(1.0);
            // Who listens is not kept waiting for what follows.
            drop(listens);
            say(last, ended);
            afterwards.await;
            drop(slot);
        });
        updates
    }
}

/// The last word, for which the queue keeps a place: why it ended.
fn say<T>(last: OwnedPermit<Result<T, Status>>, ended: Option<Ended>) {
    match ended {
        Some(None) => drop(last),
        Some(Some(error)) => drop(last.send(Err(error.into()))),
        None => drop(last.send(Err(Status::unavailable("this server stops")))),
    }
}
