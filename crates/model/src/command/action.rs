//! What a command does.

use opamp::InstanceUid;

/// What is to happen to each agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It restarts. OpAMP's restart has no id: an agent that is told twice restarts twice.
    Restart,
    /// It reports its full state.
    Refresh,
    /// Its connection is closed.
    Disconnect,
    /// It is told to go by another uid.
    Reidentify {
        /// The new one.
        uid: InstanceUid,
    },
    /// It is sent a message of a capability of its own.
    Custom(Custom),
}

/// A message of a custom capability.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Custom {
    /// The capability that the agent declared.
    pub capability: String,
    /// What kind of message of it.
    pub kind: String,
    /// Its payload.
    pub data: Vec<u8>,
    /// The answer that is waited for, if one is.
    pub reply: Option<Expected>,
}

/// What an answer looks like: a message of the same capability, from the agent that was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// Its type.
    pub kind: String,
    /// A member that both payloads have, as JSON objects, with the same value; empty if any answer
    /// will do.
    pub key: String,
}

impl Action {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Refresh => "refresh",
            Self::Disconnect => "disconnect",
            Self::Reidentify { .. } => "reidentify",
            Self::Custom(_) => "custom_message",
        }
    }

    /// Whether one can see that it had its effect.
    pub fn is_visible(&self) -> bool {
        match self {
            Self::Restart | Self::Refresh | Self::Disconnect | Self::Reidentify { .. } => true,
            Self::Custom(custom) => custom.reply.is_some(),
        }
    }

    /// Whether it is told in words: such a command may wait in a record for a poll.
    pub fn is_told(&self) -> bool {
        !matches!(self, Self::Disconnect)
    }

    /// How long its effect is waited for, in milliseconds, if nobody says.
    pub fn confirm_ms(&self) -> u64 {
        match self {
            Self::Restart => 120_000,
            _ => 30_000,
        }
    }
}
