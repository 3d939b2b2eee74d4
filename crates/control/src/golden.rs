//! Messages of the API as binaries sent them, version by version: clients and servers are not
//! upgraded together, and a program that was written against an older one goes on.

use model::selector::Selector;
use opamp::v1::{self as opamp_v1, any_value::Value};
use prost::Message;
use prost_types::Timestamp;
use services::Golden;

use crate::api::page;
use crate::v1::*;
use crate::watch::place::Place;

/// Holds a message to its files. What a version could not say, `message` leaves at its default.
fn hold<M: Message + Default + PartialEq + std::fmt::Debug>(
    files: &mut Golden,
    (name, newest): (&str, u32),
    message: impl Fn(u32) -> M,
) {
    let today = message(newest).encode_to_vec();
    for (version, bytes) in files.versions(name, newest, &today) {
        assert_eq!(M::decode(&bytes[..]).unwrap(), message(version), "{name}");
        // Fields 100 and 101, of a sender that is not written yet.
        let newer = [&bytes[..], &[0xa2, 0x06, 2, 1, 2, 0xa8, 0x06, 5]].concat();
        assert_eq!(M::decode(&newer[..]).unwrap(), message(version), "{name} with newer fields");
    }
}

const UID: &str = "07070707-0707-0707-0707-070707070707";

#[test]
fn golden_messages_are_understood_for_ever() {
    let mut files = Golden::of(env!("CARGO_MANIFEST_DIR"));
    agents(&mut files);
    watches(&mut files);
    configs(&mut files);
    assignments(&mut files);
    fleet(&mut files);
    commands(&mut files);
    credentials(&mut files);
    packages(&mut files);
    handed_out(&mut files);
    files.finish();
}

fn agents(files: &mut Golden) {
    // Version 2 knows custom capabilities, version 3 packages and connection settings, requests
    // components.
    hold(files, ("agent", 4), agent);
    hold(files, ("list-agents-request", 3), |version| ListAgentsRequest {
        selector: "env=prod".to_owned(),
        page_size: 50,
        page_token: "0011223344556677.x".to_owned(),
        order_by: "last_seen_time desc".to_owned(),
        status: ConnectionStatus::Connected.into(),
        config_status: ConfigStatus::Failed.into(),
        custom_capability: if version < 2 { String::new() } else { "org.example.p".to_owned() },
        component: if version < 3 { String::new() } else { "otlp@0.140.0".to_owned() },
    });
    hold(files, ("list-agents-response", 1), |_| ListAgentsResponse {
        agents: vec![agent(1)],
        next_page_token: "0011223344556677.y".to_owned(),
        total_size: 300,
    });
    let name = || format!("agents/{UID}");
    hold(files, ("get-agent-request", 1), |_| GetAgentRequest { name: name() });
    hold(files, ("delete-agent-request", 1), |_| DeleteAgentRequest { name: name() });
    hold(files, ("label-agents-request", 1), |_| LabelAgentsRequest {
        name: name(),
        selector: "env=prod".to_owned(),
        set: [("canary".to_owned(), "yes".to_owned())].into(),
        remove: vec!["old".to_owned()],
        validate_only: true,
    });
    hold(files, ("label-agents-response", 1), |_| LabelAgentsResponse {
        changed_agents: 3,
        impact: Some(impact(1)),
    });
}

