//! Watches: the fleet as it is, then every change of it, for as long as somebody listens.
//!
//! Each watch reads the event log by itself. The view gives it its start and says who is
//! connected; a watch that goes on from a position needs nothing that died with another control.
//! What may not enter: what a change means to an agent.

use std::sync::Arc;

use bus::{Client, Events, Position};
use model::selector::Selector;
use tokio::sync::mpsc::{self, OwnedPermit, Receiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::v1::WatchAgentsResponse;
use crate::view::{Survey, View};
use crate::{Error, Limits};

mod held;
pub(crate) mod place;
mod watcher;

use held::Held;
use place::Place;
use watcher::Watcher;

type Update = Result<WatchAgentsResponse, Status>;

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
    ) -> Result<Receiver<Update>, Error> {
        let slot = self.free.clone().try_acquire_owned();
        let most = self.limits.watches_max;
        let slot = slot.map_err(|_| Error::Exhausted(format!("{most} watch already")))?;
        let start = match position {
            "" => self.afresh(selector).await?,
            position => self.resumed(selector, position).await?,
        };
        let (queue, updates) = mpsc::channel(self.limits.watch_queue_max + 1);
        let last = queue.clone().try_reserve_owned().expect("a new queue has room");
        let watcher = Watcher { limits: self.limits, view: self.view.clone(), queue };
        self.tasks.spawn(run(watcher, start, refused, self.stop.clone(), last, slot));
        Ok(updates)
    }

    async fn afresh(&self, selector: Selector) -> Result<Start, Error> {
        let survey = self.view.survey(&selector);
        let events = self.open(survey.next).await.map_err(|error| match error {
            // The view lags behind the log's oldest entry, and is about to notice.
            Error::OutOfRange(_) => Error::Unavailable("the fleet is being read again".to_owned()),
            error => error,
        })?;
        let place = Place::new(events.log(), &selector, survey.next);
        let held = Held::everything(selector, &survey);
        Ok(Start { events, place, held, survey: Some(survey) })
    }

    async fn resumed(&self, selector: Selector, position: &str) -> Result<Start, Error> {
        let place = Place::parse(position)?;
        let other = |what: &str| Err(Error::OutOfRange(format!("it belongs to another {what}")));
        if !place.is_of(&selector) {
            return other("selector");
        }
        let events = self.open(place.next).await?;
        if events.log() != place.log {
            return other("event log");
        }
        Ok(Start { events, place, held: Held::unknown(selector), survey: None })
    }

    async fn open(&self, from: Position) -> Result<Events, Error> {
        crate::error::within(self.limits.bus_timeout, "the bus", self.bus.events(from)).await
    }
}

/// One watch from start to end. The queue keeps a place for the last word, which says why.
async fn run(
    watcher: Watcher,
    start: Start,
    refused: impl Future<Output = ()> + Send,
    stop: CancellationToken,
    last: OwnedPermit<Update>,
    _slot: OwnedSemaphorePermit,
) {
    metrics::gauge!("muster_control_watches").increment(1.0);
    let watching = async {
        tokio::select! {
            biased;
            () = refused => Some(Error::Unauthenticated),
            ended = watcher.run(start) => ended,
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
