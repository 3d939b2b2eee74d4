//! Watches: the fleet as it is, then every change of it, for as long as somebody listens.
//!
//! Each watch reads the event log by itself. The view gives it its start and says who is
//! connected; a watch that goes on from a position needs nothing that died with another control.
//! What may not enter: what a change means to an agent.

use std::sync::Arc;
use std::time::Duration;

use bus::{Client, Events, Position};
use model::selector::Selector;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::v1::WatchAgentsResponse;
use crate::view::{Survey, View};
use crate::{Error, Limits};

mod held;
pub(crate) mod place;
pub(crate) mod said;
mod watcher;

use held::Held;
use place::Place;
use watcher::Watcher;

/// Why a watch ends: an error to tell, or `None` if nobody listens any more.
type Ended = Option<Error>;

/// Starts watches, and bounds them.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    limits: Limits,
    view: Arc<View>,
    bus: Client,
    tasks: TaskTracker,
    stop: CancellationToken,
    free: Arc<Semaphore>,
}

/// Where a watch starts.
struct Start {
    events: Events,
    place: Place,
    held: Held,
    /// What is sent first, unless the watcher has it already.
    survey: Option<Survey>,
}

impl Watches {
    /// Watches are tasks of `tasks` and end at `stop`.
    pub(crate) fn new(
        limits: Limits,
        view: Arc<View>,
        bus: Client,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let free = Arc::new(Semaphore::new(limits.watches_max));
        Self { limits, view, bus, tasks, stop, free }
    }

    /// Starts a watch, at a position if one is given. It ends when its watcher is refused.
    pub(crate) async fn start(
        &self,
        selector: Selector,
        position: &str,
        refused: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Receiver<Result<WatchAgentsResponse, Status>>, Error> {
        let slot = self.slot()?;
        let start = match position {
            "" => self.afresh(selector).await?,
            position => self.resumed(selector, position).await?,
        };
        Ok(self.run(refused, slot, |queue| {
            let queue = Queue { stall: self.limits.watch_stall, queue };
            Watcher { limits: self.limits, view: self.view.clone(), queue }.run(start)
        }))
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        let most = self.limits.watches_max;
        let slot = self.free.clone().try_acquire_owned();
        slot.map_err(|_| Error::Exhausted(format!("{most} watch already")))
    }

    /// Runs a watch that fills a queue, which keeps a place for the last word.
    fn run<T: Send + 'static, W: Future<Output = Ended> + Send + 'static>(
        &self,
        refused: impl Future<Output = ()> + Send + 'static,
        slot: OwnedSemaphorePermit,
        watch: impl FnOnce(Sender<Result<T, Status>>) -> W,
    ) -> Receiver<Result<T, Status>> {
        let (queue, updates) = mpsc::channel(self.limits.watch_queue_max + 1);
        let last = queue.clone().try_reserve_owned().expect("a new queue has room");
        self.tasks.spawn(run(watch(queue), refused, self.stop.clone(), last, slot));
        updates
    }

    async fn afresh(&self, selector: Selector) -> Result<Start, Error> {
        let survey = self.view.survey(&selector);
        let events = self.open(survey.next).await.map_err(|error| match error {
            // The view lags behind the log's oldest entry, and is about to notice.
            Error::OutOfRange(_) => Error::Unavailable("the fleet is being read again".to_owned()),
            error => error,
        })?;
        let place = Place::new(events.log(), selector.as_str(), survey.next);
        let held = Held::everything(selector, &survey);
        Ok(Start { events, place, held, survey: Some(survey) })
    }

    async fn resumed(&self, selector: Selector, position: &str) -> Result<Start, Error> {
        let (events, place) = self.go_on(position, selector.as_str()).await?;
        Ok(Start { events, place, held: Held::unknown(selector), survey: None })
    }

    /// Opens the log where somebody who wants this stopped.
    async fn go_on(&self, position: &str, wanted: &str) -> Result<(Events, Place), Error> {
        let place = Place::parse(position)?;
        let other = |what: &str| Err(Error::OutOfRange(format!("it belongs to another {what}")));
        if !place.is_of(wanted) {
            return other("selector");
        }
        let events = self.open(place.next).await?;
        if events.log() != place.log {
            return other("event log");
        }
        Ok((events, place))
    }

    async fn open(&self, from: Position) -> Result<Events, Error> {
        crate::error::within(self.limits.bus_timeout, "the bus", self.bus.events(from)).await
    }
}

/// Where a watch puts what it tells.
#[derive(Debug)]
struct Queue<T> {
    /// How long it may stay full.
    stall: Duration,
    queue: Sender<Result<T, Status>>,
}

impl<T> Queue<T> {
    async fn send(&self, response: T) -> Result<(), Ended> {
        let sent = self.queue.send_timeout(Ok(response), self.stall).await;
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Some(Error::TooSlow),
            SendTimeoutError::Closed(_) => None,
        })
    }

    /// Until nobody listens any more.
    async fn closed(&self) {
        self.queue.closed().await;
    }
}

/// One watch from start to end. Its last word says why it ended.
async fn run<T>(
    watch: impl Future<Output = Ended> + Send,
    refused: impl Future<Output = ()> + Send,
    stop: CancellationToken,
    last: OwnedPermit<Result<T, Status>>,
    _slot: OwnedSemaphorePermit,
) {
    metrics::gauge!("muster_control_watches").increment(1.0);
    let watching = async {
        tokio::select! {
            biased;
            () = refused => Some(Error::Unauthenticated),
            ended = watch => ended,
        }
    };
    let ended = stop.run_until_cancelled(watching).await;
    metrics::gauge!("muster_control_watches").decrement(1.0);
    match ended {
        // Nobody listens any more.
        Some(None) => {}
        Some(Some(error)) => drop(last.send(Err(error.into()))),
        None => drop(last.send(Err(Status::unavailable("this server stops")))),
    }
}
