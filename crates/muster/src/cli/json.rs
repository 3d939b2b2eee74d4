//! Messages of the API as JSON: attributes as maps, hashes in hex, times in RFC 3339. Programs
//! rely on these shapes; they only ever gain members.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use control::v1::impact::Kind;
use control::v1::{
    Agent, AgentAdmission, AgentConnectionSettings, AgentPackages, Assignment, Config,
    ConfigRevision, ConfigStatus, ConnectionStatus, Hold, Impact, ReceivedCustomMessage,
    WatchAgentsResponse,
};
use opamp::v1::any_value::Value as Any;
use opamp::v1::{AgentConfigFile, AnyValue, ComponentDetails, ComponentHealth, KeyValue};
use serde_json::{Map, Value, json};

use super::names::short;

mod commands;
mod credential;
mod enrollment;
mod fleet;
mod packages;
mod settings;
pub(super) mod wire;

pub(super) use commands::{action, command, command_state, command_target, has_effect};
pub(super) use credential::credential;
pub(super) use enrollment::enrollment_token;
pub(super) use fleet::{gateway, status};
pub(super) use packages::{package_set, package_version, set_revision};
pub(super) use settings::{settings, settings_endpoint, settings_revision};

/// Nesting that attributes are shown to; the server bounds what it stores.
const DEPTH_MAX: usize = 32;

/// An agent, with its report where the server sent it.
pub(super) fn agent(agent: &Agent) -> Value {
    let config = agent.config.clone().unwrap_or_default();
    let mut value = json!({
        "instance_uid": agent.instance_uid,
        "status": connection_status(agent.status),
        "gateway": text(&agent.gateway_id),
        "epoch": agent.epoch,
        "transport": text(&agent.transport),
        "remote_address": text(&agent.remote_address),
        "capabilities": opamp::capability::names(agent.capabilities),
        "custom_capabilities": agent.custom_capabilities,
        "identifying_attributes": attributes(&agent.identifying_attributes),
        "non_identifying_attributes": attributes(&agent.non_identifying_attributes),
        "labels": agent.labels,
        "health": agent.health.as_ref().map(|root| health(root, DEPTH_MAX)),
        "config": {
            "status": config_status(config.status),
            "offered": text(&short(&config.offered_revision)),
            "offered_hash": hex(&config.offered_hash),
            "reported_hash": hex(&config.reported_hash),
            "error": text(&config.error_message),
        },
        "packages": agent.packages.as_ref().map(packages),
        "admission": admission(agent),
        "connection_settings": agent.connection_settings.as_ref().map(connection_settings),
        "first_seen": time(agent.first_seen_time.as_ref()),
        "last_seen": time(agent.last_seen_time.as_ref()),
        "version": agent.version,
    });
    if let Some(report) = &agent.report {
        value["report"] = self::report(report);
    }
    value
}

/// What a watch says.
pub(super) fn watched(message: &WatchAgentsResponse) -> Value {
    json!({
        "change": message.change().as_str_name(),
        "events": message.events().map(|event| event.as_str_name()).collect::<Vec<_>>(),
        "time": time(message.event_time.as_ref()),
        "position": text(&message.position),
        "agent": message.agent.as_ref().map(agent),
    })
}

/// A custom message that came, and where a watch goes on after it.
pub(super) fn received(said: &ReceivedCustomMessage, position: &str) -> Value {
    let mut value = json!({
        "instance_uid": short(&said.agent),
        "capability": said.capability,
        "type": said.r#type,
        "size_bytes": said.size_bytes,
        "time": time(said.receive_time.as_ref()),
        "version": said.version,
        "position": position,
    });
    payload(&mut value, &said.data, said.size_bytes);
    value
}

/// Data of a custom message: as text where they are text, and nothing where only the size is known.
fn payload(value: &mut Value, data: &[u8], size_bytes: i64) {
    let whole = usize::try_from(size_bytes) == Ok(data.len());
    match std::str::from_utf8(data) {
        Ok(text) if whole => value["data"] = text.into(),
        Ok(_) => value["data"] = Value::Null,
        Err(_) => value["data_base64"] = BASE64_STANDARD.encode(data).into(),
    }
}

fn packages(packages: &AgentPackages) -> Value {
    json!({
        "status": packages.status().as_str_name(),
        "offered": text(&short(&packages.offered_revision)),
        "offered_hash": hex(&packages.offered_hash),
        "error": text(&packages.error_message),
        "download_percent": packages.download_percent,
    })
}

