//! The sockets: OpAMP over WebSocket and plain HTTP. Nothing is remembered here.
//!
//! ```text
//!                 ┌─ http ── one exchange ─────────────┐
//!   agents ── accept ─┤                                ├─ ask ──► bus (workers)
//!                 └─ ws ─── one task per connection ───┘
//!                             ▲  outbox                  presence, closes ──► bus
//!                             └──────── inbox ◄── bus (deliveries, probes, taps)
//! ```
//!
//! A gateway decodes and bounds what agents send, answers plain heartbeats itself, asks workers
//! for everything else, and carries replies and deliveries back. Killing one loses nothing but
//! TCP connections. What may not enter: records, configs, stores.

mod accept;
mod addresses;
mod admission;
mod ask;
mod bounds;
mod bucket;
mod budget;
mod closes;
mod command;
mod config;
mod connection;
mod doubts;
mod drain;
mod error;
mod expel;
mod gateway;
mod guard;
mod inbox;
mod incoming;
mod index;
mod limits;
mod pass;
mod plain;
mod presence;
mod reply;
mod roll;
mod sealed;
mod session;
mod shared;
mod shed;
mod sweep;
mod told;
mod trace;
mod transport;
mod vitals;
mod ws;

pub use accept::Listener;
pub use bucket::Rate;
pub use config::{Config, Credentials, Stale};
pub use error::Error;
pub use gateway::Gateway;
pub use limits::Limits;
