//! I2, for what is to last: an order that was accepted is in the ledger, and in the end every agent
//! that it is about runs what it says.

use std::collections::BTreeMap;

use model::ConfigHash;
use opamp::v1::{AgentConfigFile, RemoteConfigStatuses};

use super::{Evidence, Violation, violation};
use crate::history::{History, Order, Wish};

/// Accepted orders that the ledger does not know.
pub(super) fn lost(evidence: &Evidence, history: &History) -> Vec<Violation> {
    let configs = history.orders.iter().filter_map(|order| config_lost(evidence, order));
    configs.chain(assignments_lost(evidence, &history.orders)).collect()
}

fn config_lost(evidence: &Evidence, order: &Order) -> Option<Violation> {
    let Wish::Config { name, text } = &order.wish else { return None };
    if order.done != Some(true) {
        return None;
    }
    let file = AgentConfigFile { body: text.clone().into(), ..Default::default() };
    let hash = ConfigHash::of(&[(String::new(), file)].into());
    let kept = evidence
        .configs
        .get(name)
        .is_some_and(|config| config.revisions.iter().any(|revision| revision.hash == hash));
    let what = || format!("revision {text:?} of {name}, accepted at {}, is gone", order.at);
    (!kept).then(|| violation("I2", what()))
}

/// An assignment's selector, priority and config, if it is there.
type State<'a> = Option<(&'a str, i64, &'a str)>;

/// For each name: what the last accepted order made of it, unless one of unknown fate came later.
fn assignments_lost(evidence: &Evidence, orders: &[Order]) -> Vec<Violation> {
    let mut possible: BTreeMap<&str, Vec<State<'_>>> = BTreeMap::new();
    for order in orders {
        let (name, after) = match &order.wish {
            Wish::Assign { name, selector, priority, config } => {
                (name, Some((selector.as_str(), *priority, config.as_str())))
            }
            Wish::Unassign { name } => (name, None),
            _ => continue,
        };
        let states = possible.entry(name).or_insert_with(|| vec![None]);
        match order.done {
            Some(true) => *states = vec![after],
            Some(false) => {}
            None => states.push(after),
        }
    }
    let mut found = Vec::new();
    for (name, states) in possible {
        let list = &evidence.assignments.list;
        let now = list.iter().find(|assignment| assignment.name == name).map(|assignment| {
            let config = assignment.content.config().map_or("", |config| config.config.as_str());
            (assignment.selector.as_str(), assignment.priority, config)
        });
        if !states.contains(&now) {
            let what = format!("assignment {name} is {now:?}, orders made it {states:?}");
            found.push(violation("I2", what));
        }
    }
    found
}

/// Agents that do not run what was decided for them.
pub(super) fn unfinished(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for agent in &evidence.agents {
        let Some(record) = evidence.records.get(&agent.uid) else { continue };
        let labels = evidence.labels.get(&agent.uid).cloned().unwrap_or_default();
        if record.labels != labels {
            let what = format!("agent {} has other labels than {labels:?}", agent.index);
            found.push(violation("I2", what));
        }
        let hash = &agent.status.last_remote_config_hash[..];
        let Some((assignment, config)) = evidence.assignments.config(record) else {
            // What was offered before nothing was decided any more is offered still.
            let open = record.offered.config.as_ref().is_some_and(|offer| hash != offer.hash.0);
            if open {
                let what = format!("agent {} has not answered its offer", agent.index);
                found.push(violation("I2", what));
            }
            continue;
        };
        let applied = agent.status.status == i32::from(RemoteConfigStatuses::Applied);
        let offered = record.offered.config.as_ref() == Some(config);
        if !applied || !offered || hash != config.hash.0 {
            let name = &assignment.name;
            let what = format!("agent {} does not run what {name} says", agent.index);
            found.push(violation("I2", what));
        }
    }
    found
}
