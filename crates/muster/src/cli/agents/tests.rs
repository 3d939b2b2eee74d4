//! What the agent commands print of one agent.

use control::v1::{AgentConfig, AgentReport, ConfigStatus, ConnectionStatus};
use opamp::v1::{
    AgentConfigFile, AgentConfigMap, AnyValue, AvailableComponents, ComponentDetails,
    ComponentHealth, EffectiveConfig, KeyValue, any_value,
};

use super::*;

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

pub(super) fn collector() -> Agent {
    let text = |text: &str| any_value::Value::StringValue(text.to_owned());
    let seen = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    Agent {
        instance_uid: "018bcfe5-6800-7007-8707-070707070707".to_owned(),
        status: ConnectionStatus::Connected.into(),
        gateway_id: "gateway-1".to_owned(),
        transport: "websocket".to_owned(),
        capabilities: 0x3,
        identifying_attributes: vec![
            attribute("service.name", text("otelcol")),
            attribute("service.version", text("1.2.3")),
        ],
        non_identifying_attributes: vec![attribute("cpus", any_value::Value::IntValue(8))],
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        health: Some(ComponentHealth {
            healthy: true,
            start_time_unix_nano: 1_700_000_000_000_000_000,
            ..Default::default()
        }),
        config: Some(AgentConfig {
            status: ConfigStatus::Applied.into(),
            offered_revision: "configs/collector/revisions/3".to_owned(),
            offered_hash: vec![0xab, 0x01],
            ..Default::default()
        }),
        last_seen_time: Some(seen),
        ..Default::default()
    }
}

#[test]
fn json_has_what_programs_ask_for() {
    let value = json::agent(&collector());
    for (pointer, want) in [
        ("/instance_uid", "018bcfe5-6800-7007-8707-070707070707"),
        ("/status", "CONNECTED"),
        ("/gateway", "gateway-1"),
        ("/transport", "websocket"),
        ("/identifying_attributes/service.name", "otelcol"),
        ("/labels/env", "prod"),
        ("/health/start_time", "2023-11-14T22:13:20Z"),
        ("/config/status", "APPLIED"),
        ("/config/offered", "collector@3"),
        ("/config/offered_hash", "ab01"),
        ("/last_seen", "2023-11-14T22:13:20Z"),
    ] {
        assert_eq!(value.pointer(pointer), Some(&want.into()), "{pointer}");
    }
    assert_eq!(value["non_identifying_attributes"]["cpus"], 8);
    assert_eq!(value["health"]["healthy"], true);
    assert_eq!(value["config"]["error"], Value::Null);
    assert_eq!(value["capabilities"][0], "ReportsStatus");
    assert!(value.get("report").is_none(), "lists carry no report");
}

#[test]
fn json_has_components_with_what_is_in_them() {
    let leaf = ComponentDetails {
        metadata: vec![attribute("version", any_value::Value::StringValue("1".to_owned()))],
        ..Default::default()
    };
    let receivers = ComponentDetails {
        sub_component_map: [("otlp".to_owned(), leaf)].into(),
        ..Default::default()
    };
    let components = [("receivers".to_owned(), receivers)].into();
    let report = AgentReport {
        available_components: Some(AvailableComponents { components, hash: vec![0xab] }),
        ..Default::default()
    };
    let value = json::agent(&Agent { report: Some(report), ..collector() });
    let available = &value["report"]["available_components"];
    assert_eq!(available["hash"], "ab");
    let otlp = &available["components"]["receivers"]["components"]["otlp"];
    assert_eq!(otlp["metadata"]["version"], "1");
}

#[test]
fn the_outline_shows_the_effective_config_as_text() {
    let file =
        AgentConfigFile { body: "receivers:\n  otlp: {}\u{1b}\n".into(), ..Default::default() };
    let mut agent = collector();
    agent.report = Some(AgentReport {
        effective_config: Some(EffectiveConfig {
            config_map: Some(AgentConfigMap { config_map: [(String::new(), file)].into() }),
        }),
        ..Default::default()
    });
    let text = outline(&json::agent(&agent), 0);
    assert!(text.contains("status: CONNECTED\n"), "{text}");
    assert!(text.contains("        receivers:\n          otlp: {} \n"), "{text}");
}
