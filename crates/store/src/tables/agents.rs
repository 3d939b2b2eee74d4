//! Table `agents`: instance uid → all that is known of the agent.

use bytes::Bytes;
use model::command::{CommandId, Progress};
use model::components::ListHash;
use model::credential::{Admission, Standing};
use model::record::{
    CustomMessages, Delivered, Duplicate, FullState, Offered, Owner, PolledCommand, Reported, Signs,
};
use model::{AgentRecord, ConfigHash, GatewayId, RevisionRef, SessionId, Timestamp};
use opamp::InstanceUid;

use super::{Loaded, corrupt, read, tracks, write};
use crate::v1::agent_record as wire;
use crate::v1::agent_record::polled_command::Progress as WireProgress;
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.AgentRecord`.
const FIELDS: u32 = 33;

/// The bytes of a record.
pub fn encode(record: &AgentRecord, unknown: &Bytes) -> Bytes {
    write(&to_wire(record.clone()), unknown)
}

/// The record in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<AgentRecord>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::AgentRecord| m.format, FORMAT)?;
    let value = from_wire(message).map_err(|reason| corrupt(key, &reason))?;
    Ok(Loaded { value, unknown })
}

fn to_wire(record: AgentRecord) -> v1::AgentRecord {
    let reported = record.reported;
    v1::AgentRecord {
        format: FORMAT,
        instance_uid: record.instance_uid.as_bytes().to_vec(),
        epoch: record.epoch,
        owner: record.owner.map(|owner| wire::Owner {
            gateway_id: owner.gateway.to_string(),
            session_id: owner.session.0.to_vec(),
        }),
        last_gateway_id: record.last_gateway.map_or(String::new(), |gateway| gateway.to_string()),
        n: record.n,
        sequence_num: record.sequence_num,
        full_state: Some(wire::FullState {
            wanted: record.full_state.wanted,
            asked: record.full_state.asked,
            ignores_sequence: record.full_state.ignores_sequence,
            components_asked: record.full_state.components_asked,
        }),
        capabilities: record.capabilities,
        reported: Some(wire::Reported {
            agent_description: reported.agent_description,
            health: reported.health,
            effective_config: reported.effective_config,
            remote_config_status: reported.remote_config_status,
            package_statuses: reported.package_statuses,
            custom_capabilities: reported.custom_capabilities,
            available_components: reported.available_components,
            connection_settings_status: reported.connection_settings_status,
        }),
        offered: Some(offered_to_wire(record.offered)),
        delivered: record.delivered.map(|delivered| wire::Delivered {
            config_hash: delivered.hash.0.to_vec(),
            epoch: delivered.epoch,
            n: delivered.n,
            at_unix_ms: delivered.at.0,
        }),
        failed_config_hashes: record.failed.into_iter().map(|hash| hash.0.to_vec()).collect(),
        recent_session_ids: record.recent_sessions.into_iter().map(|id| id.0.to_vec()).collect(),
        duplicate: Some(wire::Duplicate {
            told: record.duplicate.told,
            last_unix_ms: record.duplicate.last.0,
        }),
        polls: record.polls,
        remote_address: record.remote_address,
        token_name: record.token_name,
        labels: record.labels,
        labels_version: record.labels_version,
        generation: record.generation,
        reaped_session_id: record.reaped.map_or(Vec::new(), |session| session.0.to_vec()),
        component_list: record.components.map_or(Vec::new(), |list| list.0.to_vec()),
        commands: record.commands.into_iter().map(command_to_wire).collect(),
        signs: (record.signs != Signs::default()).then(|| signs_to_wire(record.signs)),
        custom_messages: (record.custom.taken > 0).then_some(wire::CustomMessages {
            taken: record.custom.taken,
            sequence_num: record.custom.number,
            digest: record.custom.digest,
            spent_until_unix_ms: record.custom.spent_until.0,
        }),
        packages: tracks::packages_to_wire(record.packages),
        settings: tracks::settings_to_wire(record.settings),
        admission: record.admission.map(|it| admission_to_wire(*it)),
        opamp_told: record.opamp_told.as_ref().map(tracks::told_to_wire),
        first_seen_unix_ms: record.first_seen.0,
        last_seen_unix_ms: record.last_seen.0,
    }
}

fn offered_to_wire(offered: Offered) -> wire::Offered {
    let config = offered.config;
    wire::Offered {
        config_revision: config.as_ref().map_or(0, |config| config.revision),
        config_hash: config.as_ref().map_or(Vec::new(), |config| config.hash.0.to_vec()),
        config_name: config.map_or(String::new(), |config| config.config),
        decision: offered.decision,
    }
}

fn from_wire(message: v1::AgentRecord) -> Result<AgentRecord, String> {
    let instance_uid =
        InstanceUid::try_from(&message.instance_uid[..]).map_err(|error| error.to_string())?;
    let reported = message.reported.unwrap_or_default();
    let full_state = message.full_state.unwrap_or_default();
    let duplicate = message.duplicate.unwrap_or_default();
    let custom = message.custom_messages.unwrap_or_default();
    let gateway = |id: String| (!id.is_empty()).then(|| GatewayId::new(&id));
    Ok(AgentRecord {
        instance_uid,
        epoch: message.epoch,
        owner: message.owner.as_ref().map(owner).transpose()?,
        last_gateway: gateway(message.last_gateway_id),
        n: message.n,
        sequence_num: message.sequence_num,
        full_state: FullState {
            wanted: full_state.wanted,
            asked: full_state.asked,
            ignores_sequence: full_state.ignores_sequence,
            components_asked: full_state.components_asked,
        },
        capabilities: message.capabilities,
        reported: Reported {
            agent_description: reported.agent_description,
            health: reported.health,
            effective_config: reported.effective_config,
            remote_config_status: reported.remote_config_status,
            package_statuses: reported.package_statuses,
            custom_capabilities: reported.custom_capabilities,
            available_components: reported.available_components,
            connection_settings_status: reported.connection_settings_status,
        },
        offered: offered(message.offered.unwrap_or_default())?,
        delivered: message.delivered.as_ref().map(delivered).transpose()?,
        failed: message.failed_config_hashes.iter().map(|h| hash(h)).collect::<Result<_, _>>()?,
        recent_sessions: message
            .recent_session_ids
            .iter()
            .map(|id| session(id))
            .collect::<Result<_, _>>()?,
        duplicate: Duplicate { told: duplicate.told, last: Timestamp(duplicate.last_unix_ms) },
        polls: message.polls,
        remote_address: message.remote_address,
        token_name: message.token_name,
        labels: message.labels,
        labels_version: message.labels_version,
        generation: message.generation,
        reaped: reaped(&message.reaped_session_id)?,
        components: ListHash::from_slice(&message.component_list),
        commands: message.commands.into_iter().map(command).collect::<Result<_, _>>()?,
        signs: signs(message.signs),
        custom: CustomMessages {
            taken: custom.taken,
            number: custom.sequence_num,
            digest: custom.digest,
            spent_until: Timestamp(custom.spent_until_unix_ms),
        },
        packages: tracks::packages(message.packages)?,
        settings: tracks::settings(message.settings)?,
        admission: message.admission.map(|it| Box::new(admission(it))),
        opamp_told: message.opamp_told.as_ref().map(tracks::told).transpose()?,
        first_seen: Timestamp(message.first_seen_unix_ms),
        last_seen: Timestamp(message.last_seen_unix_ms),
    })
}

fn admission_to_wire(admission: Admission) -> wire::Admission {
    let standing = admission.standing;
    wire::Admission {
        by: admission.by,
        shown: admission.shown,
        serial: standing.serial,
        below: standing.below,
        proven: standing.proven,
        refused: standing.refused,
        version: standing.version,
        waits: standing.waits,
    }
}

fn admission(message: wire::Admission) -> Admission {
    let wire::Admission { by, shown, serial, below, proven, refused, version, waits } = message;
    Admission { by, shown, standing: Standing { serial, below, proven, refused, waits, version } }
}

fn command_to_wire(command: PolledCommand) -> wire::PolledCommand {
    wire::PolledCommand {
        command_id: command.id.0.to_vec(),
        message: command.message,
        not_after_unix_ms: command.not_after.0,
        progress: PROGRESS
            .iter()
            .find(|(known, _)| *known == command.progress)
            .map_or(0, |(_, wire)| i32::from(*wire)),
        sequence_num: command.number,
        told: Some(signs_to_wire(command.told)),
        doubtful: command.doubtful,
        restarts: command.restarts,
    }
}

fn signs_to_wire(signs: Signs) -> wire::Signs {
    wire::Signs {
        restarts: signs.restarts,
        full_reports: signs.full_reports,
        restarted_unix_ms: signs.restarted.0,
    }
}

/// How far a command is that a newer binary wrote is not guessed at: it was told, maybe.
fn command(message: wire::PolledCommand) -> Result<PolledCommand, String> {
    let id = CommandId::from_slice(&message.command_id);
    let progress = message.progress();
    let known = PROGRESS.iter().find(|(_, wire)| *wire == progress);
    Ok(PolledCommand {
        id: id.ok_or_else(|| "a command id is 16 bytes".to_owned())?,
        message: message.message,
        not_after: Timestamp(message.not_after_unix_ms),
        progress: known.map_or(Progress::Replied, |(progress, _)| *progress),
        number: message.sequence_num,
        told: signs(message.told),
        doubtful: message.doubtful,
        restarts: message.restarts,
    })
}

fn signs(message: Option<wire::Signs>) -> Signs {
    let message = message.unwrap_or_default();
    Signs {
        restarts: message.restarts,
        restarted: Timestamp(message.restarted_unix_ms),
        full_reports: message.full_reports,
    }
}

/// Every progress, here and on the wire.
const PROGRESS: [(Progress, WireProgress); 7] = [
    (Progress::Waiting, WireProgress::Waiting),
    (Progress::Replied, WireProgress::Replied),
    (Progress::Delivered, WireProgress::Delivered),
    (Progress::Restarted, WireProgress::Restarted),
    (Progress::Reported, WireProgress::Reported),
    (Progress::Expired, WireProgress::Expired),
    (Progress::Returned, WireProgress::Returned),
];

fn reaped(bytes: &[u8]) -> Result<Option<SessionId>, String> {
    (!bytes.is_empty()).then(|| session(bytes)).transpose()
}

fn owner(message: &wire::Owner) -> Result<Owner, String> {
    let gateway = GatewayId::new(&message.gateway_id);
    Ok(Owner { gateway, session: session(&message.session_id)? })
}

fn offered(message: wire::Offered) -> Result<Offered, String> {
    let config = if message.config_hash.is_empty() {
        None
    } else {
        let (config, revision) = (message.config_name, message.config_revision);
        Some(RevisionRef { config, revision, hash: hash(&message.config_hash)? })
    };
    Ok(Offered { config, decision: message.decision })
}

fn delivered(message: &wire::Delivered) -> Result<Delivered, String> {
    Ok(Delivered {
        hash: hash(&message.config_hash)?,
        epoch: message.epoch,
        n: message.n,
        at: Timestamp(message.at_unix_ms),
    })
}

pub(super) fn hash(bytes: &[u8]) -> Result<ConfigHash, String> {
    ConfigHash::from_slice(bytes)
        .ok_or_else(|| format!("a config hash is 32 bytes, got {}", bytes.len()))
}

fn session(bytes: &[u8]) -> Result<SessionId, String> {
    let id = bytes.try_into();
    id.map(SessionId).map_err(|_| format!("a session id is 16 bytes, got {}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::record::Track;
    use opamp::v1::*;
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn reported()(
            name in of("[a-z]{0,8}"), healthy in of(any::<bool>()),
            body in of(vec(any::<u8>(), 0..32)), status in of((vec(any::<u8>(), 0..33), 0..5)),
            version in of("[0-9.]{1,5}"), custom in of(vec("[a-z.]{1,9}", 0..3)),
            digest in of(vec(any::<u8>(), 0..9)), settings in of(0..4),
        ) -> Reported {
            let text = |name: String| KeyValue {
                key: name.clone(),
                value: Some(AnyValue { value: Some(any_value::Value::StringValue(name)) }),
            };
            Reported {
                agent_description: name.map(|name| AgentDescription {
                    identifying_attributes: vec![text(name)],
                    ..Default::default()
                }),
                health: healthy.map(|healthy| ComponentHealth { healthy, ..Default::default() }),
                effective_config: body.map(|body| {
                    let file = AgentConfigFile { body: body.into(), ..Default::default() };
                    let config_map = [(String::new(), file)].into();
                    EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) }
                }),
                remote_config_status: status.map(|(last_remote_config_hash, status)| {
                    let error_message = String::new();
                    RemoteConfigStatus { last_remote_config_hash, status, error_message }
                }),
                package_statuses: version.map(|version| PackageStatuses {
                    error_message: version,
                    ..Default::default()
                }),
                custom_capabilities: custom.map(|capabilities| CustomCapabilities { capabilities }),
                available_components: digest
                    .map(|hash| AvailableComponents { hash, ..Default::default() }),
                connection_settings_status: settings
                    .map(|status| ConnectionSettingsStatus { status, ..Default::default() }),
            }
        }
    }

    prop_compose! {
        fn record()(
            reported in reported(), epoch in any::<u64>(), owner in of(any::<[u8; 16]>()),
            last in of("[a-z0-9-]{1,9}"), n in any::<u64>(), sequence_num in of(any::<u64>()),
            full in (any::<bool>(), any::<u32>(), any::<bool>(), any::<u32>()),
            capabilities in any::<u64>(),
            offered in of((any::<[u8; 32]>(), "[a-z]{1,9}", 1_u64..)), decision in any::<u64>(),
            delivered in of((any::<[u8; 32]>(), any::<u64>(), any::<u64>())),
            lists in (vec(any::<[u8; 32]>(), 0..4), vec(any::<[u8; 16]>(), 0..4)),
            labels in btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3),
            polls in any::<bool>(), seen in any::<(u64, u64)>(), told in any::<u32>(),
        ) -> AgentRecord {
            let (wanted, asked, ignores_sequence, components_asked) = full;
            AgentRecord {
                instance_uid: InstanceUid::from_bytes([7; 16]),
                epoch,
                owner: owner.map(|session| Owner {
                    gateway: GatewayId::new("gw-1"),
                    session: SessionId(session),
                }),
                last_gateway: last.map(|id| GatewayId::new(&id)),
                n,
                sequence_num,
                full_state: FullState { wanted, asked, ignores_sequence, components_asked },
                capabilities,
                reported,
                offered: Offered {
                    config: offered.map(|(hash, config, revision)| RevisionRef {
                        config,
                        revision,
                        hash: ConfigHash(hash),
                    }),
                    decision,
                },
                delivered: delivered.map(|(hash, epoch, n)| Delivered {
                    hash: ConfigHash(hash),
                    epoch,
                    n,
                    at: Timestamp(9),
                }),
                failed: lists.0.into_iter().map(ConfigHash).collect(),
                recent_sessions: lists.1.into_iter().map(SessionId).collect(),
                duplicate: Duplicate { told, last: Timestamp(seen.0) },
                polls,
                remote_address: "127.0.0.1:9".to_owned(),
                token_name: "collectors".to_owned(),
                labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
                labels_version: epoch,
                generation: seen.1,
                reaped: sequence_num.map(|_| SessionId([9; 16])),
                components: sequence_num.map(|_| ListHash([5; 32])),
                admission: sequence_num.map(|shown| {
                    let by = "enrollmentTokens/ci".to_owned();
                    Box::new(Admission { by, shown, ..Admission::default() })
                }),
                packages: Track::default(),
                settings: Track::default(),
                opamp_told: None,
                commands: Vec::new(),
                signs: Signs {
                    restarts: seen.0,
                    restarted: Timestamp(seen.1),
                    full_reports: seen.1,
                },
                custom: CustomMessages {
                    taken: seen.0.max(1),
                    number: n,
                    digest: epoch,
                    spent_until: Timestamp(seen.1),
                },
                first_seen: Timestamp(seen.0),
                last_seen: Timestamp(seen.1),
            }
        }
    }

    fn key() -> Key {
        Key::agent(&InstanceUid::from_bytes([7; 16]))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in record()) {
            let loaded = decode(&key(), &encode(&record, &Bytes::new())).unwrap();
            prop_assert_eq!(loaded, Loaded { value: record, unknown: Bytes::new() });
        }

        #[test]
        fn fields_of_a_newer_binary_survive_a_rewrite(
            record in record(), tail in vec(any::<u8>(), 0..9),
        ) {
            // Field 100, length-delimited, and field 101, a varint.
            let mut newer = vec![0xa2, 0x06, u8::try_from(tail.len()).unwrap()];
            newer.extend(&tail);
            newer.extend([0xa8, 0x06, 5]);
            let newer = Bytes::from(newer);
            let loaded = decode(&key(), &encode(&record, &newer)).unwrap();
            prop_assert_eq!(&loaded.unknown, &newer);
            let again = decode(&key(), &encode(&loaded.value, &loaded.unknown)).unwrap();
            prop_assert_eq!(again, loaded);
        }

        #[test]
        fn any_bytes_are_read_or_corrupt(bytes in vec(any::<u8>(), 0..64)) {
            let _ = decode(&key(), &bytes.into());
        }
    }

    #[test]
    fn an_unknown_format_is_named() {
        let bytes = Bytes::from_static(&[0x08, 9]);
        let error = decode(&key(), &bytes).unwrap_err().to_string();
        assert!(error.contains("format 9"), "{error}");
    }
}
