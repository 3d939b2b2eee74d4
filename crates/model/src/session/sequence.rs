//! Sequence numbers: has the server missed something, and is it worth asking (rules SEQ-01 to
//! SEQ-10, W3). Numbers are hints: clients repeat them, skip them, or never move them.

use opamp::v1::{AgentCapabilities, AgentToServer, ServerToAgentFlags};

use super::merge::changes_nothing;
use crate::record::{AgentRecord, FullState};

/// Requests for a full report that were answered by none that fits, before they stop.
const ASKS_MAX: u32 = 3;

/// How a message follows what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// The number is the next one.
    pub(super) advanced: bool,
    /// The number is neither the next one nor that of a repeated message.
    pub(super) gap: bool,
    /// The number is above the last one, if not by one.
    moves: bool,
    /// The number is below the last one.
    below: bool,
    /// Everything an agent of these capabilities reports is in the message.
    pub(super) complete: bool,
}

impl Sequence {
    /// Something newer may have been heard already, unless this is how a new life begins.
    pub(super) fn is_behind(self, message: &AgentToServer) -> bool {
        let begins = self.complete && message.sequence_num <= 1;
        self.gap && self.below && !begins
    }
}

/// Compares a message with the last number answered.
pub(super) fn judge(
    record: &AgentRecord,
    message: &AgentToServer,
    answered: Option<u64>,
) -> Sequence {
    let advanced = answered.is_none_or(|last| message.sequence_num == last.wrapping_add(1));
    let repeat = answered == Some(message.sequence_num) && changes_nothing(record, message);
    Sequence {
        advanced,
        gap: !advanced && !repeat,
        moves: answered.is_none_or(|last| message.sequence_num > last),
        below: answered.is_some_and(|last| message.sequence_num < last),
        complete: is_complete(message, record.capabilities),
    }
}

/// Flags for the reply, and what is remembered of having asked.
pub(super) fn ask(record: &mut AgentRecord, message: &AgentToServer, sequence: Sequence) -> u64 {
    let full = message.agent_description.is_some();
    let state = &mut record.full_state;
    if sequence.advanced && state.ignores_sequence {
        // It counts after all. What was missed meanwhile was not noticed.
        *state = FullState { wanted: true, asked: 0, ignores_sequence: false, ..*state };
    }
    if sequence.gap {
        // By the letter a gap asks for everything, even where the message looks complete.
        state.wanted |= !state.ignores_sequence;
    } else if full {
        state.wanted = false;
    } else if record.reported.agent_description.is_none() {
        state.wanted = true;
    }
    if full && sequence.advanced {
        state.asked = 0;
        state.ignores_sequence = false;
    }
    if state.wanted && state.asked >= ASKS_MAX {
        // It was asked and its numbers still do not fit: asking again would never end.
        state.wanted = false;
        state.ignores_sequence = sequence.gap;
    }
    if !state.wanted {
        return 0;
    }
    // An agent that counts and says no more than before may not have heard: its reply was lost.
    let answers = full || !sequence.moves;
    state.asked = if answers { state.asked + 1 } else { state.asked.max(1) };
    ServerToAgentFlags::ReportFullState as u64
}

/// Whether a message holds every part that its capabilities promise.
fn is_complete(message: &AgentToServer, known_capabilities: u64) -> bool {
    use AgentCapabilities as Bit;
    let mask = if message.capabilities == 0 { known_capabilities } else { message.capabilities };
    let promised = |bit: Bit| opamp::capability::has(mask, bit);
    message.agent_description.is_some()
        && (!promised(Bit::ReportsHealth) || message.health.is_some())
        && (!promised(Bit::ReportsEffectiveConfig) || message.effective_config.is_some())
        && (!promised(Bit::ReportsRemoteConfig) || message.remote_config_status.is_some())
        && (!promised(Bit::ReportsPackageStatuses) || message.package_statuses.is_some())
        && (!promised(Bit::ReportsAvailableComponents) || message.available_components.is_some())
}
