//! A watch of custom messages: the event log, but for what is not wanted.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;

use bus::Events;
use bus::event::Told;
use model::custom::Received;
use model::selector::Selector;
use opamp::InstanceUid;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tonic::Status;

use super::{Place, Watches, arrived};
use crate::api::{convert, names};
use crate::error::within;
use crate::stream::{Ended, Queue};
use crate::v1::{ReceivedCustomMessage, WatchCustomMessagesResponse};
use crate::{Error, Limits};

/// Messages that are known to be told already, by agent and version. The log repeats an entry
/// within seconds, if ever, and some 50 bytes are kept of each.
const TOLD_MAX: usize = 4096;

/// What a watcher asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) selector: Selector,
    /// Empty: any.
    pub(crate) capability: String,
    /// Empty: any.
    pub(crate) kind: String,
}

impl Wanted {
    /// All of it: positions are good for the same only.
    fn text(&self) -> String {
        format!("custom\n{}\n{}\n{}", self.selector.as_str(), self.capability, self.kind)
    }

    fn takes<'a>(&self, told: &'a Told) -> Option<&'a Received> {
        let (message, summary) = (told.message.as_ref()?, told.summary.as_ref()?);
        let is = |wanted: &str, said: &str| wanted.is_empty() || wanted == said;
        let wanted = is(&self.capability, &message.capability) && is(&self.kind, &message.kind);
        (wanted && self.selector.matches(summary)).then_some(message)
    }
}

/// Messages lately seen. Events of one agent may come in another order than they happened, so the
/// newest version does not say which were there.
#[derive(Debug, Default)]
struct Seen {
    known: BTreeSet<(InstanceUid, u64)>,
    order: VecDeque<(InstanceUid, u64)>,
}

impl Seen {
    /// Whether it is new.
    fn is_new(&mut self, told: &Told) -> bool {
        let entry = (told.instance_uid, told.version);
        if !self.known.insert(entry) {
            return false;
        }
        self.order.push_back(entry);
        if self.order.len() > TOLD_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Watches {
    /// Starts a watch of custom messages: from now on, or from a position.
    pub(crate) async fn custom_messages(
        &self,
        wanted: Wanted,
        position: &str,
        refused: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Receiver<Result<WatchCustomMessagesResponse, Status>>, Error> {
        let slot = self.streams.slot()?;
        let (events, place) = match position {
            "" => {
                let next = within(self.limits.bus_timeout, "the bus", self.bus.tail()).await?;
                let events = self.open(next).await?;
                let place = Place::new(events.log(), &wanted.text(), next);
                (events, place)
            }
            position => self.go_on(position, &wanted.text()).await?,
        };
        let limits = self.limits;
        let watch = |queue| async move {
            let Err(ended) = follow(&limits, &queue, &wanted, events, place).await;
            ended
        };
        Ok(self.streams.run(refused, slot, watch, async {}))
    }
}

async fn follow(
    limits: &Limits,
    queue: &Queue<WatchCustomMessagesResponse>,
    wanted: &Wanted,
    mut events: Events,
    mut place: Place,
) -> Result<Infallible, Ended> {
    let mut seen = Seen::default();
    let mut bookmark = interval_at(Instant::now(), limits.watch_bookmark);
    bookmark.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            _ = bookmark.tick() => {
                let position = place.text();
                queue.send(WatchCustomMessagesResponse { message: None, position }).await?;
                continue;
            }
            event = events.next() => event,
        };
        let event = arrived(event, &mut place)?;
        let Some(told) = bus::event::decode(event) else { continue };
        if let Some(message) = wanted.takes(&told)
            && seen.is_new(&told)
        {
            let (message, position) = (Some(shown(&told, message)), place.text());
            queue.send(WatchCustomMessagesResponse { message, position }).await?;
        }
    }
}

fn shown(told: &Told, message: &Received) -> ReceivedCustomMessage {
    ReceivedCustomMessage {
        agent: names::agent(&told.instance_uid),
        capability: message.capability.clone(),
        r#type: message.kind.clone(),
        data: message.data.clone(),
        size_bytes: i64::try_from(message.size).unwrap_or(i64::MAX),
        receive_time: Some(convert::time(told.at)),
        version: told.version,
    }
}

#[cfg(test)]
mod tests {
    use model::{AgentRecord, AgentSummary, Timestamp};

    use super::*;

    fn told(version: u64, capability: &str, kind: &str) -> Told {
        let instance_uid = InstanceUid::from_bytes([1; 16]);
        let mut summary = AgentSummary::from(&AgentRecord::new(instance_uid, Timestamp(0)));
        summary.labels.insert("env".to_owned(), "prod".to_owned());
        let (capability, kind) = (capability.to_owned(), kind.to_owned());
        let message = Some(Received { capability, kind, data: Vec::new(), size: 0 });
        let (at, events) = (Timestamp(0), Vec::new());
        Told { instance_uid, version, at, events, summary: Some(summary), message }
    }

    fn wanted(selector: &str, capability: &str, kind: &str) -> Wanted {
        let selector = Selector::parse(selector).unwrap();
        Wanted { selector, capability: capability.to_owned(), kind: kind.to_owned() }
    }

    #[test]
    fn words_are_compared_as_a_whole() {
        let told = told(1, "com.x.y/v1", "a");
        for (selector, capability, kind, taken) in [
            ("", "", "", true),
            ("env=prod", "com.x.y/v1", "a", true),
            ("", "com.x.y/v2", "", false),
            ("", "com.x.y", "", false),
            ("", "com.x.y/v1", "ab", false),
            ("env=dev", "com.x.y/v1", "a", false),
        ] {
            let takes = wanted(selector, capability, kind).takes(&told).is_some();
            assert_eq!(takes, taken, "{selector:?} {capability:?} {kind:?}");
        }
    }

    #[test]
    fn an_entry_is_told_once_and_a_late_one_is_told() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&told(5, "c", "")) && seen.is_new(&told(7, "c", "")));
        assert!(!seen.is_new(&told(5, "c", "")) && seen.is_new(&told(6, "c", "")));
        for version in 8..8 + TOLD_MAX as u64 {
            assert!(seen.is_new(&told(version, "c", "")));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (TOLD_MAX, TOLD_MAX));
    }
}