/// How it comes in; nothing where agents have no credentials.
fn admission(agent: &Agent) -> Option<&'static str> {
    match agent.admission() {
        AgentAdmission::Unspecified => None,
        AgentAdmission::Credential => Some("credential"),
        AgentAdmission::Enrolled => Some("enrolled"),
        AgentAdmission::Pending => Some("pending"),
        AgentAdmission::Revoked => Some("revoked"),
    }
}

fn connection_settings(settings: &AgentConnectionSettings) -> Value {
    let offered = settings.offered.iter().map(|it| (it.class.clone(), short(&it.revision)));
    json!({
        "status": settings.status().as_str_name(),
        "offered": offered.collect::<BTreeMap<_, _>>(),
        "error": text(&settings.error_message),
    })
}

/// A config with its revisions.
pub(super) fn config(config: &Config) -> Value {
    json!({
        "name": short(&config.name),
        "revisions": config.revisions.iter().map(revision).collect::<Vec<_>>(),
    })
}

/// A revision, with its files where the server sent them.
pub(super) fn revision(revision: &ConfigRevision) -> Value {
    let mut value = json!({
        "name": short(&revision.name),
        "revision": revision.revision,
        "hash": hex(&revision.hash),
        "created": time(revision.create_time.as_ref()),
        "size_bytes": revision.size_bytes,
        "keys": revision.keys,
        "actor": revision.actor,
    });
    if !revision.files.is_empty() {
        value["files"] = files(&revision.files);
    }
    value
}

/// An assignment.
pub(super) fn assignment(assignment: &Assignment) -> Value {
    json!({
        "name": short(&assignment.name),
        "selector": assignment.selector,
        "config": text(&short(&assignment.config_revision)),
        "packages": text(&short(&assignment.package_set_revision)),
        "settings": text(&short(&assignment.settings_revision)),
        "priority": assignment.priority,
        "updated": time(assignment.update_time.as_ref()),
        "actor": assignment.actor,
        "max_in_flight": assignment.max_in_flight,
        "max_failures": assignment.max_failures,
        "progress": assignment.progress.as_ref().map(|progress| json!({
            "state": progress.state().as_str_name(),
            "agents": progress.agents,
            "applied": progress.applied,
            "failed": progress.failed,
            "in_flight": progress.in_flight,
            "waiting": progress.waiting,
        })),
    })
}

/// What a change does to agents.
pub(super) fn impact(impact: &Impact) -> Value {
    let kind = |kind: &Kind| {
        json!({
            "service_name": kind.service_name,
            "service_version": kind.service_version,
            "agents": kind.agents,
        })
    };
    json!({
        "agents": impact.agents,
        "disconnected_agents": impact.disconnected_agents,
        "kinds": impact.kinds.iter().map(kind).collect::<Vec<_>>(),
        "deleted_packages": impact.deleted_packages.iter().map(|deleted| json!({
            "package": deleted.package,
            "agents": deleted.agents,
        })).collect::<Vec<_>>(),
        "incomplete_agents": impact.incomplete_agents,
    })
}

/// Why no offer goes out.
pub(super) fn hold(hold: &Hold) -> Value {
    json!({ "since": time(hold.since_time.as_ref()), "reason": hold.reason, "actor": hold.actor })
}

/// `CONNECTED` and so on.
pub(super) fn connection_status(status: i32) -> &'static str {
    match ConnectionStatus::try_from(status) {
        Ok(status) if status != ConnectionStatus::Unspecified => status.as_str_name(),
        _ => "UNKNOWN",
    }
}

/// `APPLIED` and so on.
pub(super) fn config_status(status: i32) -> &'static str {
    match ConfigStatus::try_from(status) {
        Ok(status) if status != ConfigStatus::Unspecified => status.as_str_name(),
        _ => "UNKNOWN",
    }
}

/// The text of one attribute, if it is there.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match any(found.value.as_ref(), DEPTH_MAX) {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

