//! What is done to a cluster, as data. One file for each family.

mod agents;
mod nats;
mod redis;
mod signals;
mod wire;

pub(crate) use agents::AgentFault;
pub(crate) use nats::NatsFault;
pub(crate) use redis::{RedisFault, Which};
pub(crate) use signals::{How, Role, SignalFault};
pub(crate) use wire::{Edges, Toxic};

use crate::draw::Draw;

/// One scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) id: String,
    /// What is done.
    pub(crate) what: &'static str,
    /// How it heals.
    pub(crate) heals: &'static str,
    pub(crate) act: Act,
    /// Whether the short form has it.
    pub(crate) smoke: bool,
    /// Why it is not drawn yet.
    pub(crate) waits_for: Option<&'static str>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// To processes, by signals.
    Signal(SignalFault),
    /// To connections, by proxies.
    Wire(Edges, Toxic),
    /// To a Redis, by its own commands.
    Redis(Which, RedisFault),
    /// To NATS servers.
    Nats(NatsFault),
    /// By agents.
    Agents(AgentFault),
    /// Two others at once.
    Pair,
}

/// Every scenario there is.
pub(crate) fn table() -> Vec<Scenario> {
    let mut table = signals::scenarios();
    table.extend(wire::scenarios());
    table.extend(redis::scenarios());
    table.extend(nats::scenarios());
    table.extend(agents::scenarios());
    table.push(Scenario {
        id: "pair".to_owned(),
        what: "two other scenarios at once",
        heals: "each as it does alone",
        act: Act::Pair,
        smoke: false,
        waits_for: None,
    });
    table
}

impl Scenario {
    /// Whether one process, drawn by lot, is killed.
    pub(crate) fn kills_one(&self) -> bool {
        matches!(self.act, Act::Signal(SignalFault { all: false, how: How::Kill, .. }))
    }

    /// The part of the id before the first slash.
    fn family(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

/// One of these: first a family, so that large ones do not crowd out small ones.
pub(crate) fn draw<'a>(from: &'a [Scenario], draw: &mut Draw) -> &'a Scenario {
    let mut families: Vec<&str> = from.iter().map(Scenario::family).collect();
    families.dedup();
    // Processes die more often than anything else.
    families.extend(families.iter().copied().find(|family| *family == "signal"));
    let family = *draw.pick(&families);
    let members: Vec<&Scenario> = from.iter().filter(|one| one.family() == family).collect();
    members[draw.below(members.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_forty_and_no_id_is_there_twice() {
        let table = table();
        let ids: BTreeSet<&str> = table.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), table.len());
        assert!(table.iter().filter(|one| one.waits_for.is_none()).count() >= 40);
    }

    #[test]
    fn every_scenario_is_drawn_by_and_by() {
        let table = table();
        let mut lots = Draw::of(1, 1);
        let drawn: BTreeSet<&str> =
            (0..20_000).map(|_| draw(&table, &mut lots).id.as_str()).collect();
        assert_eq!(drawn.len(), table.len());
    }
}
