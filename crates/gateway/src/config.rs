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
        }
    }
}
