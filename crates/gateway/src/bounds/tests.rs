//! What is taken, what is not, and what is said about it.

use opamp::v1::{
    AgentDescription, ArrayValue, AvailableComponents, CustomCapabilities, PackageStatus,
    RemoteConfigStatus,
};

use super::*;

fn described(value: AnyValue, count: usize) -> AgentToServer {
    let attribute = KeyValue { key: "k".to_owned(), value: Some(value) };
    AgentToServer {
        agent_description: Some(AgentDescription {
            identifying_attributes: vec![attribute; count],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn nested(depth: usize) -> AnyValue {
    (1..depth).fold(AnyValue::default(), |inner, _| AnyValue {
        value: Some(any_value::Value::ArrayValue(ArrayValue { values: vec![inner] })),
    })
}

fn unwell(depth: usize) -> AgentToServer {
    let health = (1..depth).fold(ComponentHealth::default(), |inner, _| ComponentHealth {
        component_health_map: [("c".to_owned(), inner)].into(),
        ..Default::default()
    });
    AgentToServer { health: Some(health), ..Default::default() }
}

#[test]
fn takes_everything_up_to_the_bound_and_names_what_is_over() {
    let limits = Limits::default();
    let max = limits.attributes_max;
    assert_eq!(check(&described(nested(1), max), &limits), Ok(()));
    let error = check(&described(nested(1), max + 1), &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "agent_description.identifying_attributes: 4097 entries, at most 4096 are taken"
    );
    let depth = limits.depth_max;
    assert_eq!(check(&described(nested(depth), 1), &limits), Ok(()));
    let error = check(&described(nested(depth + 1), 1), &limits);
    assert!(matches!(error, Err(Invalid::Depth { .. })));
    assert_eq!(check(&unwell(depth), &limits), Ok(()));
    let error = check(&unwell(depth + 1), &limits);
    assert!(matches!(error, Err(Invalid::Depth { what: "health", .. })));
}

#[test]
fn hashes_have_a_length() {
    let limits = Limits::default();
    let status = RemoteConfigStatus {
        last_remote_config_hash: vec![0; limits.hash_bytes_max + 1],
        ..Default::default()
    };
    let message = AgentToServer { remote_config_status: Some(status), ..Default::default() };
    assert!(matches!(check(&message, &limits), Err(Invalid::Length { .. })));
}

/// What is said about a message that is over a bound.
fn refusal(message: &AgentToServer) -> String {
    check(message, &Limits::default()).unwrap_err().to_string()
}

#[test]
fn everything_stored_of_an_agent_has_a_size_as_a_whole() {
    let text =
        |bytes: usize| AnyValue { value: Some(any_value::Value::StringValue("x".repeat(bytes))) };
    let max = Limits::default().description_bytes_max;
    assert_eq!(check(&described(text(max - 64), 1), &Limits::default()), Ok(()));
    let said = refusal(&described(text(1000), 300));
    assert!(said.starts_with("agent_description: 30"), "{said}");
    assert!(said.ends_with("bytes, at most 262144 are taken"), "{said}");

    let capability = "c".repeat(4096);
    let custom = CustomCapabilities { capabilities: vec![capability; 1_100] };
    let custom = AgentToServer { custom_capabilities: Some(custom), ..Default::default() };
    assert!(refusal(&custom).starts_with("custom_capabilities: 45"), "{}", refusal(&custom));

    let status = PackageStatus { error_message: "e".repeat(1000), ..Default::default() };
    let packages = (0..5_000).map(|n| (n.to_string(), status.clone())).collect();
    let packages = PackageStatuses { packages, ..Default::default() };
    let packages = AgentToServer { package_statuses: Some(packages), ..Default::default() };
    assert!(refusal(&packages).starts_with("package_statuses: 5"), "{}", refusal(&packages));
}

#[test]
fn a_tree_has_as_many_entries_as_a_map() {
    let leaf = ComponentHealth::default();
    let branch = ComponentHealth {
        component_health_map: (0..200).map(|n| (n.to_string(), leaf.clone())).collect(),
        ..Default::default()
    };
    let tree = |branches: usize| {
        let map = (0..branches).map(|n| (n.to_string(), branch.clone())).collect();
        let health = ComponentHealth { component_health_map: map, ..Default::default() };
        AgentToServer { health: Some(health), ..Default::default() }
    };
    assert_eq!(check(&tree(49), &Limits::default()), Ok(()), "9,849 components");
    let said = refusal(&tree(50));
    assert_eq!(said, "health.component_health_map: 10050 entries, at most 10000 are taken");

    let details = ComponentDetails::default();
    let kind = ComponentDetails {
        sub_component_map: (0..200).map(|n| (n.to_string(), details.clone())).collect(),
        ..Default::default()
    };
    let components = (0..50).map(|n| (n.to_string(), kind.clone())).collect();
    let available = AvailableComponents { components, ..Default::default() };
    let available = AgentToServer { available_components: Some(available), ..Default::default() };
    let said = refusal(&available);
    assert_eq!(said, "available_components.components: 10050 entries, at most 10000 are taken");
}
