//! Events are the difference of two records, nothing else: so none is forgotten and none invented.

use crate::Event;
use crate::record::AgentRecord;

/// What changed from one record to the next, in the order of [`Event`].
pub(super) fn events(before: &AgentRecord, after: &AgentRecord) -> Vec<Event> {
    let (old, new) = (&before.reported, &after.reported);
    let was_here = before.owner.is_some() || before.polls;
    let is_here = after.owner.is_some() || after.polls;
    let asked_again = after.full_state.wanted && after.full_state.asked > before.full_state.asked;
    let changes = [
        (Event::Appeared, before.sequence_num.is_none() && after.sequence_num.is_some()),
        (
            Event::Connected,
            is_here && (!was_here || before.epoch != after.epoch || before.polls != after.polls),
        ),
        (Event::Disconnected, was_here && !is_here),
        (Event::DescriptionChanged, old.agent_description != new.agent_description),
        (Event::CapabilitiesChanged, before.capabilities != after.capabilities),
        (Event::HealthChanged, old.health != new.health),
        (Event::EffectiveConfigChanged, old.effective_config != new.effective_config),
        (Event::ConfigStatusChanged, old.remote_config_status != new.remote_config_status),
        (Event::PackagesChanged, old.package_statuses != new.package_statuses),
        (Event::CustomCapabilitiesChanged, old.custom_capabilities != new.custom_capabilities),
        (
            Event::ComponentsChanged,
            old.available_components != new.available_components
                || before.components != after.components,
        ),
        (
            Event::ConnectionSettingsStatusChanged,
            old.connection_settings_status != new.connection_settings_status,
        ),
        (
            Event::OfferChanged,
            before.offered != after.offered
                || before.packages.offered != after.packages.offered
                || before.settings.offered != after.settings.offered,
        ),
        (Event::ConfigDelivered, is_newer(&before.delivered, &after.delivered)),
        (Event::PackagesDelivered, is_newer(&before.packages.delivered, &after.packages.delivered)),
        (
            Event::ConnectionSettingsDelivered,
            is_newer(&before.settings.delivered, &after.settings.delivered),
        ),
        (Event::FullStateRequested, asked_again),
        (Event::DuplicateDetected, before.duplicate != after.duplicate),
        (Event::LabelsChanged, before.labels != after.labels),
        (Event::CredentialChanged, before.admission != after.admission),
        (Event::Restarted, before.signs.restarts != after.signs.restarts),
        (Event::CommandChanged, commands(before) != commands(after)),
        (Event::CustomMessageReceived, before.custom.taken != after.custom.taken),
    ];
    changes.into_iter().filter(|(_, happened)| *happened).map(|(event, _)| event).collect()
}

/// Whether something went out.
fn is_newer<T: PartialEq>(before: &Option<T>, after: &Option<T>) -> bool {
    after.is_some() && before != after
}

/// How far the commands in a record are.
fn commands(record: &AgentRecord) -> impl PartialEq {
    record.commands.iter().map(|command| (command.id, command.progress)).collect::<Vec<_>>()
}
