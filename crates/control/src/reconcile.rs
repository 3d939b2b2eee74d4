//! Brings what agents are offered in line with what operators decided. It only finds the agents;
//! workers change their records and tell them.

use std::sync::Arc;

use bus::{Client, Subject, v1};
use futures_util::StreamExt as _;
use opamp::InstanceUid;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::view::View;
use crate::{Error, Limits};

/// Intent messages waiting. Each says the same: read the ledger.
const INTENT_INBOX_MAX: usize = 64;

/// Finds agents that are offered something else than was decided.
#[derive(Debug, Clone)]
pub(crate) struct Reconciler {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    /// Rung when the view was built anew.
    pub(crate) rebuilt: Arc<Notify>,
}

impl Reconciler {
    /// Reconciles after each decision, whoever made it, and from time to time.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut decisions =
            self.bus.subscribe::<v1::IntentChanged>(&Subject::Intent, INTENT_INBOX_MAX).await?;
        let mut periodic = interval(self.limits.reconcile_interval);
        periodic.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let everyone = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = self.rebuilt.notified() => true,
                Some(_) = decisions.next() => false,
                _ = periodic.tick() => true,
            };
            if !self.view.ready() {
                continue;
            }
            if let Err(error) = self.pass(everyone).await {
                tracing::warn!(%error, "reconciliation put off");
            }
        }
    }

    /// One look at the fleet. A look at `everyone` also takes in those who were told and stay
    /// silent: what they were told may have been lost.
    async fn pass(&self, everyone: bool) -> Result<(), Error> {
        let (assignments, decision) = self.ledger.assignments().await?;
        let mut agents = self.view.outdated(&assignments, decision);
        metrics::gauge!("muster_control_outdated_agents")
            .set(f64::from(u32::try_from(agents.len()).unwrap_or(u32::MAX)));
        if everyone {
            agents.extend(self.view.unanswered());
            agents.sort_unstable();
            agents.dedup();
        }
        let chunks: Vec<Vec<InstanceUid>> =
            agents.chunks(self.limits.reassess_max).map(<[_]>::to_vec).collect();
        let asks = chunks.into_iter().map(|chunk| self.ask(chunk, decision));
        futures_util::stream::iter(asks)
            .buffer_unordered(self.limits.reassess_in_flight_max)
            .collect::<Vec<()>>()
            .await;
        Ok(())
    }

    async fn ask(&self, agents: Vec<InstanceUid>, decision: u64) {
        let instance_uids = agents.iter().map(|uid| uid.as_bytes().to_vec().into()).collect();
        let ask = v1::Reassess { instance_uids, decision };
        let timeout = self.limits.reassess_timeout;
        match self.bus.request(&Subject::Reassess, &ask, timeout).await {
            Ok(reply) => tracing::debug!(
                agents = agents.len(),
                decision,
                sent = reply.sent,
                failed = reply.failed,
                "reassessed"
            ),
            Err(error) => tracing::warn!(%error, agents = agents.len(), "not reassessed"),
        }
    }
}
