//! Agents that are more than a fleet should have to bear.

use super::{Act, Scenario};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentFault {
    /// Two with one uid.
    Clones,
    /// Some whose network vanishes without a word.
    HalfOpen,
    /// One that says more than anybody can hear.
    Flood,
    /// All connections cut at once.
    ResetStorm,
    /// One that connects, speaks and dies, again and again.
    CrashLoop,
    /// Many new ones at once that leave again.
    Crowd,
    /// One that speaks no protocol.
    Garbage,
}

/// id, what, how it heals, fault, in the short form.
const TABLE: &[(&str, &str, &str, AgentFault, bool)] = &[
    ("clones", "two agents have one uid", "they end", AgentFault::Clones, false),
    (
        "half-open",
        "agents vanish without a word",
        "given up by gateways",
        AgentFault::HalfOpen,
        false,
    ),
    ("flood", "an agent speaks without pause", "it ends", AgentFault::Flood, false),
    ("reset-storm", "all agents' connections are reset", "by itself", AgentFault::ResetStorm, true),
    (
        "crash-loop",
        "an agent connects and dies all the time",
        "it ends",
        AgentFault::CrashLoop,
        false,
    ),
    ("crowd", "many new agents come at once", "they leave", AgentFault::Crowd, false),
    ("garbage", "a client speaks no protocol", "it ends", AgentFault::Garbage, true),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |row: &(&str, &'static str, &'static str, AgentFault, bool)| {
        let (id, what, heals, fault, smoke) = *row;
        Scenario {
            id: format!("agents/{id}"),
            what,
            heals,
            act: Act::Agents(fault),
            smoke,
            waits_for: None,
        }
    };
    TABLE.iter().map(scenario).collect()
}
