//! Capability masks: bits are read one by one, never by comparing whole masks, since either side
//! may set bits the other does not know.

use crate::v1::{AgentCapabilities, ServerCapabilities};

/// What this server announces in `ServerToAgent.capabilities`.
pub const SERVER: u64 = ServerCapabilities::AcceptsStatus as u64
    | ServerCapabilities::OffersRemoteConfig as u64
    | ServerCapabilities::AcceptsEffectiveConfig as u64
    | ServerCapabilities::AcceptsPackagesStatus as u64
    | ServerCapabilities::OffersPackages as u64
    | ServerCapabilities::OffersConnectionSettings as u64;

/// Whether an agent's mask has a bit.
pub const fn has(mask: u64, bit: AgentCapabilities) -> bool {
    mask & bit as u64 != 0
}

/// The names of the known bits set in an agent's mask, lowest first.
pub fn names(mask: u64) -> Vec<&'static str> {
    (0..u64::BITS)
        .map(|shift| 1u64 << shift)
        .filter(|bit| mask & bit != 0)
        .filter_map(|bit| i32::try_from(bit).ok())
        .filter_map(|bit| AgentCapabilities::try_from(bit).ok())
        .map(|bit| bit.as_str_name().trim_start_matches("AgentCapabilities_"))
        .collect()
}
