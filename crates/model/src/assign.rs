//! What an agent should have: selectors over agents, resolved to one config each.

use crate::Timestamp;
use crate::config::RevisionRef;
use crate::selector::Selector;

/// A selector and the config revision for the agents it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Its name.
    pub name: String,
    /// Which agents.
    pub selector: Selector,
    /// Which revision, pinned.
    pub config: RevisionRef,
    /// The highest wins where several match.
    pub priority: i64,
    /// When it was last set.
    pub updated: Timestamp,
}

/// Every assignment there is. Stored as one value, whose version is the decision number: it
/// orders all decisions, and no reader can see half of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignments {
    /// In no particular order.
    pub list: Vec<Assignment>,
}
