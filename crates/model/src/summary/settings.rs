//! An agent's standing with connection settings, in short.

use std::collections::BTreeMap;

use opamp::v1::{AgentCapabilities, ConnectionSettingsStatuses};

use super::shortened;
use crate::record::AgentRecord;
use crate::settings::{Class, SettingsRef};

/// An agent's standing with connection settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsSummary {
    /// What it is offered of each class.
    pub offered: BTreeMap<Class, SettingsRef>,
    /// Decision that made the offer.
    pub decision: u64,
    /// Its word about the offer.
    pub state: SettingsState,
    /// Why it failed.
    pub error_message: String,
    /// The offer went out to it.
    pub delivered: bool,
    /// It began another session since.
    pub reconnected: bool,
    /// It failed on what is on offer: it is not told again.
    pub refused: bool,
}

/// An agent's word about the connection settings on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SettingsState {
    /// It has not said.
    #[default]
    Unknown,
    /// It is at it.
    Applying,
    /// It uses them.
    Applied,
    /// It cannot use them.
    Failed,
}

impl SettingsSummary {
    /// Whether the agent is to say something about the offer, and has not.
    pub(super) fn owes_an_answer(&self, capabilities: u64) -> bool {
        let reports = AgentCapabilities::ReportsConnectionSettingsStatus;
        let says = opamp::capability::has(capabilities, reports);
        !self.refused && self.state == SettingsState::Unknown && (says || !self.delivered)
    }

    pub(super) fn of(record: &AgentRecord) -> Option<Box<Self>> {
        let track = &record.settings;
        let offer = track.offered.as_ref()?;
        let hash = offer.hash();
        let said = record.reported.connection_settings_status.as_ref();
        let said = said.filter(|said| said.last_connection_settings_hash == hash.0);
        let delivered = track.delivered.as_ref().filter(|it| it.hash == hash.0);
        Some(Box::new(Self {
            offered: offer.classes.clone(),
            decision: track.decision,
            state: said.map_or(SettingsState::Unknown, |said| SettingsState::from(said.status())),
            error_message: said.map(|said| shortened(&said.error_message)).unwrap_or_default(),
            delivered: delivered.is_some(),
            reconnected: delivered.is_some_and(|delivered| record.epoch > delivered.epoch),
            refused: track.failed.contains(&hash.0),
        }))
    }
}

impl From<ConnectionSettingsStatuses> for SettingsState {
    fn from(status: ConnectionSettingsStatuses) -> Self {
        match status {
            ConnectionSettingsStatuses::Unset => Self::Unknown,
            ConnectionSettingsStatuses::Applying => Self::Applying,
            ConnectionSettingsStatuses::Applied => Self::Applied,
            ConnectionSettingsStatuses::Failed => Self::Failed,
        }
    }
}
