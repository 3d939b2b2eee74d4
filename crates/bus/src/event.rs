//! Events of the log, between model and wire. Written by workers, read by views; both must agree,
//! so both use this.

mod offers;

use bytes::Bytes;
use model::command::{CommandId, Progress};
use model::components::ListHash;
use model::custom::Received;
use model::record::Signs;
use model::summary::{AgentSummary, ConfigSummary, HealthSummary};
use model::{ConfigHash, Event, GatewayId, RevisionRef, Timestamp};
use opamp::InstanceUid;
use prost::Message as _;

use crate::v1::agent_event::Kind;
use crate::v1::agent_summary::command::Progress as WireProgress;
use crate::v1::{self, AgentEvent};

/// Version of the event format.
const FORMAT: u32 = 1;

/// An event as a reader has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Which agent.
    pub instance_uid: InstanceUid,
    /// Version of the record that the commit made.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// What happened. Kinds of a newer writer are left out.
    pub events: Vec<Event>,
    /// The agent from then on; `None` if it was deleted.
    pub summary: Option<AgentSummary>,
    /// A custom message of the agent's.
    pub message: Option<Received>,
}

/// Encodes what one commit did; without a summary it deleted the agent.
pub fn encode(
    uid: &InstanceUid,
    version: u64,
    at: Timestamp,
    events: &[Event],
    summary: Option<&AgentSummary>,
    message: Option<&Received>,
) -> Bytes {
    let event = AgentEvent {
        format: FORMAT,
        instance_uid: uid.as_bytes().to_vec().into(),
        version,
        at_unix_ms: at.0,
        kinds: events.iter().map(|event| kind(*event).into()).collect(),
        summary: summary.map(to_wire),
        custom_message: message.map(|message| v1::agent_event::CustomMessage {
            capability: message.capability.clone(),
            r#type: message.kind.clone(),
            data: message.data.clone().into(),
            size: message.size,
        }),
    };
    event.encode_to_vec().into()
}

/// Reads an event; `None` if its uid or format is unknown.
pub fn decode(event: AgentEvent) -> Option<Told> {
    if event.format != FORMAT {
        return None;
    }
    Some(Told {
        instance_uid: InstanceUid::try_from(&event.instance_uid[..]).ok()?,
        version: event.version,
        at: Timestamp(event.at_unix_ms),
        events: event.kinds().filter_map(known).collect(),
        summary: event.summary.map(from_wire),
        message: event.custom_message.map(|message| Received {
            capability: message.capability,
            kind: message.r#type,
            data: message.data.to_vec(),
            size: message.size,
        }),
    })
}

/// Every event and its kind on the wire.
pub(crate) const KINDS: [(Event, Kind); 24] = [
    (Event::Appeared, Kind::Appeared),
    (Event::Connected, Kind::Connected),
    (Event::Disconnected, Kind::Disconnected),
    (Event::DescriptionChanged, Kind::DescriptionChanged),
    (Event::CapabilitiesChanged, Kind::CapabilitiesChanged),
    (Event::HealthChanged, Kind::HealthChanged),
    (Event::EffectiveConfigChanged, Kind::EffectiveConfigChanged),
    (Event::ConfigStatusChanged, Kind::ConfigStatusChanged),
    (Event::PackagesChanged, Kind::PackagesChanged),
    (Event::CustomCapabilitiesChanged, Kind::CustomCapabilitiesChanged),
    (Event::ComponentsChanged, Kind::ComponentsChanged),
    (Event::ConnectionSettingsStatusChanged, Kind::ConnectionSettingsStatusChanged),
    (Event::OfferChanged, Kind::OfferChanged),
    (Event::ConfigDelivered, Kind::ConfigDelivered),
    (Event::PackagesDelivered, Kind::PackagesDelivered),
    (Event::ConnectionSettingsDelivered, Kind::ConnectionSettingsDelivered),
    (Event::FullStateRequested, Kind::FullStateRequested),
    (Event::DuplicateDetected, Kind::DuplicateDetected),
    (Event::LabelsChanged, Kind::LabelsChanged),
    (Event::CredentialChanged, Kind::CredentialChanged),
    (Event::Restarted, Kind::Restarted),
    (Event::CommandChanged, Kind::CommandChanged),
    (Event::CustomMessageReceived, Kind::CustomMessageReceived),
    (Event::Forgotten, Kind::Forgotten),
];

