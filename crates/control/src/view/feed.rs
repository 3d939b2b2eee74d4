//! What keeps the view current: a snapshot, then the log from where it was before the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::v1::gateway_request;
use bus::{Client, Position, Subject, v1};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use model::{AgentSummary, GatewayId, Timestamp};
use opamp::InstanceUid;
use store::{Cursor, Key, POLLS, SHARDS, Store, Stored, Table, tables};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Entry, View};
use crate::backoff::Backoff;
use crate::error::within;
use crate::keeper::relabelled;
use crate::leader::Leads;
use crate::processes::Processes;
use crate::{Error, Limits};

/// The sources of a view.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) bus: Client,
    pub(crate) records: Arc<dyn Store>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) leads: Leads,
    /// Rung after each snapshot.
    pub(crate) rebuilt: Arc<Notify>,
    /// Rung when only another snapshot shows what is left of the records.
    pub(crate) outdated: Arc<Notify>,
}

impl Feed {
    /// Follows the fleet, for ever.
    pub(crate) async fn events(self) {
        let mut backoff = Backoff::new(&self.limits);
        loop {
            match self.snapshot().await {
                Ok(position) => {
                    self.rebuilt.notify_one();
                    let error = self.follow(position, &mut backoff).await;
                    tracing::warn!(%error, "view is built again");
                }
                Err(error) => tracing::warn!(%error, "fleet not read"),
            }
            backoff.wait().await;
        }
    }

    /// Listens to gateways, for ever.
    pub(crate) async fn presence(self) {
        let mut backoff = Backoff::new(&self.limits);
        loop {
            let inbox = self.bus.subscribe(&Subject::Presence, self.limits.presence_inbox_max);
            match within(self.limits.bus_timeout, "the bus", inbox).await {
                Ok(mut inbox) => {
                    backoff.reset();
                    while let Some(received) = inbox.next().await {
                        let presence: v1::Presence = received.body;
                        let others = self.view.heard(&presence);
                        self.processes.spoke(&presence);
                        self.doubt(&presence.gateway_id, others).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "gateways cannot be heard"),
            }
            backoff.wait().await;
        }
    }

    /// Hears how old the records are, for ever. When some were lost, agents are shown as they were
    /// known while they report again; then a snapshot shows who did not.
    pub(crate) async fn generations(self) {
        let (mut backoff, mut newest) = (Backoff::new(&self.limits), 0);
        loop {
            let inbox = self.bus.subscribe(&Subject::Generation, self.limits.status_inbox_max);
            match within(self.limits.bus_timeout, "the bus", inbox).await {
                Ok(mut inbox) => {
                    backoff.reset();
                    while let Some(received) = inbox.next().await {
                        let told: v1::Generation = received.body;
                        if newest != 0 && told.generation > newest {
                            tracing::warn!(generation = told.generation, "records were lost");
                            tokio::time::sleep(self.limits.return_window).await;
                            self.outdated.notify_one();
                        }
                        newest = newest.max(told.generation);
                    }
                }
                Err(error) => tracing::warn!(%error, "the records' age cannot be heard"),
            }
            backoff.wait().await;
        }
    }

    /// Has a gateway make sure of sessions, if this control leads.
    async fn doubt(&self, gateway: &str, instance_uids: Vec<Bytes>) {
        if instance_uids.is_empty() || gateway.is_empty() || !self.leads.now() {
            return;
        }
        let doubt = gateway_request::Request::Doubt(v1::Doubt { instance_uids });
        let request = v1::GatewayRequest { request: Some(doubt) };
        let subject = Subject::Gateway(GatewayId::new(gateway));
        let told = self.bus.publish(&subject, &request);
        if let Err(error) = within(self.limits.probe_timeout, "the bus", told).await {
            tracing::debug!(gateway, %error, "not told to make sure of sessions");
        }
    }

    /// Takes a snapshot. The log's position is taken before it: what changes meanwhile is read
    /// twice, and nothing is missed.
    async fn snapshot(&self) -> Result<Position, Error> {
        let start = Instant::now();
        let position = within(self.limits.bus_timeout, "the bus", self.bus.tail()).await?;
        let shards: Vec<Vec<(InstanceUid, Entry)>> =
            stream::iter((0..SHARDS).map(|number| self.clone().shard(number)))
                .buffer_unordered(self.limits.scans_max)
                .try_collect()
                .await?;
        let mut agents: BTreeMap<InstanceUid, Entry> = BTreeMap::new();
        for (uid, entry) in shards.into_iter().flatten() {
            // A scan may see a record twice.
            if agents.get(&uid).is_none_or(|before| before.version < entry.version) {
                agents.insert(uid, entry);
            }
        }
        tracing::info!(agents = agents.len(), took = ?start.elapsed(), "fleet read");
        self.view.replace(agents, position);
        metrics::histogram!("muster_control_snapshot_seconds")
            .record(start.elapsed().as_secs_f64());
        Ok(position)
    }

    async fn shard(self, number: u8) -> Result<Vec<(InstanceUid, Entry)>, Error> {
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let page = self.records.scan(Table::Agents, number, from);
            let page = within(self.limits.scan_timeout, "the store", page).await?;
            for (key, stored) in &page.entries {
                match entry(key, stored) {
                    Ok(agent) => found.push(agent),
                    Err(error) => {
                        metrics::counter!("muster_control_unreadable_total").increment(1);
                        tracing::error!(%error, "left out of the view");
                        broken.extend(InstanceUid::try_from(&key.id[..]));
                    }
                }
            }
            cursor = page.next;
        }
        self.hear_polls(&mut found).await?;
        // Whoever holds these agents asks them to report again.
        if let Err(error) = relabelled(&self.bus, &self.limits, &broken).await {
            tracing::warn!(%error, "no worker to rebuild records");
        }
        Ok(found)
    }