fn report(report: &control::v1::AgentReport) -> Value {
    let config = report.effective_config.as_ref();
    let config = config.and_then(|config| config.config_map.as_ref());
    let packages = report.package_statuses.as_ref();
    json!({
        "effective_config": config.map(|config| files(&config.config_map)),
        "remote_config_status": report.remote_config_status.as_ref().map(|status| json!({
            "status": status.status().as_str_name().trim_start_matches("RemoteConfigStatuses_"),
            "hash": hex(&status.last_remote_config_hash),
            "error": text(&status.error_message),
        })),
        "packages": packages.map(|packages| packages.packages.iter().map(|(name, package)| {
            let version = text(&package.agent_has_version);
            let status = package.status().as_str_name();
            let status = status.trim_start_matches("PackageStatusEnum_");
            let error = text(&package.error_message);
            (name.clone(), json!({ "version": version, "status": status, "error": error }))
        }).collect::<Map<_, _>>()),
        "custom_capabilities": report.custom_capabilities.as_ref().map(|list| &list.capabilities),
        "available_components": report.available_components.as_ref().map(|available| json!({
            "hash": hex(&available.hash),
            "components": components(&available.components, DEPTH_MAX),
        })),
        "connection_settings_status": report.connection_settings_status.as_ref()
            .map(|status| json!({
                "status": status.status().as_str_name()
                    .trim_start_matches("ConnectionSettingsStatuses_"),
                "hash": hex(&status.last_connection_settings_hash),
                "error": text(&status.error_message),
            })),
        "sequence_num": report.sequence_num,
        "token_name": text(&report.token_name),
    })
}

/// A tree of components; gateways take none that is deeper than what is shown.
fn components(list: &BTreeMap<String, ComponentDetails>, depth: usize) -> Value {
    let component = |(name, details): (&String, &ComponentDetails)| {
        let mut value = json!({ "metadata": attributes(&details.metadata) });
        if depth > 0 && !details.sub_component_map.is_empty() {
            value["components"] = components(&details.sub_component_map, depth - 1);
        }
        (name.clone(), value)
    };
    Value::Object(list.iter().map(component).collect())
}

fn files(files: &BTreeMap<String, AgentConfigFile>) -> Value {
    let file = |(key, file): (&String, &AgentConfigFile)| {
        let mut value = json!({ "content_type": text(&file.content_type) });
        match std::str::from_utf8(&file.body) {
            Ok(body) => value["body"] = body.into(),
            Err(_) => value["body_base64"] = BASE64_STANDARD.encode(&file.body).into(),
        }
        (key.clone(), value)
    };
    Value::Object(files.iter().map(file).collect())
}

fn health(root: &ComponentHealth, depth: usize) -> Value {
    let nanos = |unix_nano: u64| (unix_nano > 0).then(|| rfc3339(unix_nano)).flatten();
    let mut value = json!({
        "healthy": root.healthy,
        "status": text(&root.status),
        "last_error": text(&root.last_error),
        "start_time": nanos(root.start_time_unix_nano),
        "status_time": nanos(root.status_time_unix_nano),
    });
    if depth > 0 && !root.component_health_map.is_empty() {
        let children = root.component_health_map.iter();
        let children = children.map(|(name, child)| (name.clone(), health(child, depth - 1)));
        value["components"] = Value::Object(children.collect());
    }
    value
}

fn attributes(attributes: &[KeyValue]) -> Value {
    map(attributes, DEPTH_MAX)
}

fn map(attributes: &[KeyValue], depth: usize) -> Value {
    let member = |attribute: &KeyValue| {
        let value = any(attribute.value.as_ref(), depth);
        (attribute.key.clone(), value)
    };
    Value::Object(attributes.iter().map(member).collect())
}

fn any(value: Option<&AnyValue>, depth: usize) -> Value {
    let Some(value) = value.and_then(|value| value.value.as_ref()) else {
        return Value::Null;
    };
    let Some(below) = depth.checked_sub(1) else {
        return "…".into();
    };
    match value {
        Any::StringValue(text) => text.as_str().into(),
        Any::BoolValue(value) => (*value).into(),
        Any::IntValue(value) => (*value).into(),
        Any::DoubleValue(value) => (*value).into(),
        Any::ArrayValue(list) => {
            let items = list.values.iter();
            items.map(|item| any(Some(item), below)).collect()
        }
        Any::KvlistValue(list) => map(&list.values, below),
        Any::BytesValue(bytes) => BASE64_STANDARD.encode(bytes).into(),
    }
}

/// `null` where the API says "empty".
fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn hex(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
}

pub(super) fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}

fn rfc3339(unix_nano: u64) -> Option<String> {
    let time = prost_types::Timestamp {
        seconds: i64::try_from(unix_nano / 1_000_000_000).ok()?,
        nanos: i32::try_from(unix_nano % 1_000_000_000).ok()?,
    };
    Some(time.to_string())
}
