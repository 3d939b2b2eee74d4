//! Brings what agents are offered in line with what operators decided. It only finds the agents;
//! workers change their records and tell them.
//!
//! Nothing is remembered between looks at the fleet: what failed is still outdated in the view,
//! and the next look finds it there.

use std::sync::Arc;

use bus::{Client, Inbox, Subject, v1};
use futures_util::StreamExt as _;
use opamp::InstanceUid;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::backoff::Backoff;
use crate::error::within;
use crate::ledger::Ledger;
use crate::view::View;
use crate::{Error, Limits};

/// Intent messages waiting. Each says the same: read the ledger.
const INTENT_INBOX_MAX: usize = 64;

/// The way to tell the reconciler of a decision made here.
#[derive(Debug, Clone)]
pub(crate) struct Decided(Arc<[watch::Sender<u64>; 2]>);

/// Who hears of decisions. Each has a channel of its own: one channel would wake them in random
/// order, and what follows from that could not be repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hearer {
    Reconciler,
    Governor,
}

impl Decided {
    pub(crate) fn new() -> Self {
        Self(Arc::new([watch::Sender::new(0), watch::Sender::new(0)]))
    }

    /// Hears of decisions from now on.
    pub(crate) fn subscribe(&self, hearer: Hearer) -> watch::Receiver<u64> {
        self.0[hearer as usize].subscribe()
    }

    /// A decision is stored. Does not wait: whoever asked for it is answered now.
    pub(crate) fn tell(&self, decision: u64) {
        for hearer in &*self.0 {
            hearer.send_if_modified(|newest| {
                let newer = decision > *newest;
                *newest = decision.max(*newest);
                newer
            });
        }
    }
}

/// Finds agents that are offered something else than was decided.
#[derive(Debug, Clone)]
pub(crate) struct Reconciler {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    /// Rung when the view was built anew.
    pub(crate) rebuilt: Arc<Notify>,
    /// Decisions made here.
    pub(crate) decided: Decided,
}

/// Why the fleet is looked at.
enum Cause {
    Own,
    Told(u64),
    Everyone,
}

/// What a look at the fleet came to.
#[derive(Debug)]
struct Look {
    decision: u64,
    /// Agents that may not be in line yet.
    left: usize,
}

impl Reconciler {
    /// Reconciles after each decision, whoever made it, and from time to time; for ever.
    pub(crate) async fn run(self) {
        let mut own = self.decided.subscribe(Hearer::Reconciler);
        let mut told: Option<Inbox<v1::IntentChanged>> = None;
        let mut periodic = interval(self.limits.reconcile_interval);
        periodic.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settled = None;
        loop {
            let cause = tokio::select! {
                biased;
                // Its sender is in self, so it cannot be gone.
                _ = own.changed() => { own.borrow_and_update(); Cause::Own }
                () = self.rebuilt.notified() => Cause::Everyone,
                decision = next(&mut told) => match decision {
                    Some(decision) => Cause::Told(decision),
                    None => continue,
                },
                _ = periodic.tick() => Cause::Everyone,
            };
            if told.is_none() {
                told = self.listen().await;
            }
            match cause {
                // Mostly the echo of what was decided here.
                Cause::Told(decision) if settled >= Some(decision) => continue,
                Cause::Own | Cause::Told(_) | Cause::Everyone => {}
            }
            if !self.view.ready() {
                continue;
            }
            match self.look(matches!(cause, Cause::Everyone), &own).await {
                Ok(look) => settled = Some(look.decision).filter(|_| look.left == 0),
                Err(error) => tracing::warn!(%error, "reconciliation put off"),
            }
        }
    }

    async fn listen(&self) -> Option<Inbox<v1::IntentChanged>> {
        let inbox = self.bus.subscribe(&Subject::Intent, INTENT_INBOX_MAX);
        let inbox = within(self.limits.bus_timeout, "the bus", inbox).await;
        inbox.inspect_err(|error| tracing::warn!(%error, "others' decisions go unheard")).ok()
    }

    /// One look at the fleet. A look at `everyone` also takes in those who were told and stay
    /// silent: what they were told may have been lost.
    async fn look(&self, everyone: bool, newer: &watch::Receiver<u64>) -> Result<Look, Error> {
        let (assignments, decision) = self.ledger.assignments().await?;
        let mut agents = self.view.outdated(&assignments, decision);
        metrics::counter!("muster_control_reconciliations_total").increment(1);
        metrics::gauge!("muster_control_outdated_agents")
            .set(f64::from(u32::try_from(agents.len()).unwrap_or(u32::MAX)));
        if everyone && assignments.hold.is_none() {
            agents.extend(self.view.unanswered());
            agents.sort_unstable();
            agents.dedup();
        }
        let chunks: Vec<Vec<InstanceUid>> =
            agents.chunks(self.limits.reassess_max).map(<[_]>::to_vec).collect();
        let all_at_once = chunks.len() <= self.limits.reassess_in_flight_max;
        let asks = chunks.into_iter().map(|chunk| self.ask(chunk, decision, newer));
        let done = futures_util::stream::iter(asks)
            .buffer_unordered(self.limits.reassess_in_flight_max)
            .fold(0, async |sum, failed| sum + failed);
        let (left, failed) = tokio::select! {
            biased;
            failed = done => (failed, failed),
            // Workers have it all in hand, and wait for an agent that does not read, maybe: nobody
            // waits with them for what was decided since.
            () = superseded(newer), if all_at_once => (agents.len(), 0),
        };
        metrics::counter!("muster_control_reassessed_total").increment(agents.len() as u64);
        metrics::counter!("muster_control_reassess_failed_total").increment(failed as u64);
        Ok(Look { decision, left })
    }

    /// Has workers look at agents again; returns how many they could not. `newer` ends the
    /// patience: another decision is another look at everybody.
    async fn ask(
        &self,
        agents: Vec<InstanceUid>,
        decision: u64,
        newer: &watch::Receiver<u64>,
    ) -> usize {
        let instance_uids = agents.iter().map(|uid| uid.as_bytes().to_vec().into()).collect();
        let ask = v1::Reassess { instance_uids, decision, labels: false, credentials: false };
        let timeout = self.limits.reassess_timeout;
        let mut backoff = Backoff::new(&self.limits);
        let mut left = agents.len();
        for attempt in 1..=self.limits.reassess_tries {
            match self.bus.request(&Subject::Reassess, &ask, timeout).await {
                Ok(reply) => {
                    left = usize::try_from(reply.failed).unwrap_or(usize::MAX);
                    let (agents, sent) = (agents.len(), reply.sent);
                    tracing::debug!(agents, decision, sent, failed = left, "reassessed");
                }
                Err(error) => tracing::debug!(%error, attempt, "no worker answered"),
            }
            let superseded = newer.has_changed().unwrap_or(true);
            if left == 0 || superseded || attempt == self.limits.reassess_tries {
                break;
            }
            backoff.wait().await;
        }
        if left > 0 {
            tracing::warn!(agents = left, decision, "not reassessed");
        }
        left
    }
}

/// Waits for a decision that was not looked at yet.
async fn superseded(newer: &watch::Receiver<u64>) {
    // Its sender is in whoever asks, so it cannot be gone.
    let _ = newer.clone().changed().await;
}

/// The next decision somebody tells of; `None` when the inbox is lost. Waits for ever without one.
async fn next(inbox: &mut Option<Inbox<v1::IntentChanged>>) -> Option<u64> {
    let Some(open) = inbox else { return std::future::pending().await };
    let received = open.next().await;
    if received.is_none() {
        *inbox = None;
    }
    received.map(|received| received.body.decision)
}