    /// When agents that poll were last heard. Their records do not say, and a control that waited
    /// for the next polls would take them all for gone meanwhile.
    async fn hear_polls(&self, found: &mut [(InstanceUid, Entry)]) -> Result<(), Error> {
        let polls = found.iter().filter(|(_, entry)| entry.summary.polls);
        let asked: Vec<(String, InstanceUid)> =
            polls.map(|(uid, _)| (POLLS.to_owned(), *uid)).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let seen = self.records.get_presence(&asked);
        let seen = within(self.limits.scan_timeout, "the store", seen).await?;
        let seen: BTreeMap<InstanceUid, Timestamp> =
            seen.into_iter().flatten().map(|found| (found.instance_uid, found.seen)).collect();
        for (uid, entry) in found {
            entry.heard = seen.get(uid).copied().unwrap_or(entry.heard);
        }
        Ok(())
    }

    /// Applies events until only another snapshot helps, and says why. A reader that is lost for
    /// another reason is opened again where it was.
    async fn follow(&self, mut next: Position, backoff: &mut Backoff) -> Error {
        loop {
            let read = tokio::select! {
                biased;
                () = self.outdated.notified() => {
                    return Error::Unavailable("records were lost".to_owned());
                }
                read = self.read(&mut next, backoff) => read,
            };
            let error = match read {
                Ok(()) => "the reader ended".to_owned(),
                Err(error @ bus::Error::OutOfRange { .. }) => return error.into(),
                Err(error) => error.to_string(),
            };
            metrics::counter!("muster_control_feed_restarts_total").increment(1);
            tracing::warn!(error, position = next.0, "event log is opened again");
            backoff.wait().await;
        }
    }

    async fn read(&self, next: &mut Position, backoff: &mut Backoff) -> Result<(), bus::Error> {
        let events = tokio::time::timeout(self.limits.bus_timeout, self.bus.events(*next));
        let late = |_| bus::Error::TimedOut("the event log".to_owned());
        let mut events = events.await.map_err(late)??;
        while let Some(event) = events.next().await {
            let (position, event) = event?;
            *next = Position(position.0 + 1);
            backoff.reset();
            let told = bus::event::decode(event);
            if let Some(told) = &told {
                // Before it is seen that the record is newer than what was said before.
                self.view.replies.note(told);
            }
            let applied = told.map(|told| self.view.apply(told));
            let applied = match applied {
                Some(true) => "yes",
                Some(false) => "old",
                None => "unreadable",
            };
            self.view.reached(*next);
            metrics::counter!("muster_control_events_total", "applied" => applied).increment(1);
        }
        Ok(())
    }
}

fn entry(key: &Key, stored: &Stored) -> Result<(InstanceUid, Entry), store::Error> {
    let record = tables::agents::decode(key, &stored.value)?.value;
    let summary = Arc::new(AgentSummary::from(&record));
    let entry = Entry { version: stored.version.0, summary, heard: Timestamp(0) };
    Ok((record.instance_uid, entry))
}
