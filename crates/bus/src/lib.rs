//! How the rooms talk: the [`Bus`] port, its backends, and the typed [`Client`] on top.
//!
//! The bus carries bytes and promises little: a message is delivered at most once, in no
//! particular order across subjects, and an answer comes before the asker's deadline or not at
//! all. What must not be lost is stored by somebody else and sent again. What may not enter:
//! any knowledge of what a message means, and any store.

pub mod backend;
mod client;
mod error;
pub mod event;
#[cfg(test)]
mod golden;
mod in_process;
mod inbox;
mod limits;
mod nats;
mod parcel;
mod port;
mod post;
mod queue;
mod subject;
mod trace;
mod traffic;

/// Messages of `muster.bus.v1`, generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    include!("gen/muster.bus.v1.rs");
}

/// What a vault seals offers for that cross the bus with secrets in them.
pub const SEALED_OFFERS: &str = "offers on the bus";

pub use client::{Call, Client, Events};
pub use error::Error;
pub use in_process::InProcess;
pub use inbox::{Inbox, Received, Responder};
pub use nats::{Nats, NatsAccess, NatsConfig};
pub use port::{Bus, Inbound, LogEntry, LogReader, Logged, Position, ReplyTo, Subscription};
pub use subject::{CONTROLS, Subject, WORKERS};
pub use traffic::Counts;
