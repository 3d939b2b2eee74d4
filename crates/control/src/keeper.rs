//! Keeps house: agents that were silent for too long are forgotten, and labels that did not reach
//! an agent's record are told again.

use std::sync::Arc;
use std::time::Duration;

use bus::v1::forget::Target;
use bus::v1::forget_reply::Outcome;
use bus::v1::{Forget, Reassess};
use bus::{Client, Subject};
use model::Timestamp;
use opamp::InstanceUid;
use tokio::time::{MissedTickBehavior, interval};

use crate::leader::Leads;
use crate::ledger::Ledger;
use crate::view::View;
use crate::{Error, Limits};

/// Looks through the fleet now and then, if its control leads.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pub(crate) limits: Limits,
    /// How long an agent may be away; for ever without it.
    pub(crate) forget_after: Option<Duration>,
    pub(crate) view: Arc<View>,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    pub(crate) leads: Leads,
}

impl Keeper {
    /// Keeps house, for ever.
    pub(crate) async fn run(self) {
        let mut tick = interval(self.limits.keep_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !self.leads.now() || !self.view.ready() {
                continue;
            }
            if let Err(error) = self.forget_silent().await {
                tracing::warn!(%error, "silent agents stay until the next look");
            }
            if let Err(error) = self.repair_labels().await {
                tracing::warn!(%error, "labels not compared");
            }
        }
    }

    async fn forget_silent(&self) -> Result<(), Error> {
        let Some(after) = self.forget_after else { return Ok(()) };
        let (silent, since) = self.view.silent_for(after);
        for batch in silent.chunks(self.limits.reassess_max) {
            let gone = forget(&self.bus, &self.limits, batch, since).await?;
            // Labels last: left over, they would only wait for an agent that comes back.
            self.ledger.drop_labels(&gone).await?;
            metrics::counter!("muster_control_forgotten_total").increment(gone.len() as u64);
            tracing::info!(agents = gone.len(), "forgotten after their silence");
        }
        Ok(())
    }

    async fn repair_labels(&self) -> Result<(), Error> {
        let wrong = self.view.labelled_otherwise(&self.ledger.labels().await?);
        relabelled(&self.bus, &self.limits, &wrong).await
    }
}

/// Has workers forget agents, each at the version it was judged by and unless they were heard since
/// a time; returns those that are gone.
pub(crate) async fn forget(
    bus: &Client,
    limits: &Limits,
    agents: &[(InstanceUid, u64)],
    since: Timestamp,
) -> Result<Vec<InstanceUid>, Error> {
    let target = |(uid, version): &(InstanceUid, u64)| Target {
        instance_uid: uid.as_bytes().to_vec().into(),
        version: *version,
    };
    let targets = agents.iter().map(target).collect();
    let ask = Forget { targets, unseen_since_unix_ms: since.0 };
    let reply = bus.request(&Subject::Forget, &ask, limits.worker_timeout).await?;
    let forgotten = |outcome: &i32| *outcome == i32::from(Outcome::Forgotten);
    let gone = agents.iter().zip(&reply.outcomes).filter(|(_, outcome)| forgotten(outcome));
    Ok(gone.map(|((uid, _), _)| *uid).collect())
}

/// Has workers copy agents' labels into their records.
pub(crate) async fn relabelled(
    bus: &Client,
    limits: &Limits,
    agents: &[InstanceUid],
) -> Result<(), Error> {
    let ask = Reassess { labels: true, ..Default::default() };
    copied(bus, limits, agents, ask, limits.worker_timeout).await
}

/// The same with how they stand with their credentials, and tell them what follows from that.
pub(crate) async fn admitted(
    bus: &Client,
    limits: &Limits,
    agents: &[InstanceUid],
) -> Result<(), Error> {
    let ask = Reassess { labels: true, credentials: true, ..Default::default() };
    copied(bus, limits, agents, ask, limits.reassess_timeout).await
}

async fn copied(
    bus: &Client,
    limits: &Limits,
    agents: &[InstanceUid],
    ask: Reassess,
    timeout: Duration,
) -> Result<(), Error> {
    for batch in agents.chunks(limits.reassess_max) {
        let instance_uids = batch.iter().map(|uid| uid.as_bytes().to_vec().into()).collect();
        let ask = Reassess { instance_uids, ..ask.clone() };
        let reply = bus.request(&Subject::Reassess, &ask, timeout).await?;
        if reply.failed > 0 {
            let reason = format!("{} agents could not be written", reply.failed);
            return Err(Error::Unavailable(reason));
        }
    }
    Ok(())
}
