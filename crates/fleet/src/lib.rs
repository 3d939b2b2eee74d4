//! The workers: load an agent's record, step it, commit it, reply.
//!
//! ```text
//!   bus ─► batch: decode ─► load (one read) ─► model::session::step ─► commit (one write) ─► reply
//!                                                                          └─► event log ─► settle
//! ```
//!
//! A worker remembers nothing that matters: any worker may take any message, and a worker may
//! die at any point. What may not enter: sockets, gRPC, and rules about what a record means.

mod batch;
mod bodies;
mod command;
mod components;
mod credentials;
mod engine;
mod error;
mod forget;
mod generation;
mod intent;
mod job;
mod limits;
mod outbox;
mod poison;
mod presence;
mod push;
mod reply;
mod report;
mod sessions;
mod worker;

pub use error::Error;
pub use limits::Limits;
pub use worker::{Config, Worker};
