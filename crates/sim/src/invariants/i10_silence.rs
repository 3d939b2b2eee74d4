//! I10: while nothing happens, sessions cost no record write and no report, and presence is one
//! message a second and gateway.

use std::time::Duration;

use super::{Costs, Evidence, Violation, violation};

/// Gateways there may be.
const GATEWAYS_MAX: u64 = 3;

pub(super) fn decide(costs: &Costs, evidence: &Evidence, lasted: Duration) -> Vec<Violation> {
    let polls = evidence.agents.iter().filter(|agent| agent.polls).count() as u64;
    let seconds = lasted.as_secs() + 1;
    // Polls are announced as they come: each is a request of its own.
    let presence_max = GATEWAYS_MAX * seconds + polls * seconds;
    let mut found = Vec::new();
    if costs.records_written > 0 {
        found.push(violation("I10", format!("{} records written", costs.records_written)));
    }
    if costs.session_reports > 0 {
        found.push(violation("I10", format!("{} heartbeats reported", costs.session_reports)));
    }
    if costs.presence_messages > presence_max {
        found.push(violation("I10", format!("{} presence messages", costs.presence_messages)));
    }
    found
}
