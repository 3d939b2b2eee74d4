//! What an agent said, into what it is known to have said (rules SEQ-02, SEQ-03, SEQ-12): a part
//! that is absent is unchanged, a part that is present replaces the old one whole.

use opamp::v1::{AgentCapabilities, AgentToServer, AvailableComponents};

use crate::components::ListHash;
use crate::record::{AgentRecord, Reported};

/// Takes a message's parts into the record. `afresh` says that what it leaves out is gone.
pub(super) fn merge(record: &mut AgentRecord, message: &AgentToServer, afresh: bool) {
    if message.capabilities != 0 {
        record.capabilities = message.capabilities;
    } else if record.capabilities == 0 {
        record.capabilities = AgentCapabilities::ReportsStatus as u64;
    }
    let old = std::mem::take(&mut record.reported);
    let base = if afresh { Reported::default() } else { old.clone() };
    record.reported = Reported {
        agent_description: message.agent_description.clone().or(base.agent_description),
        health: message.health.clone().or(base.health),
        effective_config: message.effective_config.clone().or(base.effective_config),
        remote_config_status: message.remote_config_status.clone().or(base.remote_config_status),
        package_statuses: message.package_statuses.clone().or(base.package_statuses),
        custom_capabilities: message.custom_capabilities.clone().or(base.custom_capabilities),
        available_components: components(message, old.available_components)
            .or(base.available_components),
        connection_settings_status: message
            .connection_settings_status
            .clone()
            .or(base.connection_settings_status),
    };
}

/// The hash alone: the list is kept apart. One that an older binary kept here stays for its hash.
fn components(
    message: &AgentToServer,
    known: Option<AvailableComponents>,
) -> Option<AvailableComponents> {
    let said = message.available_components.as_ref()?;
    match known {
        Some(known) if said.components.is_empty() && known.hash == said.hash => Some(known),
        _ => Some(AvailableComponents { hash: said.hash.clone(), ..Default::default() }),
    }
}

/// Whether every part of a message is what is known already.
pub(super) fn changes_nothing(record: &AgentRecord, message: &AgentToServer) -> bool {
    fn same<T: PartialEq>(said: Option<&T>, known: Option<&T>) -> bool {
        said.is_none() || said == known
    }
    let known = &record.reported;
    (message.capabilities == 0 || message.capabilities == record.capabilities)
        && same(message.agent_description.as_ref(), known.agent_description.as_ref())
        && same(message.health.as_ref(), known.health.as_ref())
        && same(message.effective_config.as_ref(), known.effective_config.as_ref())
        && same(message.remote_config_status.as_ref(), known.remote_config_status.as_ref())
        && same(message.package_statuses.as_ref(), known.package_statuses.as_ref())
        && same(message.custom_capabilities.as_ref(), known.custom_capabilities.as_ref())
        && components(message, known.available_components.clone())
            .is_none_or(|said| Some(said) == known.available_components)
        && message.available_components.as_ref().is_none_or(|said| {
            said.components.is_empty() || record.components == Some(ListHash::of(said))
        })
        && same(
            message.connection_settings_status.as_ref(),
            known.connection_settings_status.as_ref(),
        )
}
