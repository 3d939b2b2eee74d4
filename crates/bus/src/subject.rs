//! Who is spoken to. Subjects carry the fleet's prefix and the version of the protocol, so that
//! fleets share a bus and incompatible generations do not hear each other.

use model::GatewayId;

/// A destination on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Agents' reports, to any one worker.
    Report,
    /// Ended sessions, to any one worker.
    Close,
    /// Sessions that gateways still hold, to any one worker.
    Resume,
    /// Sessions of gateways that are gone, to any one worker.
    Reap,
    /// Agents whose offers may have changed, to any one worker.
    Reassess,
    /// Agents to forget, to any one worker.
    Forget,
    /// Commands for agents that poll, to any one worker.
    Command,
    /// How old the records are, to whoever listens.
    Generation,
    /// Signs of life, to whoever listens.
    Presence,
    /// What processes say of themselves, to whoever listens.
    Status,
    /// The assignments changed, to whoever listens.
    Intent,
    /// What agents may come in with, to any one control.
    Roll,
    /// That changed, to whoever listens.
    RollChanged,
    /// One gateway.
    Gateway(GatewayId),
    /// The parcels that one process holds for fetching.
    Parcels(String),
}

/// The queue group that workers share.
pub const WORKERS: &str = "fleet-state";

/// The queue group that controls share.
pub const CONTROLS: &str = "control";

impl Subject {
    /// The subject's text under a fleet prefix.
    pub fn text(&self, fleet: &str) -> String {
        let name = match self {
            Self::Report => "fleet.report".to_owned(),
            Self::Close => "fleet.close".to_owned(),
            Self::Resume => "fleet.resume".to_owned(),
            Self::Reap => "fleet.reap".to_owned(),
            Self::Reassess => "fleet.reassess".to_owned(),
            Self::Forget => "fleet.forget".to_owned(),
            Self::Command => "fleet.command".to_owned(),
            Self::Generation => "generation".to_owned(),
            Self::Presence => "presence".to_owned(),
            Self::Status => "status".to_owned(),
            Self::Intent => "intent".to_owned(),
            Self::Roll => "roll".to_owned(),
            Self::RollChanged => "roll.changed".to_owned(),
            Self::Gateway(id) => format!("gateway.{id}"),
            Self::Parcels(holder) => format!("parcels.{holder}"),
        };
        format!("{fleet}.v1.{name}")
    }
}