fn kind(event: Event) -> Kind {
    KINDS.iter().find(|(known, _)| *known == event).map_or(Kind::Unspecified, |(_, kind)| *kind)
}

fn known(kind: Kind) -> Option<Event> {
    KINDS.iter().find(|(_, known)| *known == kind).map(|(event, _)| *event)
}

fn to_wire(summary: &AgentSummary) -> v1::AgentSummary {
    let config = &summary.config;
    let offered = config.offered.as_ref();
    v1::AgentSummary {
        gateway_id: summary.gateway.as_ref().map_or(String::new(), ToString::to_string),
        epoch: summary.epoch,
        polls: summary.polls,
        capabilities: summary.capabilities,
        identifying_attributes: summary.identifying_attributes.clone(),
        non_identifying_attributes: summary.non_identifying_attributes.clone(),
        labels: summary.labels.clone(),
        health: summary.health.as_ref().map(|health| v1::agent_summary::Health {
            healthy: health.healthy,
            status: health.status.clone(),
            last_error: health.last_error.clone(),
            start_time_unix_nano: health.start_time_unix_nano,
        }),
        config: Some(v1::agent_summary::Config {
            name: offered.map_or(String::new(), |offered| offered.config.clone()),
            revision: offered.map_or(0, |offered| offered.revision),
            offered_hash: offered.map_or(Bytes::new(), |offered| offered.hash.0.to_vec().into()),
            reported_hash: config.reported_hash.clone().into(),
            status: config.status,
            error_message: config.error_message.clone(),
            decision: config.decision,
            delivered: config.delivered,
            refused: config.refused,
        }),
        packages: summary.packages.as_deref().map(offers::packages_to_wire),
        admission: summary.admission.as_deref().map(offers::admission_to_wire),
        connection_settings: summary.settings.as_deref().map(offers::settings_to_wire),
        component_list: summary.components.map_or(Bytes::new(), |list| list.0.to_vec().into()),
        restarts: summary.signs.restarts,
        restarted_unix_ms: summary.signs.restarted.0,
        full_reports: summary.signs.full_reports,
        commands: summary.commands.iter().map(command_to_wire).collect(),
        first_seen_unix_ms: summary.first_seen.0,
        last_seen_unix_ms: summary.last_seen.0,
        remote_address: summary.remote_address.clone(),
        custom_capabilities: summary.custom_capabilities.clone(),
    }
}

fn from_wire(summary: v1::AgentSummary) -> AgentSummary {
    let config = summary.config.unwrap_or_default();
    let hash = ConfigHash::from_slice(&config.offered_hash);
    AgentSummary {
        gateway: (!summary.gateway_id.is_empty()).then(|| GatewayId::new(&summary.gateway_id)),
        epoch: summary.epoch,
        polls: summary.polls,
        remote_address: summary.remote_address,
        custom_capabilities: summary.custom_capabilities,
        capabilities: summary.capabilities,
        identifying_attributes: summary.identifying_attributes,
        non_identifying_attributes: summary.non_identifying_attributes,
        labels: summary.labels,
        health: summary.health.map(|health| HealthSummary {
            healthy: health.healthy,
            status: health.status,
            last_error: health.last_error,
            start_time_unix_nano: health.start_time_unix_nano,
        }),
        config: ConfigSummary {
            offered: hash.map(|hash| RevisionRef {
                config: config.name,
                revision: config.revision,
                hash,
            }),
            decision: config.decision,
            reported_hash: config.reported_hash.to_vec(),
            status: config.status,
            error_message: config.error_message,
            delivered: config.delivered,
            refused: config.refused,
        },
        packages: summary.packages.map(|it| Box::new(offers::packages(it))),
        admission: summary.admission.map(|it| Box::new(offers::admission(it))),
        settings: summary.connection_settings.map(|it| Box::new(offers::settings(it))),
        components: ListHash::from_slice(&summary.component_list),
        signs: Signs {
            restarts: summary.restarts,
            restarted: Timestamp(summary.restarted_unix_ms),
            full_reports: summary.full_reports,
        },
        commands: summary.commands.iter().filter_map(command).collect(),
        first_seen: Timestamp(summary.first_seen_unix_ms),
        last_seen: Timestamp(summary.last_seen_unix_ms),
    }
}

