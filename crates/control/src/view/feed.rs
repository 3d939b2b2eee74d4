//! What keeps the view current: a snapshot, then the log from where it was before the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::{Client, Subject, v1};
use model::{AgentSummary, Timestamp};
use store::{Cursor, SHARDS, Store, Table, tables};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Entry, View};
use crate::{Error, Limits};

/// The sources of a view.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) bus: Client,
    pub(crate) records: Arc<dyn Store>,
    /// Rung after each snapshot.
    pub(crate) rebuilt: Arc<Notify>,
}

impl Feed {
    /// Follows the fleet until told to stop.
    pub(crate) async fn events(self, shutdown: CancellationToken) {
        let following = async {
            loop {
                if let Err(error) = self.follow().await {
                    metrics::counter!("muster_control_feed_restarts_total").increment(1);
                    tracing::warn!(%error, "view is built again");
                }
                tokio::time::sleep(self.limits.feed_retry).await;
            }
        };
        shutdown.run_until_cancelled(following).await;
    }

    /// Listens to gateways until told to stop.
    pub(crate) async fn presence(self, shutdown: CancellationToken) {
        let listening = async {
            loop {
                let inbox =
                    self.bus.subscribe(&Subject::Presence, self.limits.presence_inbox_max).await;
                match inbox {
                    Ok(mut inbox) => {
                        while let Some(received) = inbox.next().await {
                            let presence: v1::Presence = received.body;
                            self.view.heard(&presence);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "gateways cannot be heard"),
                }
                tokio::time::sleep(self.limits.feed_retry).await;
            }
        };
        shutdown.run_until_cancelled(listening).await;
    }

    /// Takes a snapshot and applies events until the log breaks off. The log's position is taken
    /// before the snapshot: what changes meanwhile is read twice, and nothing is missed.
    async fn follow(&self) -> Result<(), Error> {
        let position = self.bus.tail().await?;
        let mut events = self.bus.events(position).await?;
        self.view.replace(self.snapshot().await?);
        self.rebuilt.notify_one();
        while let Some(event) = events.next().await {
            let (_, event) = event?;
            match bus::event::decode(event) {
                Some(told) => self.view.apply(told),
                None => tracing::warn!("event of an unknown format skipped"),
            }
        }
        Err(Error::Unavailable("the event log ended".to_owned()))
    }

    async fn snapshot(&self) -> Result<BTreeMap<opamp::InstanceUid, Entry>, Error> {
        let mut agents = BTreeMap::new();
        for shard in 0..SHARDS {
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                let page = self.records.scan(Table::Agents, shard, from).await?;
                for (key, stored) in page.entries {
                    match tables::agents::decode(&key, &stored.value) {
                        Ok(loaded) => {
                            let summary = AgentSummary::from(&loaded.value);
                            let version = stored.version.0;
                            let entry = Entry { version, summary, heard: Timestamp(0) };
                            agents.insert(loaded.value.instance_uid, entry);
                        }
                        Err(error) => tracing::error!(%error, "left out of the view"),
                    }
                }
                cursor = page.next;
            }
        }
        Ok(agents)
    }
}
