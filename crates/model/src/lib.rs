//! The meaning of a fleet: given an agent's record and what happened, what is the new record,
//! the reply, and the news.
//!
//! ```text
//!   record + input ──► session::step ──► record' + reply + events
//!   description + assignments ──► assign::resolve ──► what the agent is offered
//!   bytes of a message ──► wire ──► what of it may be shown
//! ```
//!
//! Pure: no I/O, no tokio, no clock, no randomness; nothing iterates in hash order. Bad input
//! from an agent is never an error here, it is a reply.

pub mod assign;
pub mod brake;
pub mod catalogue;
pub mod check;
pub mod command;
pub mod components;
pub mod config;
pub mod connection;
pub mod credential;
pub mod custom;
pub mod enrollment;
pub mod event;
mod hash;
pub mod ids;
pub mod packages;
pub mod record;
pub mod seams;
pub mod selector;
pub mod session;
pub mod settings;
pub mod summary;
pub mod wire;

pub use config::{Config, ConfigHash, Revision, RevisionRef};
pub use event::Event;
pub use ids::{GatewayId, SessionId};
pub use record::AgentRecord;
pub use seams::{Clock, Random, Timestamp};
pub use summary::AgentSummary;