fn watches(files: &mut Golden) {
    use watch_agents_response::{Change, Event};
    hold(files, ("watch-agents-request", 1), |_| WatchAgentsRequest {
        selector: "env=prod".to_owned(),
        position: "1.2.3".to_owned(),
    });
    hold(files, ("watch-agents-response", 1), |_| WatchAgentsResponse {
        change: Change::Modified.into(),
        agent: Some(agent(1)),
        events: (Event::Appeared as i32..=Event::LabelsChanged as i32).collect(),
        event_time: Some(time(4)),
        position: "1.2.4".to_owned(),
    });
    hold(files, ("watch-custom-messages-request", 1), |_| WatchCustomMessagesRequest {
        selector: "env=prod".to_owned(),
        capability: "org.example.profile".to_owned(),
        r#type: "start".to_owned(),
        position: "1.2.3".to_owned(),
    });
    hold(files, ("watch-custom-messages-response", 1), |_| WatchCustomMessagesResponse {
        message: Some(ReceivedCustomMessage {
            agent: format!("agents/{UID}"),
            capability: "org.example.profile".to_owned(),
            r#type: "started".to_owned(),
            data: vec![1, 2, 3],
            size_bytes: 3,
            receive_time: Some(time(4)),
            version: 12,
        }),
        position: "1.2.4".to_owned(),
    });
}

fn configs(files: &mut Golden) {
    hold(files, ("config", 1), |_| Config {
        name: "configs/collector".to_owned(),
        revisions: vec![revision()],
    });
    hold(files, ("apply-config-request", 1), |_| ApplyConfigRequest {
        name: "configs/collector".to_owned(),
        files: revision().files,
        allow_empty: true,
    });
    let name = "configs/collector".to_owned();
    hold(files, ("get-config-request", 1), |_| GetConfigRequest { name: name.clone() });
    hold(files, ("get-config-revision-request", 1), |_| GetConfigRevisionRequest {
        name: format!("{name}/revisions/latest"),
    });
    hold(files, ("list-configs-request", 1), |_| ListConfigsRequest {
        page_size: 50,
        page_token: "0011223344556677.x".to_owned(),
    });
    hold(files, ("list-configs-response", 1), |_| ListConfigsResponse {
        configs: vec![Config { name: name.clone(), revisions: Vec::new() }],
        next_page_token: "0011223344556677.y".to_owned(),
    });
}

fn assignments(files: &mut Golden) {
    // Version 2 knows packages and connection settings.
    hold(files, ("set-assignment-request", 2), |version| SetAssignmentRequest {
        assignment: Some(assignment(version)),
        validate_only: true,
    });
    hold(files, ("set-assignment-response", 2), |version| SetAssignmentResponse {
        assignment: Some(assignment(version)),
        matched_agents: 300,
        affected_agents: 2,
        impact: Some(impact(version)),
    });
    hold(files, ("list-assignments-response", 1), |_| ListAssignmentsResponse {
        assignments: vec![assignment(1)],
        hold: Some(held()),
    });
    hold(files, ("delete-assignment-request", 1), |_| DeleteAssignmentRequest {
        name: "assignments/all".to_owned(),
    });
    hold(files, ("hold-offers-request", 1), |_| HoldOffersRequest { reason: held().reason });
    hold(files, ("hold-offers-response", 1), |_| HoldOffersResponse {
        hold: Some(held()),
        waiting_agents: 7,
    });
    hold(files, ("resume-offers-response", 1), |_| ResumeOffersResponse { waiting_agents: 7 });
}

fn commands(files: &mut Golden) {
    let name = || format!("commands/{UID}");
    hold(files, ("create-command-request", 1), |_| CreateCommandRequest {
        command: Some(given()),
        agents: vec![format!("agents/{UID}")],
        selector: "env=prod".to_owned(),
        request_id: "upgrade-42".to_owned(),
        validate_only: true,
    });
    hold(files, ("create-command-response", 1), |_| CreateCommandResponse {
        command: Some(given()),
        matched_agents: 9,
        told: Some(impact(1)),
        disconnected_agents: 2,
        polling_agents: 3,
        unable: Some(impact(1)),
    });
    hold(files, ("list-commands-request", 1), |_| ListCommandsRequest {
        page_size: 50,
        page_token: "0011223344556677.x".to_owned(),
        agent: format!("agents/{UID}"),
        state: CommandState::Unknown.into(),
        open: true,
    });
    hold(files, ("list-command-targets-request", 1), |_| ListCommandTargetsRequest {
        parent: name(),
        page_size: 50,
        page_token: "0011223344556677.x".to_owned(),
        state: CommandState::Refused.into(),
    });
    hold(files, ("watch-command-response", 1), |_| WatchCommandResponse {
        command: Some(given()),
        changed: vec![command_target()],
    });
}

