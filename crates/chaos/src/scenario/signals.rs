//! Processes that die, stand still, or are asked to end.

use super::{Act, Scenario};

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Gateway,
    Worker,
    Control,
    Nats,
    Records,
    Ledger,
}

/// What is done to one process of a role, drawn by lot, or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalFault {
    pub(crate) role: Role,
    pub(crate) all: bool,
    pub(crate) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Kill,
    Stop,
    Terminate,
}

/// id, what, role, all, how, in the short form.
const TABLE: &[(&str, &str, Role, bool, How, bool)] = &[
    ("gateway-kill", "a gateway is killed", Role::Gateway, false, How::Kill, true),
    ("gateway-stop", "a gateway stands still", Role::Gateway, false, How::Stop, true),
    ("gateway-term", "a gateway is asked to end", Role::Gateway, false, How::Terminate, true),
    ("gateways-kill", "all gateways are killed", Role::Gateway, true, How::Kill, true),
    ("gateways-stop", "all gateways stand still", Role::Gateway, true, How::Stop, true),
    ("worker-kill", "a worker is killed", Role::Worker, false, How::Kill, true),
    ("worker-stop", "a worker stands still", Role::Worker, false, How::Stop, true),
    ("worker-term", "a worker is asked to end", Role::Worker, false, How::Terminate, true),
    ("workers-kill", "all workers are killed", Role::Worker, true, How::Kill, true),
    ("workers-stop", "all workers stand still", Role::Worker, true, How::Stop, true),
    ("control-kill", "a control is killed", Role::Control, false, How::Kill, true),
    ("control-stop", "a control stands still", Role::Control, false, How::Stop, true),
    ("control-term", "a control is asked to end", Role::Control, false, How::Terminate, true),
    ("controls-kill", "all controls are killed", Role::Control, true, How::Kill, true),
    ("nats-kill", "a NATS server is killed", Role::Nats, false, How::Kill, false),
    ("nats-stop", "a NATS server stands still", Role::Nats, false, How::Stop, false),
    ("nats-all-kill", "all NATS servers are killed", Role::Nats, true, How::Kill, false),
    ("nats-all-stop", "all NATS servers stand still", Role::Nats, true, How::Stop, false),
    ("records-kill", "the records' Redis is killed", Role::Records, false, How::Kill, false),
    ("records-stop", "the records' Redis stands still", Role::Records, false, How::Stop, false),
    ("ledger-kill", "the ledger's Redis is killed", Role::Ledger, false, How::Kill, false),
    ("ledger-stop", "the ledger's Redis stands still", Role::Ledger, false, How::Stop, false),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |row: &(&str, &'static str, Role, bool, How, bool)| {
        let (id, what, role, all, how, smoke) = *row;
        Scenario {
            id: format!("signal/{id}"),
            what,
            heals: match how {
                How::Kill | How::Terminate => "started again on its port and data",
                How::Stop => "goes on",
            },
            act: Act::Signal(SignalFault { role, all, how }),
            smoke,
            waits_for: None,
        }
    };
    TABLE.iter().map(scenario).collect()
}
