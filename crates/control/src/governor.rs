//! Moves assignments on as their agents answer, and stops those that fail. It only counts and
//! decides; who is let through is found by the reconciler.

use std::sync::Arc;

use bus::v1::IntentChanged;
use bus::{Client, Subject};
use model::brake::Stage;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::error::within;
use crate::ledger::{Advance, Ledger};
use crate::reconcile::{Decided, Hearer};
use crate::view::View;
use crate::{Error, Limits};

/// Looks after the brakes of all assignments. Several controls may do so at once: a stage is only
/// written over the one it was decided on.
#[derive(Debug, Clone)]
pub(crate) struct Governor {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    pub(crate) decided: Decided,
}

impl Governor {
    /// Looks whenever agents answer while something is on its way, and from time to time; for
    /// ever.
    pub(crate) async fn run(self) {
        let mut own = self.decided.subscribe(Hearer::Governor);
        let mut tick = interval(self.limits.brake_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expecting = false;
        loop {
            tokio::select! {
                biased;
                // Its sender is in self, so it cannot be gone.
                _ = own.changed() => { own.borrow_and_update(); }
                () = self.view.stirred(), if expecting => {}
                _ = tick.tick() => {}
            }
            if !self.view.ready() {
                continue;
            }
            let start = Instant::now();
            match self.look().await {
                Ok(more) => expecting = more,
                Err(error) => tracing::warn!(%error, "assignments are not moved on"),
            }
            // A look goes through the whole fleet: let others have four times as long.
            sleep(self.limits.brake_pace.max(start.elapsed() * 4)).await;
        }
    }

    /// One look; says whether agents are about to answer.
    async fn look(&self) -> Result<bool, Error> {
        let (assignments, _) = self.ledger.assignments().await?;
        metrics::counter!("muster_control_brake_looks_total").increment(1);
        metrics::gauge!("muster_control_offers_held").set(if assignments.hold.is_some() {
            1.0
        } else {
            0.0
        });
        let on_its_way = assignments.list.iter().any(|found| found.brake.is_on_its_way());
        if !on_its_way {
            count_in_flight(0);
            return Ok(false);
        }
        let tallies = self.view.tallies(&assignments);
        let in_flight = tallies.values().map(|tally| tally.in_flight).sum();
        count_in_flight(in_flight);
        if assignments.hold.is_some() {
            return Ok(false);
        }
        let next = |found: &model::assign::Assignment| {
            let to = found.brake.next(tallies.get(&found.name)?)?;
            Some(Advance { name: found.name.clone(), from: found.brake.stage, to })
        };
        let steps: Vec<Advance> = assignments.list.iter().filter_map(next).collect();
        if !steps.is_empty() {
            let (moved, decision) = self.ledger.advance(&steps).await?;
            self.tell(&moved, decision).await;
        }
        Ok(in_flight > 0 || !steps.is_empty())
    }

    async fn tell(&self, moved: &[Advance], decision: u64) {
        for Advance { name, to, .. } in moved {
            match to {
                Stage::Stopped { failed } => {
                    metrics::counter!("muster_control_stopped_total").increment(1);
                    tracing::warn!(assignment = name, failed, "stopped: too many agents failed");
                }
                Stage::Done => tracing::info!(assignment = name, "every agent has answered"),
                Stage::Releasing(_) | Stage::Released => {
                    tracing::debug!(assignment = name, ?to, "moved on");
                }
            }
        }
        self.decided.tell(decision);
        let changed = IntentChanged { decision };
        let told = self.bus.publish(&Subject::Intent, &changed);
        if let Err(error) = within(self.limits.bus_timeout, "the bus", told).await {
            tracing::warn!(%error, decision, "workers hear of it late");
        }
    }
}

/// Agents let through that have not answered, while any assignment is on its way.
fn count_in_flight(agents: usize) {
    metrics::gauge!("muster_control_offers_in_flight")
        .set(f64::from(u32::try_from(agents).unwrap_or(u32::MAX)));
}
