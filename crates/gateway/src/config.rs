//! What the binary tells a gateway.

use std::sync::Arc;

use model::GatewayId;
use trust::{Door, Vault};

use crate::Limits;

/// A gateway's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name, unique among those alive.
    pub id: GatewayId,
    /// Path that OpAMP is served on.
    pub path: String,
    /// Bounds on everything peers may do.
    pub limits: Limits,
    /// Custom capabilities of the server, as agents are told in the first message of a session and
    /// in each answer to a poll. Nothing is said if there are none.
    pub custom_capabilities: Vec<String>,
    /// How agents come in, and who they must be.
    pub door: Door,
    /// Opens offers that workers sealed.
    pub vault: Option<Arc<Vault>>,
    /// Agents must show an enrollment token or a credential of their own, unless they show one of
    /// the door's tokens. Not given, only the door asks.
    pub credentials: Option<Credentials>,
}

/// How agents' credentials are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// What becomes of those who came in by them when nobody says any more who was revoked.
    pub stale: Stale,
}

/// What to do where it is not known who was revoked lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Let nobody in, and close what is open.
    Close,
    /// Go on with what was known last.
    Keep,
}

impl Config {
    /// The default path and limits under a name, and an open door.
    pub fn new(id: GatewayId) -> Self {
        Self {
            id,
            path: "/v1/opamp".to_owned(),
            limits: Limits::default(),
            custom_capabilities: Vec::new(),
            door: Door::default(),
            vault: None,
            credentials: None,
        }
    }
}
