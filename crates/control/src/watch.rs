//! Watches: the fleet as it is, then every change of it, for as long as somebody listens.
//!
//! Each watch reads the event log by itself. The view gives it its start and says who is
//! connected; a watch that goes on from a position needs nothing that died with another control.
//! What may not enter: what a change means to an agent.

use std::sync::Arc;

use bus::v1::AgentEvent;
use bus::{Client, Events, Position};
use model::selector::Selector;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::stream::{Bounds, Ended, Streams};
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

/// Starts watches, and bounds them.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    limits: Limits,
    view: Arc<View>,
    bus: Client,
    streams: Streams,
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
        let bounds = Bounds {
            does: "watch",
            gauge: "muster_control_watches",
            most: limits.watches_max,
            queue_max: limits.watch_queue_max,
            stall: limits.watch_stall,
        };
        Self { limits, view, bus, streams: Streams::new(bounds, tasks, stop) }
    }

    /// Starts a watch, at a position if one is given. It ends when its watcher is refused.
    pub(crate) async fn start(
        &self,
        selector: Selector,
        position: &str,
        refused: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Receiver<Result<WatchAgentsResponse, Status>>, Error> {
        let slot = self.streams.slot()?;
        let start = match position {
            "" => self.afresh(selector).await?,
            position => self.resumed(selector, position).await?,
        };
        let watch =
            |queue| Watcher { limits: self.limits, view: self.view.clone(), queue }.run(start);
        Ok(self.streams.run(refused, slot, watch, async {}))
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

/// The event that came from the log, with the place of its watch moved behind it.
fn arrived(
    event: Option<Result<(Position, AgentEvent), bus::Error>>,
    place: &mut Place,
) -> Result<AgentEvent, Ended> {
    let lost = || Some(Error::Unavailable("the event log broke off".to_owned()));
    let (position, event) = event.ok_or_else(lost)?.map_err(|error| Some(Error::from(error)))?;
    place.next = Position(position.0 + 1);
    Ok(event)
}
