//! What lists and selectors need to know of an agent: small, since control holds the whole
//! fleet's in memory.

use std::collections::BTreeMap;

use opamp::v1::{ConnectionSettingsStatuses, KeyValue, PackageStatusEnum, PackageStatuses};

use crate::command::{CommandId, Progress};
use crate::components::ListHash;
use crate::config::{ConfigHash, RevisionRef};
use crate::custom::summarized;
use crate::packages::{PackagesHash, PackagesOffer};
use crate::record::{AgentRecord, Signs};
use crate::settings::{Class, SettingsRef};
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

/// Packages that a summary names, and the longest name among them, in bytes. The record has all.
pub const PACKAGES_MAX: usize = 16;
const PACKAGE_BYTES_MAX: usize = 256;

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

/// An agent's standing with packages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PackagesSummary {
    /// The set it is offered.
    pub offered: Option<OfferedPackages>,
    /// Decision that made the offer.
    pub decision: u64,
    /// How far it is with the offer.
    pub state: PackagesState,
    /// Why it failed, or what else it says is wrong.
    pub error_message: String,
    /// Packages that it says it has, [`PACKAGES_MAX`] at most, sorted: those it deletes if they are
    /// not offered.
    pub names: Vec<String>,
    /// How much of a download is done, if one is under way, in percent.
    pub download_percent: Option<f64>,
    /// The offer went out to it.
    pub delivered: bool,
    /// It failed on what is on offer: it is not told again.
    pub refused: bool,
}

/// A set that is offered, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedPackages {
    /// The set's name.
    pub set: String,
    /// The set's revision.
    pub revision: u64,
    /// Of what this agent is to have of it.
    pub hash: PackagesHash,
}

/// How far an agent is with the packages on offer, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackagesState {
    /// It has not said.
    #[default]
    Unknown,
    /// It is at it.
    Installing,
    /// It has all of them.
    Installed,
    /// One or more could not be installed.
    Failed,
}

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

impl OfferedPackages {
    /// Whether this is the offer.
    pub fn is(&self, offer: &PackagesOffer) -> bool {
        (&self.set, self.revision, self.hash) == (&offer.set, offer.revision, offer.hash)
    }
}

impl PackagesSummary {
    fn of(record: &AgentRecord) -> Option<Box<Self>> {
        let (track, said) = (&record.packages, record.reported.package_statuses.as_ref());
        if track.offered.is_none() && said.is_none_or(|said| said.packages.is_empty()) {
            return None;
        }
        let hash = track.offered.as_ref().map(|offer| offer.hash);
        let state = match (&track.offered, said) {
            (Some(offer), Some(said)) => PackagesState::of(offer, said),
            _ => PackagesState::Unknown,
        };
        let nothing = PackageStatuses::default();
        let said = said.unwrap_or(&nothing);
        let failed = said.packages.values().map(|one| &one.error_message);
        let error = std::iter::once(&said.error_message).chain(failed).find(|it| !it.is_empty());
        let details = said.packages.values().filter_map(|one| {
            let downloading = one.status == PackageStatusEnum::Downloading as i32;
            one.download_details.as_ref().filter(|_| downloading)
        });
        Some(Box::new(Self {
            offered: track.offered.as_ref().map(|offer| OfferedPackages {
                set: offer.set.clone(),
                revision: offer.revision,
                hash: offer.hash,
            }),
            decision: track.decision,
            state,
            error_message: error.map(|error| shortened(error)).unwrap_or_default(),
            names: names(said),
            download_percent: details.map(|it| percent(it.download_percent)).reduce(f64::min),
            delivered: hash.is_some_and(|hash| track.was_delivered(&hash.0)),
            refused: track.offered.as_ref().is_some_and(|it| track.failed.contains(&it.key())),
        }))
    }
}

/// Maps have no order of their own.
fn names(said: &PackageStatuses) -> Vec<String> {
    let short = said.packages.keys().filter(|name| name.len() <= PACKAGE_BYTES_MAX);
    let mut names: Vec<String> = short.cloned().collect();
    names.sort_unstable();
    names.truncate(PACKAGES_MAX);
    names
}

impl PackagesState {
    /// What an agent's word means for an offer. The hash that it repeats does not prove that
    /// everything went well (trap T-PKG-2): the packages' own words count.
    pub(crate) fn of(offer: &PackagesOffer, said: &PackageStatuses) -> Self {
        if said.server_provided_all_packages_hash != offer.hash.0 {
            return Self::Unknown;
        }
        let is = |status: i32, wanted: PackageStatusEnum| status == wanted as i32;
        let failed = |status| is(status, PackageStatusEnum::InstallFailed);
        let ours = |name: &String| said.packages.get(name);
        let has = |(name, hash): &(String, crate::packages::PackageHash)| {
            ours(name).is_none_or(|one| {
                is(one.status, PackageStatusEnum::Installed)
                    && (one.agent_has_hash.is_empty() || one.agent_has_hash == hash.0)
            })
        };
        let names = || offer.packages.iter().map(|(name, _)| name);
        if !said.error_message.is_empty() || names().filter_map(ours).any(|one| failed(one.status))
        {
            Self::Failed
        } else if offer.packages.iter().all(has) {
            Self::Installed
        } else {
            Self::Installing
        }
    }
}

/// An agent may say anything at all (trap T-PKG-4).
fn percent(said: f64) -> f64 {
    if said.is_finite() { said.clamp(0.0, 100.0) } else { 0.0 }
}

impl SettingsSummary {
    fn of(record: &AgentRecord) -> Option<Box<Self>> {
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

impl ConfigSummary {
    /// Whether the agent's word is about what it is offered now.
    pub fn is_about_offer(&self) -> bool {
        self.offered.as_ref().is_some_and(|offered| {
            ConfigHash::from_slice(&self.reported_hash) == Some(offered.hash)
        })
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