fn given() -> Command {
    Command {
        name: format!("commands/{UID}"),
        action: Some(command::Action::Reidentify(command::Reidentify {
            instance_uid: UID.to_owned(),
        })),
        selector: "env=prod".to_owned(),
        create_time: Some(time(1)),
        expire_time: Some(time(2)),
        queue: true,
        max_per_second: 50,
        confirm_window: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        actor: "alice".to_owned(),
        driver: "muster-1".to_owned(),
        settled: true,
        counts: vec![command::Count { state: CommandState::Unknown.into(), targets: 1 }],
        target: Some(command_target()),
    }
}

fn command_target() -> CommandTarget {
    CommandTarget {
        agent: format!("agents/{UID}"),
        state: CommandState::Unknown.into(),
        gateway_id: "gateway-1".to_owned(),
        epoch: 3,
        attempts: 1,
        reason: "gateway gateway-1 did not answer (epoch 3, attempt 1)".to_owned(),
        route_time: Some(time(1)),
        update_time: Some(time(2)),
        settled: true,
        reply: None,
    }
}

fn fleet(files: &mut Golden) {
    use get_status_response::*;
    let service =
        |reachable| Some(Service { reachable, error: "away".to_owned(), answer_micros: 250 });
    let process = || Process {
        process_id: "muster-1".to_owned(),
        roles: vec![Role { name: "control".to_owned(), ready: true, reason: "why".to_owned() }],
        version: "0.1.0".to_owned(),
        start_time: Some(time(1)),
        last_heard_time: Some(time(2)),
        liveness: Liveness::Silent.into(),
        draining: true,
    };
    hold(files, ("get-status-response", 1), |_| GetStatusResponse {
        processes: vec![process()],
        gateways: vec![gateway()],
        bus: service(true),
        records: service(true),
        ledger: service(false),
        view: Some(View { ready: true, behind: Some(0), last_event_time: Some(time(3)) }),
        agents: Some(AgentCounts {
            total: 300,
            connected: 299,
            unhealthy: 3,
            config_pending: 2,
            config_failed: 1,
        }),
        offers: Some(Offers { hold: Some(held()), in_flight: 4, assignments: vec![assignment(1)] }),
    });
    hold(files, ("list-gateways-response", 1), |_| ListGatewaysResponse {
        gateways: vec![gateway()],
    });
}

/// Texts that clients keep and bring back, maybe to another version.
fn handed_out(files: &mut Golden) {
    let selector = Selector::parse("env=prod").unwrap();
    let place = Place::new(u64::MAX, selector.as_str(), bus::Position(77));
    for (_, text) in files.versions("position", 1, place.text().as_bytes()) {
        assert_eq!(Place::parse(std::str::from_utf8(&text).unwrap()), Ok(place));
    }
    let token = page::token("x.y", "env=prod");
    for (_, text) in files.versions("page-token", 1, token.as_bytes()) {
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(page::after(text, "env=prod"), Ok(Some("x.y")));
    }
}

