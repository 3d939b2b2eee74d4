//! I1: each live agent's record equals what that agent last reported, and says where it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control::v1::{Agent, ConfigStatus, ConnectionStatus};

use crate::book::Known;
use crate::campaign::Campaign;
use crate::crowd::number;
use crate::limits::LOOK;
use crate::operator::LABEL;
use crate::story::{Violation, violation};

impl Campaign {
    /// Agents go on changing: each has to be seen right once.
    pub(super) async fn records_equal_reports(
        &mut self,
        healed: Instant,
        limit: Duration,
    ) -> Result<(), Violation> {
        let said: Vec<u64> = self.crowd.members.iter().map(|member| member.said()).collect();
        let mut wrong: Vec<usize> = (0..said.len()).collect();
        let mut last = String::new();
        while !wrong.is_empty() {
            if healed.elapsed() > limit {
                let first = &self.crowd.members[wrong[0]].name;
                let found = format!(
                    "{} of {} records are not what agents last reported {limit:?} after the \
                     heal; {first} {last}",
                    wrong.len(),
                    said.len()
                );
                return Err(violation("I1", found));
            }
            if let Some((control, fleet)) = self.fleet().await {
                let fleet = by_name(fleet);
                self.epochs_never_go_back(control, &fleet)?;
                wrong.retain(|index| {
                    let found = fleet.get(&self.crowd.members[*index].name);
                    found.is_none_or(|agent| {
                        agent.status() != ConnectionStatus::Connected
                            || status_of(agent) < said[*index]
                    })
                });
                if let Some(index) = wrong.first() {
                    let found = fleet.get(&self.crowd.members[*index].name);
                    last = found.map_or_else(
                        || "is not listed".to_owned(),
                        |agent| {
                            let (is, stored) = (agent.status(), status_of(agent));
                            format!("is {is:?} with {stored} instead of {}", said[*index])
                        },
                    );
                }
            }
            if !wrong.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// I4: an owner is never followed by an older one.
    fn epochs_never_go_back(
        &mut self,
        control: usize,
        fleet: &BTreeMap<String, Agent>,
    ) -> Result<(), Violation> {
        let epochs = &mut self.memory.epochs[control];
        for (member, newest) in self.crowd.members.iter().zip(epochs) {
            let Some(agent) = fleet.get(&member.name) else { continue };
            if agent.epoch < *newest && !self.lenient {
                let (name, epoch) = (&agent.name, agent.epoch);
                let found = format!("{name} went from {newest} to {epoch} at control {control}");
                return Err(violation("I4", found));
            }
            *newest = agent.epoch;
        }
        Ok(())
    }

    /// Every agent runs what was decided for its group, and has its label.
    pub(super) async fn agents_run_what_was_decided(
        &mut self,
        healed: Instant,
        limit: Duration,
    ) -> Result<(), Violation> {
        loop {
            let mut wrong = Vec::new();
            if let Some((_, fleet)) = self.fleet().await {
                let fleet = by_name(fleet);
                let book = self.operators.book().await;
                for member in self.crowd.members.iter() {
                    let group = &book.groups[member.group];
                    let agent = fleet.get(&member.name);
                    if let Some(decision) = group.holds()
                        && !agent.is_some_and(|agent| runs(agent, &decision.hash))
                    {
                        let config = agent.and_then(|agent| agent.config.clone());
                        wrong.push(format!(
                            "{} is to run {}, and is {config:?}",
                            member.name, decision.revision
                        ));
                    }
                    let label = agent.and_then(|agent| agent.labels.get(LABEL));
                    if let Some((value, Known::Sure)) = group.label
                        && label != Some(&value.to_string())
                    {
                        wrong.push(format!("{} is to have label {value}: {label:?}", member.name));
                    }
                }
            } else {
                wrong.push("the fleet is not listed".to_owned());
            }
            let Some(first) = wrong.first() else { return Ok(()) };
            if healed.elapsed() > limit {
                let found = format!("{} agents, {limit:?} after a rest: {first}", wrong.len());
                return Err(violation("I1", found));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

pub(super) fn by_name(fleet: Vec<Agent>) -> BTreeMap<String, Agent> {
    fleet.into_iter().map(|agent| (agent.name.clone(), agent)).collect()
}

fn status_of(agent: &Agent) -> u64 {
    agent.health.as_ref().map_or(0, |health| number(&health.status))
}

fn runs(agent: &Agent, hash: &[u8]) -> bool {
    let Some(config) = &agent.config else { return false };
    config.status() == ConfigStatus::Applied && config.reported_hash == hash
}
