//! What is wrong everywhere at once: how slow and lossy the bus is, which services are away.

use std::sync::{Mutex, PoisonError};

/// The state of the world's services.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Longest ordinary delay of a message, in milliseconds.
    pub(crate) delay_ms: u64,
    /// Messages lost, repeated, and very late, of a thousand.
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) late: u64,
    /// Calls of a store, and appends to the log, that fail: as often before they act as after.
    pub(crate) errors: u64,
    pub(crate) bus_away: bool,
    pub(crate) records_away: bool,
    pub(crate) ledger_away: bool,
}

/// The weather now.
#[derive(Debug, Default)]
pub(crate) struct Sky(Mutex<Weather>);

impl Sky {
    pub(crate) fn now(&self) -> Weather {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Weather {
    /// Nothing is wrong.
    pub(crate) fn fair() -> Self {
        Self { delay_ms: 4, ..Self::default() }
    }
}