fn agent(version: u32) -> Agent {
    let pair = |key: &str, value| opamp_v1::KeyValue {
        key: key.to_owned(),
        value: Some(opamp_v1::AnyValue { value: Some(value) }),
    };
    let name = Value::StringValue("otelcol".to_owned());
    Agent {
        name: format!("agents/{UID}"),
        instance_uid: UID.to_owned(),
        status: ConnectionStatus::Connected.into(),
        gateway_id: "gateway-1".to_owned(),
        epoch: 3,
        transport: "websocket".to_owned(),
        remote_address: "192.0.2.7:40000".to_owned(),
        capabilities: 0x1803,
        identifying_attributes: vec![pair("service.name", name)],
        non_identifying_attributes: vec![pair("cores", Value::IntValue(4))],
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        health: Some(opamp_v1::ComponentHealth { healthy: true, ..Default::default() }),
        config: Some(AgentConfig {
            status: ConfigStatus::Applied.into(),
            offered_revision: "configs/collector/revisions/2".to_owned(),
            offered_hash: vec![9; 32],
            reported_hash: vec![8; 32],
            error_message: "no exporter".to_owned(),
        }),
        first_seen_time: Some(time(0)),
        last_seen_time: Some(time(1)),
        version: 12,
        report: Some(AgentReport {
            effective_config: Some(opamp_v1::EffectiveConfig::default()),
            remote_config_status: Some(opamp_v1::RemoteConfigStatus::default()),
            package_statuses: Some(opamp_v1::PackageStatuses::default()),
            custom_capabilities: Some(opamp_v1::CustomCapabilities::default()),
            available_components: Some(opamp_v1::AvailableComponents::default()),
            connection_settings_status: Some(opamp_v1::ConnectionSettingsStatus::default()),
            sequence_num: Some(0),
            token_name: "collectors".to_owned(),
        }),
        custom_capabilities: match version {
            1 => Vec::new(),
            _ => vec!["org.example.profile".to_owned()],
        },
        admission: if version < 4 { 0 } else { 3 },
        packages: (version > 2).then(|| AgentPackages {
            status: agent_packages::Status::Failed.into(),
            offered_revision: "packageSets/edge/revisions/3".to_owned(),
            offered_hash: vec![7; 32],
            error_message: "no space".to_owned(),
            download_percent: Some(12.5),
        }),
        connection_settings: (version > 2).then(|| AgentConnectionSettings {
            status: agent_connection_settings::Status::Applying.into(),
            offered: vec![agent_connection_settings::Offered {
                class: "own-metrics".to_owned(),
                revision: "connectionSettings/backend/revisions/4".to_owned(),
            }],
            error_message: "no route".to_owned(),
        }),
    }
}

fn revision() -> ConfigRevision {
    let file = opamp_v1::AgentConfigFile {
        body: bytes::Bytes::from_static(b"receivers: {}\n"),
        content_type: "text/yaml".to_owned(),
        ..Default::default()
    };
    ConfigRevision {
        name: "configs/collector/revisions/2".to_owned(),
        revision: 2,
        hash: vec![9; 32],
        create_time: Some(time(2)),
        size_bytes: 14,
        keys: vec!["a.yaml".to_owned()],
        files: [("a.yaml".to_owned(), file)].into(),
        actor: "alice".to_owned(),
    }
}

/// Version 2 knows that it may give packages and settings; all three at once prove the fields.
fn assignment(version: u32) -> Assignment {
    use assignment::{Progress, State};
    Assignment {
        name: "assignments/all".to_owned(),
        selector: "env=prod".to_owned(),
        config_revision: "configs/collector/revisions/2".to_owned(),
        priority: -3,
        update_time: Some(time(3)),
        max_in_flight: 7,
        max_failures: 8,
        progress: Some(Progress {
            state: State::Releasing.into(),
            agents: 300,
            applied: 100,
            failed: 1,
            in_flight: 7,
            waiting: 192,
        }),
        actor: "alice".to_owned(),
        package_set_revision: since(version, "packageSets/edge/revisions/3"),
        settings_revision: since(version, "connectionSettings/backend/revisions/4"),
    }
}

/// What version 2 says.
fn since(version: u32, text: &str) -> String {
    if version < 2 { String::new() } else { text.to_owned() }
}

/// Version 2 knows what becomes of packages.
fn impact(version: u32) -> Impact {
    let kind = impact::Kind {
        service_name: "otelcol".to_owned(),
        service_version: "0.150.0".to_owned(),
        agents: 2,
    };
    let deleted = impact::DeletedPackage { package: "addon".to_owned(), agents: 2 };
    Impact {
        agents: 3,
        kinds: vec![kind],
        disconnected_agents: 1,
        deleted_packages: if version < 2 { Vec::new() } else { vec![deleted] },
        incomplete_agents: if version < 2 { 0 } else { 4 },
    }
}

