//! The parts of a report that may be left out while they are unchanged.

use std::ops::BitOrAssign;

use opamp::v1::AgentToServer;

/// A set of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts(u8);

impl Parts {
    /// `agent_description`.
    pub const DESCRIPTION: Self = Self(1);
    /// `health`.
    pub const HEALTH: Self = Self(2);
    /// `effective_config`.
    pub const EFFECTIVE: Self = Self(4);
    /// `remote_config_status`.
    pub const STATUS: Self = Self(8);
    /// All of them.
    pub const ALL: Self = Self(15);

    /// Whether every part of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no part is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The parts that a message holds.
    pub const fn of(message: &AgentToServer) -> Self {
        let mut parts = 0;
        if message.agent_description.is_some() {
            parts |= Self::DESCRIPTION.0;
        }
        if message.health.is_some() {
            parts |= Self::HEALTH.0;
        }
        if message.effective_config.is_some() {
            parts |= Self::EFFECTIVE.0;
        }
        if message.remote_config_status.is_some() {
            parts |= Self::STATUS.0;
        }
        Self(parts)
    }
}

impl BitOrAssign for Parts {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
