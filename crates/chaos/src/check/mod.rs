//! What must hold once a fault is healed: one invariant, one file.

mod connections;
mod decisions;
mod offers;
mod processes;
mod records;
mod stored;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use control::v1::Agent;

use crate::campaign::Campaign;
use crate::limits::{CONFIGS, RECORDS, REST_EVERY};
use crate::story::Violation;

/// Whose connections a fault may break.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Agents at these gateways, by the gateways' numbers.
    pub(crate) gateways: BTreeSet<usize>,
    /// Agents that come through these doors.
    pub(crate) doors: BTreeSet<usize>,
    /// A control itself: it need not answer in time.
    pub(crate) control: bool,
    /// Records are lost or garbled by the fault itself.
    pub(crate) records: bool,
}

/// What a check remembers for the next one.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Connections of each agent.
    connections: Vec<u64>,
    /// Number of each agent's gateway.
    at: Vec<Option<usize>>,
    /// Connections that each gateway has given away to others.
    shed: Vec<f64>,
    /// The newest decision that each agent was offered, and that it applied.
    offered: Vec<Option<usize>>,
    applied: Vec<Option<usize>>,
    /// The newest epoch of each agent that each control has shown. They hear of it by themselves,
    /// one later than the other.
    epochs: Vec<Vec<u64>>,
}

impl Memory {
    pub(crate) fn new(agents: usize, controls: usize) -> Self {
        Self {
            connections: vec![0; agents],
            at: vec![None; agents],
            shed: Vec::new(),
            offered: vec![None; agents],
            applied: vec![None; agents],
            epochs: vec![vec![0; agents]; controls],
        }
    }
}

impl Campaign {
    /// Waits until everybody is there for the first time.
    pub(crate) async fn begin(&mut self, limit: Duration) -> Result<(), Violation> {
        self.records_equal_reports(Instant::now(), limit).await
    }

    /// All that must hold at a heal. Returns how long it took until records were right.
    pub(crate) async fn check(
        &mut self,
        number: u64,
        touched: &Touched,
    ) -> Result<Duration, Violation> {
        let healed = Instant::now();
        self.processes_are_there(healed).await?;
        self.records_equal_reports(healed, RECORDS).await?;
        self.stored_equal_reports(touched.records, healed, RECORDS).await?;
        let took = healed.elapsed();
        self.untouched_stayed(touched)?;
        self.offers_never_go_back().await?;
        self.decisions_are_kept().await?;
        if let Some(found) = self.operators.book().await.violations.first() {
            return Err(found.clone());
        }
        if number.is_multiple_of(REST_EVERY) {
            self.rest().await?;
        }
        Ok(took)
    }

    /// What can be judged while other faults are still felt; at rests, all of it.
    pub(crate) async fn look(&mut self, number: u64) -> Result<Duration, Violation> {
        let healed = Instant::now();
        self.processes_are_there(healed).await?;
        let took = healed.elapsed();
        self.offers_never_go_back().await?;
        if let Some(found) = self.operators.book().await.violations.first() {
            return Err(found.clone());
        }
        if number.is_multiple_of(REST_EVERY) {
            self.rest().await?;
            self.decisions_are_kept().await?;
        }
        Ok(took)
    }

    /// Waits until everybody runs what was decided for them.
    pub(crate) async fn rest(&mut self) -> Result<(), Violation> {
        let start = Instant::now();
        self.records_equal_reports(start, CONFIGS).await?;
        self.agents_run_what_was_decided(start, CONFIGS).await?;
        self.stored_equal_reports(true, start, CONFIGS).await?;
        self.offers_never_go_back().await
    }

    /// The fleet as one of the controls sees it, with its number; for a while that may be none.
    async fn fleet(&mut self) -> Option<(usize, Vec<Agent>)> {
        let control = self.turn % self.apis.len();
        self.turn += 1;
        match self.apis[control].fleet().await {
            Ok(fleet) => Some((control, fleet)),
            Err(status) => {
                self.story.note(format_args!("fleet not listed: {status}"));
                None
            }
        }
    }
}