fn held() -> Hold {
    let (reason, actor) = ("incident 42".to_owned(), "alice".to_owned());
    Hold { since_time: Some(time(5)), reason, actor }
}

fn gateway() -> Gateway {
    Gateway {
        name: "gateways/gateway-1".to_owned(),
        gateway_id: "gateway-1".to_owned(),
        sessions: 150,
        last_heard_time: Some(time(2)),
        liveness: Liveness::Alive.into(),
        version: "0.1.0".to_owned(),
        address: "http://192.0.2.1:4320".to_owned(),
        process_id: "muster-1".to_owned(),
    }
}

fn credentials(files: &mut Golden) {
    let name = || format!("credentials/{UID}");
    hold(files, ("credential", 1), |_| Credential {
        name: name(),
        serial: 5,
        oldest_good_serial: 4,
        state: credential::State::Pending.into(),
        expire_time: Some(time(1)),
        issue_time: Some(time(2)),
        issue_actor: "alice".to_owned(),
        revoke_time: Some(time(3)),
        revoke_actor: "bob".to_owned(),
        enrollment: "enrollmentTokens/ci".to_owned(),
        ask_time: Some(time(4)),
        proven_serial: 3,
    });
    hold(files, ("issue-credential-request", 1), |_| IssueCredentialRequest {
        name: name(),
        expire_time: Some(time(1)),
        revoke_older: true,
    });
    hold(files, ("issue-credential-response", 1), |_| IssueCredentialResponse {
        credential: Some(Credential { name: name(), ..Default::default() }),
        token: "msa_x".to_owned(),
    });
    hold(files, ("list-credentials-request", 1), |_| ListCredentialsRequest {
        page_size: 50,
        page_token: "0011223344556677.x".to_owned(),
        state: credential::State::Reset.into(),
    });
    hold(files, ("approve-credential-request", 1), |_| ApproveCredentialRequest { name: name() });
    hold(files, ("rotate-credential-request", 1), |_| RotateCredentialRequest { name: name() });
    hold(files, ("revoke-credential-request", 1), |_| RevokeCredentialRequest { name: name() });
    hold(files, ("reset-credential-request", 1), |_| ResetCredentialRequest { name: name() });
}

fn packages(files: &mut Golden) {
    let name = || "packages/collector/versions/0.141.0".to_owned();
    let version = |_| PackageVersion {
        name: name(),
        r#type: package_version::Type::Addon.into(),
        files: vec![package_version::File {
            selector: "os.type=linux".to_owned(),
            download_url: "https://example.org/collector.tar.gz".to_owned(),
            content_hash: vec![8; 32],
            signature: vec![1, 2, 3],
            hash: vec![9; 32],
        }],
        create_time: Some(time(1)),
        actor: "alice".to_owned(),
    };
    hold(files, ("package-version", 1), version);
    hold(files, ("create-package-version-request", 1), |_| CreatePackageVersionRequest {
        package_version: Some(version(1)),
    });
    hold(files, ("package-set", 1), |_| PackageSet {
        name: "packageSets/edge".to_owned(),
        revisions: vec![PackageSetRevision {
            name: "packageSets/edge/revisions/2".to_owned(),
            revision: 2,
            package_versions: vec![name()],
            create_time: Some(time(2)),
            actor: "bob".to_owned(),
        }],
    });
    hold(files, ("apply-package-set-request", 1), |_| ApplyPackageSetRequest {
        name: "packageSets/edge".to_owned(),
        package_versions: vec![name()],
    });
}

fn time(more: i64) -> Timestamp {
    Timestamp { seconds: 1_700_000_000 + more, nanos: 5_000_000 }
}
