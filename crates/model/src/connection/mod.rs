//! What connection settings say: checked, named, shown without what is secret, and put into
//! an offer. Pure; what a certificate holds and how settings are kept is the business of others.

mod check;
mod kept;

use opamp::Message as _;
use opamp::v1::{
    ConnectionSettingsOffers, OpAmpConnectionSettings, OtherConnectionSettings,
    TelemetryConnectionSettings, TlsCertificate,
};

pub use check::{HEARTBEAT_SECONDS_MAX, Rules};
pub use kept::{Certificate, Kept, KeptRevision};

use crate::settings::Class;
use crate::wire;

/// Settings of one class. They print as `***`.
#[derive(Clone, PartialEq)]
pub enum Settings {
    /// Of [`Class::OpAmp`].
    OpAmp(OpAmpConnectionSettings),
    /// Of the three classes of an agent's own telemetry.
    Telemetry(TelemetryConnectionSettings),
    /// Of [`Class::Other`].
    Other(OtherConnectionSettings),
}

/// What settings are sealed for.
pub const SEAL_PURPOSE: &str = "connection settings";
/// What the mac of [`Settings::canonical`] is for.
pub const HASH_PURPOSE: &str = "connection settings hash";

/// Domain of [`Settings::canonical`].
const TAG: &[u8] = b"muster connection settings content 1\0";

impl Settings {
    /// Settings of a class from their encoded message.
    pub fn decode(class: &Class, bytes: &[u8]) -> Option<Self> {
        match class {
            Class::OpAmp => OpAmpConnectionSettings::decode(bytes).ok().map(Self::OpAmp),
            Class::OwnMetrics | Class::OwnTraces | Class::OwnLogs => {
                TelemetryConnectionSettings::decode(bytes).ok().map(Self::Telemetry)
            }
            Class::Other(_) => OtherConnectionSettings::decode(bytes).ok().map(Self::Other),
        }
    }

    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::OpAmp(settings) => settings.encode_to_vec(),
            Self::Telemetry(settings) => settings.encode_to_vec(),
            Self::Other(settings) => settings.encode_to_vec(),
        }
    }

    /// What names them, once it went through a keyed hash: class and content, the same bytes for
    /// the same settings.
    pub fn canonical(&self, class: &Class) -> Vec<u8> {
        let (class, content) = (class.to_string(), self.encode());
        let mut out = Vec::with_capacity(TAG.len() + 8 + class.len() + content.len());
        out.extend_from_slice(TAG);
        out.extend_from_slice(&(class.len() as u64).to_be_bytes());
        out.extend_from_slice(class.as_bytes());
        out.extend_from_slice(&content);
        out
    }

    /// Whether this kind of message belongs to the class.
    pub fn is_of(&self, class: &Class) -> bool {
        match self {
            Self::OpAmp(_) => *class == Class::OpAmp,
            Self::Telemetry(_) => {
                matches!(class, Class::OwnMetrics | Class::OwnTraces | Class::OwnLogs)
            }
            Self::Other(_) => matches!(class, Class::Other(_)),
        }
    }

    /// The certificate to show.
    pub fn certificate(&self) -> Option<&TlsCertificate> {
        match self {
            Self::OpAmp(settings) => settings.certificate.as_ref(),
            Self::Telemetry(settings) => settings.certificate.as_ref(),
            Self::Other(settings) => settings.certificate.as_ref(),
        }
    }

    /// What anybody may see of them: no header value, no other setting, nothing of a certificate.
    pub fn shown(mut self) -> Self {
        match &mut self {
            Self::OpAmp(settings) => settings.certificate = None,
            Self::Telemetry(settings) => settings.certificate = None,
            Self::Other(settings) => settings.certificate = None,
        }
        let mut offers = ConnectionSettingsOffers::default();
        // Any class of its kind: what is hidden is the same, and names of others may be secret.
        let class = match &self {
            Self::OpAmp(_) => Class::OpAmp,
            Self::Telemetry(_) => Class::OwnMetrics,
            Self::Other(_) => Class::Other("x".to_owned()),
        };
        self.offer(&class, &mut offers);
        wire::redact_offers(&mut offers);
        let other = offers.other_connections.pop_first().map(|(_, settings)| Self::Other(settings));
        let opamp = offers.opamp.map(Self::OpAmp);
        opamp.or(offers.own_metrics.map(Self::Telemetry)).or(other).expect("it was put in")
    }

    /// Puts them into an offer, whose hash is its maker's.
    pub fn offer(self, class: &Class, offers: &mut ConnectionSettingsOffers) {
        match (self, class) {
            (Self::OpAmp(settings), _) => offers.opamp = Some(settings),
            (Self::Telemetry(settings), Class::OwnTraces) => offers.own_traces = Some(settings),
            (Self::Telemetry(settings), Class::OwnLogs) => offers.own_logs = Some(settings),
            (Self::Telemetry(settings), _) => offers.own_metrics = Some(settings),
            (Self::Other(settings), Class::Other(name)) => {
                offers.other_connections.insert(name.clone(), settings);
            }
            (Self::Other(_), _) => {}
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings(***)")
    }
}

#[cfg(test)]
mod tests;
