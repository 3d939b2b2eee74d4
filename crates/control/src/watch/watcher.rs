//! One watch: reads the log, asks what it means to the watcher, and queues it.

use std::convert::Infallible;
use std::sync::Arc;

use bus::event::Told;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Place, Start, arrived};
use crate::Limits;
use crate::api::{convert, names};
use crate::stream::{Ended, Queue};
use crate::v1::watch_agents_response::{Change, Event};
use crate::v1::{Agent, WatchAgentsResponse};
use crate::view::{Survey, View};

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) limits: Limits,
    pub(super) view: Arc<View>,
    pub(super) queue: Queue<WatchAgentsResponse>,
}

impl Watcher {
    /// Runs until something ends it.
    pub(super) async fn run(self, start: Start) -> Ended {
        let Err(ended) = self.follow(start).await;
        ended
    }

    async fn follow(&self, start: Start) -> Result<Infallible, Ended> {
        let Start { mut events, mut place, mut held, survey } = start;
        if let Some(survey) = survey {
            self.introduce(survey, &place).await?;
        }
        let period = self.limits.watch_bookmark;
        let mut bookmark = interval_at(Instant::now() + period, period);
        bookmark.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                _ = bookmark.tick() => {
                    self.queue.send(mark(Change::Bookmark, &place)).await?;
                    continue;
                }
                event = events.next() => event,
            };
            let event = arrived(event, &mut place)?;
            let Some(told) = bus::event::decode(event) else { continue };
            if let Some(change) = held.take(&told) {
                self.queue.send(self.update(change, told, &place)).await?;
            }
        }
    }

    async fn introduce(&self, survey: Survey, place: &Place) -> Result<(), Ended> {
        for shown in survey.selected {
            let agent = Some(convert::agent(&shown));
            let change = Change::Snapshot.into();
            self.queue.send(WatchAgentsResponse { change, agent, ..Default::default() }).await?;
        }
        self.queue.send(mark(Change::SnapshotComplete, place)).await
    }

    fn update(&self, change: Change, told: Told, place: &Place) -> WatchAgentsResponse {
        let Told { instance_uid: uid, version, at, events, summary, .. } = told;
        let agent = match summary {
            Some(summary) => convert::agent(&self.view.join(&uid, version, summary)),
            None => Agent {
                name: names::agent(&uid),
                instance_uid: uid.to_string(),
                version,
                ..Default::default()
            },
        };
        WatchAgentsResponse {
            change: change.into(),
            agent: Some(agent),
            events: events.into_iter().map(|event| kind(event).into()).collect(),
            event_time: Some(convert::time(at)),
            position: place.text(),
        }
    }
}

fn mark(change: Change, place: &Place) -> WatchAgentsResponse {
    WatchAgentsResponse { change: change.into(), position: place.text(), ..Default::default() }
}

fn kind(event: model::Event) -> Event {
    match event {
        model::Event::Appeared => Event::Appeared,
        model::Event::Connected => Event::Connected,
        model::Event::Disconnected => Event::Disconnected,
        model::Event::DescriptionChanged => Event::DescriptionChanged,
        model::Event::CapabilitiesChanged => Event::CapabilitiesChanged,
        model::Event::HealthChanged => Event::HealthChanged,
        model::Event::EffectiveConfigChanged => Event::EffectiveConfigChanged,
        model::Event::ConfigStatusChanged => Event::ConfigStatusChanged,
        model::Event::PackagesChanged => Event::PackagesChanged,
        model::Event::CustomCapabilitiesChanged => Event::CustomCapabilitiesChanged,
        model::Event::ComponentsChanged => Event::ComponentsChanged,
        model::Event::ConnectionSettingsStatusChanged => Event::ConnectionSettingsStatusChanged,
        model::Event::OfferChanged => Event::OfferChanged,
        model::Event::ConfigDelivered => Event::ConfigDelivered,
        model::Event::PackagesDelivered => Event::PackagesDelivered,
        model::Event::ConnectionSettingsDelivered => Event::ConnectionSettingsDelivered,
        model::Event::FullStateRequested => Event::FullStateRequested,
        model::Event::DuplicateDetected => Event::DuplicateDetected,
        model::Event::LabelsChanged => Event::LabelsChanged,
        model::Event::CustomMessageReceived => Event::CustomMessageReceived,
        model::Event::CredentialChanged => Event::CredentialChanged,
        model::Event::Restarted => Event::Restarted,
        model::Event::CommandChanged => Event::CommandChanged,
        model::Event::Forgotten => Event::Forgotten,
    }
}
