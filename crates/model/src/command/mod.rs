//! Commands: what agents are told once, or what is done to them once, and how far that is.
//!
//! ```text
//!   QUEUED ─► ROUTED ─► SENT ─► DELIVERED ─► CONFIRMED
//!     ▲         │ surely not sent
//!     └─────────┤
//!               └► UNKNOWN, if nobody said what became of it; never sent again
//!   QUEUED ─► REFUSED, EXPIRED, CANCELLED
//! ```
//!
//! A command has many targets, each with a state of its own. Nothing here sends or waits: whoever
//! carries a command out asks [`Target::look`] what the view of an agent means, and
//! [`Target::ready`] whether it may be routed now. What may not enter: buses, ledgers, and what an
//! agent is told in bytes.

mod action;
mod id;
#[cfg(test)]
mod laws;
mod plan;
mod sight;
mod target;

use crate::Timestamp;

pub use action::{Action, Custom, Expected};
pub use id::{CommandId, digest};
pub use plan::{Allowance, Line};
pub use sight::{Hand, Progress, Reply, Sight, Signs, Way};
pub use target::{Answer, State, Target};

/// Targets per command at most.
pub const TARGETS_MAX: usize = 10_000;
/// Bytes of an answer to a custom message that are kept: a command's values are written as a whole.
pub const REPLY_BYTES_MAX: usize = 64 << 10;
/// Bytes of all answers to a command: a watch may tell them in one message.
pub const REPLIES_BYTES_MAX: usize = 1 << 20;
/// How long after it was routed a gateway may still begin to send it.
pub const SEND_MS: u64 = 5_000;
/// How long a gateway waits for the agent's proof.
pub const PROOF_MS: u64 = 5_000;
/// How long its answer may take in all: the margin covers the bus and clocks that differ a little.
pub const ANSWER_MS: u64 = SEND_MS + PROOF_MS + 1_500;
/// How long to wait before anybody is asked again: a gateway learns of a session a moment after
/// the view does.
pub const SETTLE_MS: u64 = 500;
/// How long to wait before a gateway is asked again that surely sent nothing.
pub const AGAIN_MS: u64 = 1_000;
/// The same if nobody listened in its place: after a lease it is known whether it is gone.
pub const ABSENT_MS: u64 = 10_000;
/// Times that a command is routed if the operator did not allow queueing.
pub const ATTEMPTS_MAX: u32 = 2;
/// How long after its end a record may still tell how far it came.
pub const RECORD_MS: u64 = 5_000;

/// What an operator ordered: the part of a command that does not change, but for its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Names it.
    pub id: CommandId,
    /// What is to happen.
    pub action: Action,
    /// Who ordered it; empty for nobody in particular.
    pub actor: String,
    /// When.
    pub created: Timestamp,
    /// From then on it is sent to nobody any more.
    pub expires: Timestamp,
    /// It waits for agents that poll or are away.
    pub queue: bool,
    /// As it was given; empty for agents that were named.
    pub selector: String,
    /// Agents told in a second at most.
    pub max_per_second: u32,
    /// How long an effect is waited for.
    pub confirm_ms: u64,
    /// SHA-256 over the request: whether a repeated one is the same.
    pub digest: [u8; 32],
    /// Name of the control that carries it out.
    pub driver: String,
    /// Its targets, all parts together.
    pub targets: u32,
}

impl Order {
    /// Whether it is too late to send it.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Bytes of each answer that are kept.
    pub fn reply_bytes_max(&self) -> usize {
        let targets = usize::try_from(self.targets).unwrap_or(usize::MAX);
        REPLY_BYTES_MAX.min(REPLIES_BYTES_MAX / targets.max(1))
    }

    /// Until when a gateway may begin to send it, if it is asked now.
    pub fn not_after(&self, now: Timestamp) -> Timestamp {
        self.expires.min(Timestamp(now.0.saturating_add(SEND_MS)))
    }
}
