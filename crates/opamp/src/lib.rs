//! The OpAMP wire: bytes in, messages out, and back.
//!
//! ```text
//!   socket bytes ──► ws (RFC 6455 frames) ──► envelope (header 0) ──► v1::AgentToServer
//! ```
//!
//! Pure: no I/O, no clock, no randomness, no knowledge of what a fleet is.

pub mod capability;
pub mod envelope;
pub mod fields;
mod uid;
pub mod ws;

/// Messages of `opamp.proto.v1`, generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    include!("gen/opamp.proto.v1.rs");
}

pub use prost::Message;
pub use uid::{InstanceUid, InvalidUid};
