//! The fault campaign: what is done to a living cluster of real processes, and what must hold
//! after it. `docs/chaos.md` says how to run it and how to add to it.
//!
//! ```text
//!   scenario (data) ─► fault (done, undone) ─► rig: processes, and proxies between them
//!                                               ▲        ▲
//!   crowd: agents that change and remember ─────┘        │
//!   operator: decides, labels, reads; a book of answers ─┘
//!   check: one invariant, one file; compares both ends' histories at each heal
//! ```
//!
//! It sees Muster from outside only: the API, the agents' side, processes and their metrics.

mod api;
mod book;
mod campaign;
mod check;
mod crowd;
mod draw;
mod fault;
mod limits;
mod operator;
mod partition;
mod rig;
mod scenario;
mod story;

pub use campaign::{Form, Options, Outcome, run};
pub use partition::{Moves, partition};
pub use story::Violation;

/// Every scenario: id, what is done, how it heals, and why it is not drawn yet.
pub fn list() -> Vec<(String, &'static str, &'static str, Option<&'static str>)> {
    let row = |one: scenario::Scenario| (one.id, one.what, one.heals, one.waits_for);
    scenario::table().into_iter().map(row).collect()
}
