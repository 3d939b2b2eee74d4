//! The parts of a summary about packages, connection settings and credentials.

use bytes::Bytes;
use model::credential::{Admission, Standing};
use model::packages::PackagesHash;
use model::settings::{Class, SettingsHash, SettingsRef};
use model::summary::{
    OfferedPackages, PackagesState, PackagesSummary, SettingsState, SettingsSummary,
};
use opamp::v1::ConnectionSettingsStatuses;

use crate::v1::agent_summary as wire;
use crate::v1::agent_summary::packages::State;

/// Every state of packages, here and on the wire.
const STATES: [(PackagesState, State); 4] = [
    (PackagesState::Unknown, State::Unspecified),
    (PackagesState::Installing, State::Installing),
    (PackagesState::Installed, State::Installed),
    (PackagesState::Failed, State::Failed),
];

pub(super) fn packages_to_wire(packages: &PackagesSummary) -> wire::Packages {
    let offered = packages.offered.as_ref();
    let state = STATES.iter().find(|(known, _)| *known == packages.state);
    wire::Packages {
        set: offered.map_or(String::new(), |offered| offered.set.clone()),
        revision: offered.map_or(0, |offered| offered.revision),
        offered_hash: offered.map_or(Bytes::new(), |offered| offered.hash.0.to_vec().into()),
        decision: packages.decision,
        state: state.map_or(0, |(_, wire)| i32::from(*wire)),
        error_message: packages.error_message.clone(),
        download_percent: packages.download_percent,
        delivered: packages.delivered,
        refused: packages.refused,
        names: packages.names.clone(),
    }
}

pub(super) fn packages(message: wire::Packages) -> PackagesSummary {
    let state = STATES.iter().find(|(_, wire)| *wire == message.state());
    let hash = PackagesHash::from_slice(&message.offered_hash);
    PackagesSummary {
        state: state.map_or(PackagesState::Unknown, |(known, _)| *known),
        offered: hash.map(|hash| OfferedPackages {
            set: message.set,
            revision: message.revision,
            hash,
        }),
        decision: message.decision,
        error_message: message.error_message,
        download_percent: message.download_percent,
        delivered: message.delivered,
        refused: message.refused,
        names: message.names,
    }
}

pub(super) fn settings_to_wire(settings: &SettingsSummary) -> wire::ConnectionSettings {
    let class = |settings: &SettingsRef| wire::connection_settings::Class {
        class: settings.class.to_string(),
        settings: settings.settings.clone(),
        revision: settings.revision,
        hash: settings.hash.0.to_vec().into(),
    };
    let status = match settings.state {
        SettingsState::Unknown => ConnectionSettingsStatuses::Unset,
        SettingsState::Applying => ConnectionSettingsStatuses::Applying,
        SettingsState::Applied => ConnectionSettingsStatuses::Applied,
        SettingsState::Failed => ConnectionSettingsStatuses::Failed,
    };
    wire::ConnectionSettings {
        classes: settings.offered.values().map(class).collect(),
        decision: settings.decision,
        status: status.into(),
        error_message: settings.error_message.clone(),
        delivered: settings.delivered,
        reconnected: settings.reconnected,
        refused: settings.refused,
    }
}

pub(super) fn settings(message: wire::ConnectionSettings) -> SettingsSummary {
    let status = ConnectionSettingsStatuses::try_from(message.status);
    SettingsSummary {
        offered: message.classes.into_iter().filter_map(class).collect(),
        decision: message.decision,
        state: status.map_or(SettingsState::Unknown, SettingsState::from),
        error_message: message.error_message,
        delivered: message.delivered,
        reconnected: message.reconnected,
        refused: message.refused,
    }
}

/// A class that a newer writer knows is left out.
fn class(message: wire::connection_settings::Class) -> Option<(Class, SettingsRef)> {
    let class = Class::parse(&message.class)?;
    let hash = SettingsHash::from_slice(&message.hash)?;
    let (settings, revision) = (message.settings, message.revision);
    Some((class.clone(), SettingsRef { settings, revision, class, hash }))
}

pub(super) fn admission_to_wire(admission: &Admission) -> wire::Admission {
    let standing = admission.standing;
    wire::Admission {
        by: admission.by.clone(),
        shown: admission.shown,
        serial: standing.serial,
        below: standing.below,
        proven: standing.proven,
        refused: standing.refused,
        version: standing.version,
        waits: standing.waits,
    }
}

pub(super) fn admission(message: wire::Admission) -> Admission {
    let wire::Admission { by, shown, serial, below, proven, refused, version, waits } = message;
    Admission { by, shown, standing: Standing { serial, below, proven, refused, waits, version } }
}