/// Every progress of a command, here and on the wire.
const PROGRESS: [(Progress, WireProgress); 7] = [
    (Progress::Waiting, WireProgress::Waiting),
    (Progress::Replied, WireProgress::Replied),
    (Progress::Delivered, WireProgress::Delivered),
    (Progress::Restarted, WireProgress::Restarted),
    (Progress::Reported, WireProgress::Reported),
    (Progress::Expired, WireProgress::Expired),
    (Progress::Returned, WireProgress::Returned),
];

fn command_to_wire((id, progress): &(CommandId, Progress)) -> v1::agent_summary::Command {
    let wire = PROGRESS.iter().find(|(known, _)| known == progress);
    v1::agent_summary::Command {
        command_id: id.0.to_vec().into(),
        progress: wire.map_or(0, |(_, wire)| i32::from(*wire)),
    }
}

/// What a newer writer says of a command is left out.
fn command(message: &v1::agent_summary::Command) -> Option<(CommandId, Progress)> {
    let (_, progress) = PROGRESS
        .iter()
        .map(|(known, wire)| (wire, known))
        .find(|(wire, _)| **wire == message.progress())?;
    Some((CommandId::from_slice(&message.command_id)?, *progress))
}

#[cfg(test)]
mod tests {
    use opamp::v1::{
        AgentDescription, AnyValue, ComponentHealth, CustomCapabilities, KeyValue, any_value::Value,
    };

    use super::*;
    use model::AgentRecord;
    use model::record::{Offered, Owner};

    fn record() -> AgentRecord {
        let mut record = AgentRecord::new(InstanceUid::from_bytes([3; 16]), Timestamp(7));
        record.epoch = 4;
        record.owner =
            Some(Owner { gateway: GatewayId::new("gw-1"), session: model::SessionId([1; 16]) });
        record.capabilities = 0x1003;
        let value = Some(AnyValue { value: Some(Value::IntValue(4)) });
        record.reported.agent_description = Some(AgentDescription {
            identifying_attributes: vec![KeyValue { key: "a".to_owned(), value }],
            ..Default::default()
        });
        record.reported.health =
            Some(ComponentHealth { healthy: true, status: "up".to_owned(), ..Default::default() });
        let hash = ConfigHash([9; 32]);
        let config = Some(RevisionRef { config: "c".to_owned(), revision: 2, hash });
        record.offered = Offered { config, decision: 11 };
        record.failed.push(hash);
        record.labels.insert("env".to_owned(), "prod".to_owned());
        let capabilities = vec!["io.muster.echo".to_owned()];
        record.reported.custom_capabilities = Some(CustomCapabilities { capabilities });
        record
    }

    #[test]
    fn everything_told_is_heard() {
        let record = record();
        let summary = AgentSummary::from(&record);
        let events: Vec<Event> = KINDS.iter().map(|(event, _)| *event).collect();
        let (capability, kind) = ("io.muster.echo".to_owned(), "ping".to_owned());
        let said = Received { capability, kind, data: vec![1, 2], size: 9 };
        let (uid, at) = (&record.instance_uid, Timestamp(8));
        let bytes = encode(uid, 5, at, &events, Some(&summary), Some(&said));
        let told = decode(AgentEvent::decode(bytes).unwrap()).unwrap();
        let instance_uid = record.instance_uid;
        let (version, summary, message) = (5, Some(summary), Some(said));
        assert_eq!(told, Told { instance_uid, version, at, events, summary, message });
    }

    #[test]
    fn unknown_formats_are_not_guessed_at() {
        let event =
            AgentEvent { format: 2, instance_uid: vec![1; 16].into(), ..Default::default() };
        assert_eq!(decode(event), None);
    }
}
