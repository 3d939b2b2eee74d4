//! What lists and selectors need to know of an agent: small, since control holds the whole
//! fleet's in memory.

mod packages;
mod settings;

use std::collections::BTreeMap;

use opamp::v1::{AgentCapabilities, KeyValue};

pub use packages::{OfferedPackages, PACKAGES_MAX, PackagesState, PackagesSummary};
pub use settings::{SettingsState, SettingsSummary};

use crate::command::{CommandId, Progress};
use crate::components::ListHash;
use crate::config::{ConfigHash, RevisionRef};
use crate::credential::Admission;
use crate::custom::summarized;
use crate::record::{AgentRecord, Signs};
use crate::{GatewayId, Timestamp};

/// The short form of an [`AgentRecord`].
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSummary {
    /// Gateway that holds its session.
    pub gateway: Option<GatewayId>,
    /// Epoch of that session.
    pub epoch: u64,
    /// Its last message was a poll.
    pub polls: bool,
    /// Address its last session or poll came from.
    pub remote_address: String,
    /// AgentCapabilities.
    pub capabilities: u64,
    /// Attributes that identify it.
    pub identifying_attributes: Vec<KeyValue>,
    /// Attributes that describe it.
    pub non_identifying_attributes: Vec<KeyValue>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// Root of its health; `None` if never reported.
    pub health: Option<HealthSummary>,
    /// Its standing with remote config.
    pub config: ConfigSummary,
    /// Its standing with packages; `None` if it has none of ours and is to have none.
    pub packages: Option<Box<PackagesSummary>>,
    /// Its standing with connection settings; `None` if it is to have none.
    pub settings: Option<Box<SettingsSummary>>,
    /// How it comes in; `None` where agents have no credentials.
    pub admission: Option<Box<Admission>>,
    /// Its custom capabilities, as many as fit.
    pub custom_capabilities: Vec<String>,
    /// Its list of components, where that is known.
    pub components: Option<ListHash>,
    /// What shows that commands have an effect.
    pub signs: Signs,
    /// How far the commands are that were handed over to its record, newest last.
    pub commands: Vec<(CommandId, Progress)>,
    /// When it first spoke.
    pub first_seen: Timestamp,
    /// When it last spoke, as far as stored.
    pub last_seen: Timestamp,
}

/// Bytes of an agent's own words in a summary, which every list and event repeats. The record
/// has them whole.
pub const WORDS_BYTES_MAX: usize = 4096;

/// Root of the health tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthSummary {
    /// Up and well.
    pub healthy: bool,
    /// The agent's own word.
    pub status: String,
    /// The agent's last error.
    pub last_error: String,
    /// When it started, 0 if not running.
    pub start_time_unix_nano: u64,
}

/// An agent's standing with remote config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigSummary {
    /// What it is offered.
    pub offered: Option<RevisionRef>,
    /// Decision that made the offer.
    pub decision: u64,
    /// Hash it last reported, as it came.
    pub reported_hash: Vec<u8>,
    /// RemoteConfigStatuses as it came.
    pub status: i32,
    /// Why it failed.
    pub error_message: String,
    /// The offer went out to it.
    pub delivered: bool,
    /// It failed on what is on offer, now or earlier: it is not told again.
    pub refused: bool,
}

impl ConfigSummary {
    /// Whether the agent's word is about what it is offered now.
    pub fn is_about_offer(&self) -> bool {
        self.offered.as_ref().is_some_and(|offered| {
            ConfigHash::from_slice(&self.reported_hash) == Some(offered.hash)
        })
    }
}

impl AgentSummary {
    /// Whether it has not said a word about something that it takes and is offered.
    pub fn owes_an_answer(&self) -> bool {
        let takes =
            opamp::capability::has(self.capabilities, AgentCapabilities::AcceptsRemoteConfig);
        let config = takes && self.config.offered.is_some() && !self.config.is_about_offer();
        let packages = self.packages.as_ref();
        let settings = self.settings.as_ref();
        config
            || packages.is_some_and(|it| it.owes_an_answer(self.capabilities))
            || settings.is_some_and(|it| it.owes_an_answer(self.capabilities))
    }
}

impl From<&AgentRecord> for AgentSummary {
    fn from(record: &AgentRecord) -> Self {
        let reported = &record.reported;
        let description = reported.agent_description.clone().unwrap_or_default();
        let status = reported.remote_config_status.clone().unwrap_or_default();
        let offered = record.offered.config.as_ref();
        let delivered = record.delivered.as_ref();
        Self {
            gateway: record.owner.as_ref().map(|owner| owner.gateway.clone()),
            epoch: record.epoch,
            polls: record.polls,
            remote_address: record.remote_address.clone(),
            capabilities: record.capabilities,
            identifying_attributes: description.identifying_attributes,
            non_identifying_attributes: description.non_identifying_attributes,
            labels: record.labels.clone(),
            health: reported.health.as_ref().map(|health| HealthSummary {
                healthy: health.healthy,
                status: shortened(&health.status),
                last_error: shortened(&health.last_error),
                start_time_unix_nano: health.start_time_unix_nano,
            }),
            config: ConfigSummary {
                offered: record.offered.config.clone(),
                decision: record.offered.decision,
                reported_hash: status.last_remote_config_hash,
                status: status.status,
                error_message: shortened(&status.error_message),
                delivered: offered
                    .is_some_and(|offered| delivered.is_some_and(|d| d.hash == offered.hash)),
                refused: offered.is_some_and(|offered| record.failed.contains(&offered.hash)),
            },
            packages: PackagesSummary::of(record),
            settings: SettingsSummary::of(record),
            admission: record.admission.clone(),
            custom_capabilities: reported
                .custom_capabilities
                .as_ref()
                .map_or(Vec::new(), |custom| summarized(&custom.capabilities)),
            components: record.components,
            signs: record.signs,
            commands: record.commands.iter().map(|it| (it.id, it.progress)).collect(),
            first_seen: record.first_seen,
            last_seen: record.last_seen,
        }
    }
}

/// The beginning of what an agent said.
fn shortened(words: &str) -> String {
    if words.len() <= WORDS_BYTES_MAX {
        return words.to_owned();
    }
    let end = words.floor_char_boundary(WORDS_BYTES_MAX - '…'.len_utf8());
    format!("{}…", &words[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_between_characters() {
        let short = "x".repeat(WORDS_BYTES_MAX);
        assert_eq!(shortened(&short), short);
        for long in
            [format!("{short}y"), "é".repeat(WORDS_BYTES_MAX), format!("x{}", "é".repeat(9000))]
        {
            let cut = shortened(&long);
            assert!(
                cut.len() <= WORDS_BYTES_MAX && cut.len() > WORDS_BYTES_MAX - 4,
                "{}",
                cut.len()
            );
            assert!(cut.ends_with('…') && long.starts_with(cut.trim_end_matches('…')));
        }
    }
}
