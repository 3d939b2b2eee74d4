//! A look at the wire: bytes of a message in, the typed message out, with every secret replaced.
//! What leaves here may be shown to whoever may see the fleet.
//!
//! ```text
//!   bytes ─► parts (what is unknown, what is cut off) ─► decoded ─► redact ─► shown
//!                                                                    └── text (values in bodies)
//! ```
//!
//! Nothing passes that is not named in `redact`: a field more in the schema does not compile there,
//! and what the schema does not know is told by number and size alone. What may not enter: who
//! asks, and where messages are kept.

mod parts;
mod redact;
mod schema;
mod text;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use opamp::Message;
use opamp::v1::{AgentToServer, ConnectionSettingsOffers, ServerToAgent};

pub use text::mask;

/// First bytes shown of what is no message: an instance uid and a little more.
const HEAD_BYTES: usize = 24;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Whether the bodies of configs and custom messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Their size, and of configs the SHA-256.
    Hidden,
    /// As text, values under keys that look like secrets masked.
    Shown,
}

/// Connection settings by themselves, without what is secret.
pub(crate) fn redact_offers(offers: &mut ConnectionSettingsOffers) {
    redact::offers(offers);
}

/// A message to be looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown<M> {
    /// Redacted.
    pub message: M,
    /// What is not in it.
    pub hidden: Vec<Hidden>,
}

/// A field that the typed message does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Names of the fields around it, joined by dots.
    pub path: String,
    /// Its number.
    pub number: u32,
    /// Size of its value.
    pub size_bytes: u64,
    /// It is known, and its bytes were not kept.
    pub cut: bool,
}

/// The bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Undecodable {
    /// Why, without any of the bytes.
    pub reason: String,
    /// The first of them, in hex.
    pub head_hex: String,
}

/// A message of an agent. `truncated` says that only the beginning of it is left.
pub fn from_agent(
    bytes: &[u8],
    truncated: bool,
    bodies: Bodies,
) -> Result<Shown<AgentToServer>, Undecodable> {
    let (mut message, hidden) = read(bytes, truncated, &schema::AGENT_TO_SERVER)?;
    redact::from_agent(&mut message, bodies);
    Ok(Shown { message, hidden })
}

/// A message to an agent. `truncated` says that only the beginning of it is left.
pub fn to_agent(
    bytes: &[u8],
    truncated: bool,
    bodies: Bodies,
) -> Result<Shown<ServerToAgent>, Undecodable> {
    let (mut message, hidden) = read(bytes, truncated, &schema::SERVER_TO_AGENT)?;
    redact::to_agent(&mut message, bodies);
    Ok(Shown { message, hidden })
}

fn read<M: Message + Default>(
    bytes: &[u8],
    truncated: bool,
    schema: &'static schema::Message,
) -> Result<(M, Vec<Hidden>), Undecodable> {
    let parts = parts::of(bytes, truncated, schema);
    let whole = parts.whole.as_deref().unwrap_or(bytes);
    let message = M::decode(whole).map_err(|error| Undecodable {
        reason: error.to_string(),
        head_hex: hex(&bytes[..bytes.len().min(HEAD_BYTES)]),
    })?;
    Ok((message, parts.hidden))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
