//! Description, health, effective config.

use opamp::v1::any_value::Value;
use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn stat_01_every_kind_of_value_round_trips(fleet: &Fleet) {
    let uid = fleet.uid();
    let null = KeyValue { key: "null".to_owned(), value: Some(AnyValue { value: None }) };
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }] };
    let identifying_attributes = vec![
        value_of("string", Value::StringValue("é".to_owned())),
        value_of("bool", Value::BoolValue(true)),
        value_of("int", Value::IntValue(i64::MIN)),
        value_of("double", Value::DoubleValue(0.1)),
        value_of("bytes", Value::BytesValue(vec![0, 255])),
        value_of("array", Value::ArrayValue(list)),
        value_of("map", Value::KvlistValue(KeyValueList { values: vec![text("a", "b")] })),
        null,
    ];
    let description = AgentDescription {
        identifying_attributes,
        non_identifying_attributes: vec![text("os.type", "linux")],
    };
    let message =
        AgentToServer { agent_description: Some(description.clone()), ..full(uid, 0, "none") };
    fleet.poll(&message).await;
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.identifying_attributes, description.identifying_attributes);
    assert_eq!(agent.non_identifying_attributes, description.non_identifying_attributes);
}

pub(crate) async fn stat_02_selectors_see_attributes(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "stat-02");
    let hash = fleet.give(case, b"a: 1").await;
    assert_eq!(offered(&fleet.poll(&full(uid, 0, "another")).await), None);
    assert_eq!(offered(&fleet.poll(&full(uid, 1, case)).await), Some(&hash[..]));
}

pub(crate) async fn stat_03_a_deep_health_tree_is_kept(fleet: &Fleet) {
    let uid = fleet.uid();
    let leaf = ComponentHealth {
        healthy: false,
        start_time_unix_nano: 0,
        last_error: "boom".to_owned(),
        status: "StatusRecoverableError".to_owned(),
        status_time_unix_nano: 77,
        attributes: vec![text("a", "b")],
        ..Default::default()
    };
    let tree = (0..10).fold(leaf, |child, level| ComponentHealth {
        healthy: level % 2 == 0,
        component_health_map: [(format!("level-{level}"), child)].into(),
        ..Default::default()
    });
    fleet.poll(&AgentToServer { health: Some(tree.clone()), ..full(uid, 0, "none") }).await;
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.health, Some(tree));
}

pub(crate) async fn stat_05_effective_config_is_the_agents_own(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "stat-05");
    let hash = fleet.give(case, b"a: 1").await;
    let applied = status(uid, 1, &hash, RemoteConfigStatuses::Applied);
    fleet.poll(&full(uid, 0, case)).await;
    let file = AgentConfigFile { body: "b: 2".into(), ..Default::default() };
    let config_map = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
    let effective_config = Some(EffectiveConfig { config_map });
    let reply = fleet.poll(&AgentToServer { effective_config, ..applied }).await;
    assert_eq!((offered(&reply), reply.flags), (None, 0));
}

pub(crate) async fn stat_07_bodies_are_bytes_and_keys_may_be_empty(fleet: &Fleet) {
    let uid = fleet.uid();
    let body: Vec<u8> = (0..=255).collect();
    let file = AgentConfigFile {
        body: body.into(),
        content_type: "application/octet-stream".to_owned(),
        role: "main".to_owned(),
    };
    let config_map = [(String::new(), file.clone()), ("extra".to_owned(), file)].into();
    let effective_config =
        Some(EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) });
    let message =
        AgentToServer { effective_config: effective_config.clone(), ..full(uid, 0, "none") };
    fleet.poll(&message).await;
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.report.unwrap().effective_config, effective_config);
}

pub(crate) async fn stat_09_absurd_messages_are_refused(fleet: &Fleet) {
    let bad = Some(ServerErrorResponseType::BadRequest);
    let many = (0..100_000).map(|n| text(&n.to_string(), "x")).collect();
    let agent_description =
        Some(AgentDescription { identifying_attributes: many, ..Default::default() });
    let absurd = AgentToServer { agent_description, ..full(fleet.uid(), 0, "none") };
    assert_eq!(error_type(&fleet.poll(&absurd).await), bad);
    let deep = (0..200).fold(ComponentHealth::default(), |child, _| ComponentHealth {
        component_health_map: [("x".to_owned(), child)].into(),
        ..Default::default()
    });
    let absurd = AgentToServer { health: Some(deep), ..full(fleet.uid(), 0, "none") };
    let mut socket = fleet.connect().await;
    socket.send(&absurd).await.unwrap();
    assert_eq!(error_type(&socket.receive(PATIENCE).await.unwrap()), bad);
    socket.send(&full(fleet.uid(), 0, "none")).await.unwrap();
    assert_eq!(error_type(&socket.receive(PATIENCE).await.unwrap()), None, "the socket goes on");
}

pub(crate) async fn stat_06_effective_config_is_not_waited_for(fleet: &Fleet) {
    let uid = fleet.uid();
    let silent = CAPABILITIES & !(AgentCapabilities::ReportsEffectiveConfig as u64);
    let without =
        |message| AgentToServer { capabilities: silent, effective_config: None, ..message };
    assert_eq!(fleet.poll(&without(full(uid, 0, "none"))).await.flags, 0);
    assert_eq!(fleet.poll(&without(bare(uid, 1))).await.flags, 0);
    // A gap asks once; the answer without it is whole.
    assert_eq!(fleet.poll(&without(bare(uid, 5))).await.flags, FULL);
    assert_eq!(fleet.poll(&without(full(uid, 6, "none"))).await.flags, 0);
    assert_eq!(fleet.poll(&without(bare(uid, 7))).await.flags, 0);
    // Sent all the same, it is taken.
    let file = AgentConfigFile { body: "b: 2".into(), ..Default::default() };
    let config_map = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
    let effective_config = Some(EffectiveConfig { config_map });
    let sent = AgentToServer { effective_config: effective_config.clone(), ..bare(uid, 8) };
    assert_eq!(fleet.poll(&AgentToServer { capabilities: silent, ..sent }).await.flags, 0);
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.report.unwrap().effective_config, effective_config);
}

pub(crate) async fn otel_01_agents_are_found_by_conventional_attributes(fleet: &Fleet) {
    let (uid, other) = (fleet.uid(), fleet.uid());
    let identifying = [
        ("service.name", "io.opentelemetry.collector"),
        ("service.namespace", "edge"),
        ("service.version", "0.141.0"),
        ("service.instance.id", "not-the-uid"),
    ];
    let describing = [("os.type", "linux"), ("host.name", "h-1"), ("cloud.region", "eu-1")];
    let list = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| text(key, value)).collect();
    let mut message = full(uid, 0, "otel-01");
    let description = message.agent_description.as_mut().unwrap();
    description.identifying_attributes = list(&identifying);
    description.non_identifying_attributes.extend::<Vec<KeyValue>>(list(&describing));
    fleet.poll(&message).await;
    fleet.poll(&full(other, 0, "otel-01")).await;
    for uid in [uid, other] {
        fleet.until(uid, |_| true).await;
    }
    fleet.until_listed("case=otel-01", 2).await;
    for (key, value) in identifying.iter().chain(&describing) {
        let found = fleet.until_listed(&format!("case=otel-01,{key}={value}"), 1).await;
        assert_eq!(found[0].instance_uid, uid.to_string(), "{key}");
    }
}
