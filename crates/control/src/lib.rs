//! The operators' side: the gRPC API, the fleet in memory, and the reconciler.
//!
//! ```text
//!   records (scan) ─┐
//!   event log ──────┼─► view ─► lists, selectors, previews ─► gRPC
//!   presence ───────┘     └──► reconciler ─► workers: reassess these agents
//!   ledger ◄─► configs, assignments, labels ◄─ governor: who is let through, what stops
//! ```
//!
//! Control writes operators' intent to the ledger and nothing else: records are the workers'.
//! What may not enter: sockets to agents, and rules about what a record means.

mod actor;
mod api;
mod backoff;
mod balance;
mod commands;
mod components;
mod error;
#[cfg(test)]
mod golden;
mod governor;
mod incoming;
mod keeper;
mod leader;
mod ledger;
mod limits;
mod processes;
mod reaper;
mod reconcile;
mod registrar;
mod roll;
mod server;
mod status;
mod stream;
mod syntax;
mod trace;
mod view;
mod watch;

/// Messages, clients and servers of `muster.control.v1`, generated from `proto/`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod v1 {
    include!("gen/muster.control.v1.rs");

    /// What gRPC reflection serves.
    pub const DESCRIPTOR: &[u8] = include_bytes!("gen/descriptor.bin");
}

pub use error::Error;
pub use limits::Limits;
pub use server::{Config, Control};
