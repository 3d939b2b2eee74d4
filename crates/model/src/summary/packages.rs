//! An agent's standing with packages, in short.

use opamp::v1::{AgentCapabilities, PackageStatusEnum, PackageStatuses};

use super::shortened;
use crate::packages::{PackageHash, PackagesHash, PackagesOffer};
use crate::record::AgentRecord;

/// Packages that a summary names, and the longest name among them, in bytes. The record has all.
pub const PACKAGES_MAX: usize = 16;
const PACKAGE_BYTES_MAX: usize = 256;

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

impl OfferedPackages {
    /// Whether this is the offer.
    pub fn is(&self, offer: &PackagesOffer) -> bool {
        (&self.set, self.revision, self.hash) == (&offer.set, offer.revision, offer.hash)
    }
}

impl PackagesSummary {
    /// Whether the agent is to say something about the offer, and has not.
    pub(super) fn owes_an_answer(&self, capabilities: u64) -> bool {
        let says = opamp::capability::has(capabilities, AgentCapabilities::ReportsPackageStatuses);
        let open = self.offered.is_some() && !self.refused;
        open && self.state == PackagesState::Unknown && (says || !self.delivered)
    }

    pub(super) fn of(record: &AgentRecord) -> Option<Box<Self>> {
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
        let has = |(name, hash): &(String, PackageHash)| {
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
