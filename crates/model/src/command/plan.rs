//! Whose turn it is: one command after the other at each agent, and so many agents in a second.

use std::collections::BTreeMap;

use opamp::InstanceUid;

use super::{CommandId, Order};
use crate::Timestamp;

/// Open commands per agent, in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub struct Line {
    first: BTreeMap<InstanceUid, (Timestamp, CommandId)>,
}

impl Line {
    /// This command waits for this agent, or is on its way to it.
    pub fn join(&mut self, uid: InstanceUid, order: &Order) {
        let place = (order.created, order.id);
        let first = self.first.entry(uid).or_insert(place);
        *first = place.min(*first);
    }

    /// Whether no older command is before this one.
    pub fn is_first(&self, uid: &InstanceUid, order: &Order) -> bool {
        self.first.get(uid).is_none_or(|first| (order.created, order.id) <= *first)
    }
}

/// How many agents a command may be routed to now. A second's worth at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// In thousandths of an agent.
    milli: u64,
    at: Timestamp,
}

impl Allowance {
    /// A second's worth, from now on.
    pub fn new(order: &Order, now: Timestamp) -> Self {
        Self { milli: full(order), at: now }
    }

    /// What came since the last look.
    pub fn refill(&mut self, order: &Order, now: Timestamp) {
        let more = now.millis_since(self.at).saturating_mul(u64::from(order.max_per_second.max(1)));
        self.milli = self.milli.saturating_add(more).min(full(order));
        self.at = now;
    }

    /// Takes one, if there is one.
    pub fn take(&mut self) -> bool {
        match self.milli.checked_sub(1_000) {
            Some(left) => {
                self.milli = left;
                true
            }
            None => false,
        }
    }
}

fn full(order: &Order) -> u64 {
    u64::from(order.max_per_second.max(1)) * 1_000
}
