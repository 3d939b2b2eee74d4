//! Connection settings: what there are, how they are named, and what an agent's come to. Their
//! content is secret and is nothing to the core.

use std::collections::BTreeMap;
use std::fmt;

use opamp::v1::AgentCapabilities;
use sha2::{Digest as _, Sha256};

use crate::hash::{self, digest};

/// What a connection is for. An agent has at most one destination of each class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// To us, or another OpAMP server.
    OpAmp,
    /// The agent's own metrics.
    OwnMetrics,
    /// The agent's own traces.
    OwnTraces,
    /// The agent's own logs.
    OwnLogs,
    /// A named one that means something to the agent.
    Other(String),
}

digest! {
    /// Names settings by their content, without giving it away: a keyed hash.
    SettingsHash
}

/// One revision of connection settings, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingsRef {
    /// Their name.
    pub settings: String,
    /// The revision's number, from 1.
    pub revision: u64,
    /// What they are for.
    pub class: Class,
    /// Their content: names a sealed message of the class among the blobs.
    pub hash: SettingsHash,
}

/// All settings in force for one agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsOffer {
    /// What is offered of each class.
    pub classes: BTreeMap<Class, SettingsRef>,
    /// Serial of the credential that it is to use; 0 without one.
    pub credential: u64,
}

/// What one message offers of an agent's settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingsPart {
    /// Of everything in force.
    pub hash: SettingsHash,
    /// The classes in it, but for the connection to us.
    pub classes: Vec<SettingsRef>,
    /// The agent's connection to us, if it is to be told.
    pub opamp: Option<OpAmpPart>,
}

/// An agent's connection to us.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpAmpPart {
    /// What operators decided.
    pub settings: Option<SettingsRef>,
    /// Serial of its credential; 0 without one.
    pub credential: u64,
}

/// Names the input of the hash over all of an agent's settings.
const OFFER_TAG: &[u8] = b"muster connection settings 1\0";

impl SettingsOffer {
    /// `ConnectionSettingsOffers.hash`: over everything in force, also what a message leaves out.
    /// The result is golden.
    pub fn hash(&self) -> SettingsHash {
        let mut hasher = Sha256::new();
        hasher.update(OFFER_TAG);
        hasher.update((self.classes.len() as u64).to_be_bytes());
        for (class, settings) in &self.classes {
            hash::field(&mut hasher, class.to_string().as_bytes());
            hasher.update(settings.hash.0);
        }
        hasher.update(self.credential.to_be_bytes());
        SettingsHash(hasher.finalize().into())
    }

    /// Whether there is nothing to offer.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.credential == 0
    }
}

impl OpAmpPart {
    /// Names it.
    pub fn hash(&self) -> SettingsHash {
        let classes = self.settings.iter().map(|settings| (Class::OpAmp, settings.clone()));
        SettingsOffer { classes: classes.collect(), credential: self.credential }.hash()
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.settings.is_none() && self.credential == 0
    }
}

impl Class {
    /// Whether an agent of these capabilities takes settings of this class.
    pub fn is_taken(&self, capabilities: u64) -> bool {
        let bit = match self {
            Self::OpAmp => AgentCapabilities::AcceptsOpAmpConnectionSettings,
            Self::OwnMetrics => AgentCapabilities::ReportsOwnMetrics,
            Self::OwnTraces => AgentCapabilities::ReportsOwnTraces,
            Self::OwnLogs => AgentCapabilities::ReportsOwnLogs,
            Self::Other(_) => AgentCapabilities::AcceptsOtherConnectionSettings,
        };
        opamp::capability::has(capabilities, bit)
    }

    /// The class of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "opamp" => Some(Self::OpAmp),
            "own-metrics" => Some(Self::OwnMetrics),
            "own-traces" => Some(Self::OwnTraces),
            "own-logs" => Some(Self::OwnLogs),
            other => {
                let name = other.strip_prefix("other/").filter(|name| !name.is_empty())?;
                Some(Self::Other(name.to_owned()))
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpAmp => f.write_str("opamp"),
            Self::OwnMetrics => f.write_str("own-metrics"),
            Self::OwnTraces => f.write_str("own-traces"),
            Self::OwnLogs => f.write_str("own-logs"),
            Self::Other(name) => write!(f, "other/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(class: Class, content: u8) -> SettingsRef {
        let (settings, revision) = ("backend".to_owned(), 1);
        SettingsRef { settings, revision, class, hash: SettingsHash([content; 32]) }
    }

    fn offer(list: &[(Class, u8)], credential: u64) -> SettingsOffer {
        let classes = list.iter().map(|(class, it)| (class.clone(), settings(class.clone(), *it)));
        SettingsOffer { classes: classes.collect(), credential }
    }

    #[test]
    fn golden() {
        assert_eq!(
            offer(&[(Class::OpAmp, 1), (Class::OwnLogs, 2)], 3).hash().to_string(),
            "80f2283fdd65b1d36a18821cceffd22240f635867d522dd55953bdb704a4016c"
        );
    }

    #[test]
    fn everything_in_force_counts_and_names_do_not() {
        let base = offer(&[(Class::OwnMetrics, 1)], 0);
        for other in [
            offer(&[(Class::OwnTraces, 1)], 0),
            offer(&[(Class::OwnMetrics, 2)], 0),
            offer(&[(Class::OwnMetrics, 1)], 1),
            offer(&[(Class::OwnMetrics, 1), (Class::Other("a".to_owned()), 1)], 0),
            offer(&[], 0),
        ] {
            assert_ne!(other.hash(), base.hash(), "{other:?}");
        }
        let mut renamed = base.clone();
        renamed.classes.values_mut().for_each(|settings| settings.revision = 9);
        assert_eq!(renamed.hash(), base.hash());
    }

    #[test]
    fn classes_have_names() {
        let other = Class::Other("kafka".to_owned());
        for class in
            [Class::OpAmp, Class::OwnMetrics, Class::OwnTraces, Class::OwnLogs, other.clone()]
        {
            assert_eq!(Class::parse(&class.to_string()), Some(class));
        }
        assert_eq!(other.to_string(), "other/kafka");
        assert!(Class::parse("other/").is_none() && Class::parse("metrics").is_none());
    }
}
