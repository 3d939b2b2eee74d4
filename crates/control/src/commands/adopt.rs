//! Looks through the ledger now and then: for open commands that nobody carries out, and, if this
//! control leads, for old ones to forget.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use store::{Key, Version};
use tokio::time::{MissedTickBehavior, interval};

use super::Commands;
use crate::leader::Leads;
use crate::ledger::{Filed, Ledger, Shelf};
use crate::processes::Processes;
use crate::{Error, Limits};

/// Looks at the commands of others, and at old ones.
#[derive(Debug, Clone)]
pub(crate) struct Adopter {
    pub(crate) limits: Limits,
    /// Name of this control.
    pub(crate) name: String,
    /// How long settled commands are kept.
    pub(crate) keep: Duration,
    pub(crate) ledger: Ledger,
    pub(crate) processes: Arc<Processes>,
    pub(crate) commands: Commands,
    pub(crate) leads: Leads,
}

impl Adopter {
    /// Looks, for ever. Those that name this control come first: it was here before.
    pub(crate) async fn run(self) {
        let mut tick = interval(self.limits.command_look_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = self.ledger.clock.now();
        loop {
            tick.tick().await;
            let shelf = match self.ledger.commands().await {
                Ok(shelf) => shelf,
                Err(error) => {
                    tracing::debug!(%error, "commands not looked through");
                    continue;
                }
            };
            let now = self.ledger.clock.now();
            if let Err(error) = self.adopt(&shelf, started, now).await {
                tracing::warn!(%error, "commands wait for the next look");
            }
            if self.leads.now()
                && let Err(error) = self.forget(&shelf, now).await
            {
                tracing::warn!(%error, "old commands stay until the next look");
            }
        }
    }

    async fn adopt(&self, shelf: &Shelf, started: Timestamp, now: Timestamp) -> Result<(), Error> {
        let alive = self.alive();
        // Nobody is silent whom one had no time to hear.
        let judges = self.leads.now() && now.millis_since(started) > self.limits.gateway_lease_ms;
        for filed in shelf.commands.iter().filter(|filed| !filed.is_settled(now)) {
            let driver = &filed.order.driver;
            if *driver == self.name {
                self.commands.adopted(filed.clone(), driver.clone()).await;
            } else if judges && !alive.contains(driver) {
                let taken = self.take_over(filed).await?;
                self.commands.adopted(taken, driver.clone()).await;
            }
        }
        Ok(())
    }

    fn alive(&self) -> BTreeSet<String> {
        let known = self.processes.known().processes;
        known.into_iter().filter(|heard| heard.alive).map(|heard| heard.said.process_id).collect()
    }

    /// Writes every part anew, so that whoever drove it cannot write any of them any more.
    async fn take_over(&self, filed: &Filed) -> Result<Filed, Error> {
        let (id, driver) = (filed.order.id, &filed.order.driver);
        let taken = self.ledger.change_command(&id, |filed| {
            let ours = filed.order.driver == self.name;
            filed.order.driver.clone_from(&self.name);
            // What was written before a conflict is written once more, which does no harm.
            let first = usize::from(ours && filed.parts.len() == 1);
            (first..filed.parts.len()).collect()
        });
        let taken = taken.await?;
        tracing::info!(command = %id, from = driver, "taken over");
        metrics::counter!("muster_control_commands_adopted_total").increment(1);
        Ok(taken)
    }

    /// Deletes commands that are settled for long, the oldest of too many, and what was left of
    /// commands that were not given after all.
    async fn forget(&self, shelf: &Shelf, now: Timestamp) -> Result<(), Error> {
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        let mut settled: Vec<(Timestamp, &Filed)> = shelf
            .commands
            .iter()
            .filter(|filed| filed.is_settled(now))
            .map(|filed| (filed.changed(), filed))
            .collect();
        settled.sort_by_key(|(changed, _)| *changed);
        let many = settled.len().saturating_sub(self.limits.commands_kept_max);
        let old = settled
            .iter()
            .enumerate()
            .filter(|(place, (changed, _))| *place < many || now.millis_since(*changed) >= keep);
        let gone: Vec<&Filed> = old.map(|(_, (_, filed))| *filed).collect();
        for filed in &gone {
            let version = |part: usize| (filed.key(part), filed.parts[part].version);
            let parts: Vec<(Key, Version)> = (0..filed.parts.len()).map(version).collect();
            let (first, others) = parts.split_at(1);
            self.ledger.drop_parts(first).await?;
            self.ledger.drop_parts(others).await?;
        }
        let abandoned = self.limits.command_orphan_ms;
        let orphans = shelf.orphans.iter();
        let orphans = orphans.filter(|(_, _, since)| now.millis_since(*since) >= abandoned);
        let orphans: Vec<(Key, Version)> =
            orphans.map(|(key, version, _)| (key.clone(), *version)).collect();
        self.ledger.drop_parts(&orphans).await?;
        if !gone.is_empty() {
            tracing::info!(commands = gone.len(), "old commands forgotten");
        }
        Ok(())
    }
}
