//! Messages of the agents that cases play.

use opamp::InstanceUid;
use opamp::v1::*;

/// Reports status, config and health; accepts config.
pub(crate) const CAPABILITIES: u64 = 0x1807;
/// Bits of agents that take connection settings, class by class.
pub(crate) const TRACES: u64 = AgentCapabilities::ReportsOwnTraces as u64;
pub(crate) const METRICS: u64 = AgentCapabilities::ReportsOwnMetrics as u64;
pub(crate) const LOGS: u64 = AgentCapabilities::ReportsOwnLogs as u64;
pub(crate) const OPAMP: u64 = AgentCapabilities::AcceptsOpAmpConnectionSettings as u64;
pub(crate) const OTHER: u64 = AgentCapabilities::AcceptsOtherConnectionSettings as u64;
/// Takes packages and says what became of them.
pub(crate) const PACKAGES: u64 =
    AgentCapabilities::AcceptsPackages as u64 | AgentCapabilities::ReportsPackageStatuses as u64;
/// They say what became of them.
pub(crate) const STATUS: u64 = AgentCapabilities::ReportsConnectionSettingsStatus as u64;
/// All of it.
pub(crate) const SETTINGS: u64 = TRACES | METRICS | LOGS | OPAMP | OTHER | STATUS;
/// `ServerToAgentFlags.ReportFullState`.
pub(crate) const FULL: u64 = 1;

/// A text attribute.
pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    value_of(key, any_value::Value::StringValue(value.to_owned()))
}

/// An attribute of any kind.
pub(crate) fn value_of(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// A full report. Agents of one case carry its name, for selectors.
pub(crate) fn full(uid: InstanceUid, seq: u64, case: &str) -> AgentToServer {
    AgentToServer {
        capabilities: CAPABILITIES,
        agent_description: Some(AgentDescription {
            identifying_attributes: vec![text("service.name", "conformance")],
            non_identifying_attributes: vec![text("case", case)],
        }),
        health: Some(ComponentHealth { healthy: true, ..Default::default() }),
        effective_config: Some(EffectiveConfig::default()),
        remote_config_status: Some(RemoteConfigStatus::default()),
        ..bare(uid, seq)
    }
}

/// A message with nothing but uid, number and capabilities.
pub(crate) fn bare(uid: InstanceUid, seq: u64) -> AgentToServer {
    AgentToServer {
        instance_uid: uid.as_bytes().to_vec(),
        sequence_num: seq,
        capabilities: CAPABILITIES,
        ..Default::default()
    }
}

/// A word about a config.
pub(crate) fn status(
    uid: InstanceUid,
    seq: u64,
    hash: &[u8],
    status: RemoteConfigStatuses,
) -> AgentToServer {
    let remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: hash.to_vec(),
        status: status.into(),
        error_message: "because".to_owned(),
    });
    AgentToServer { remote_config_status, ..bare(uid, seq) }
}

/// The hash of the config that a message offers.
pub(crate) fn offered(message: &ServerToAgent) -> Option<&[u8]> {
    message.remote_config.as_ref().map(|config| &config.config_hash[..])
}

/// The class of an error response.
pub(crate) fn error_type(message: &ServerToAgent) -> Option<ServerErrorResponseType> {
    message.error_response.as_ref().map(ServerErrorResponse::r#type)
}
