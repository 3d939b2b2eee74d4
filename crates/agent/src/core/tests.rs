//! The agent against a server that believes what it hears.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn agent() -> Agent {
    Agent::new(Settings::new(InstanceUid::from_bytes([1; 16])))
}

fn offer(hash: u8, body: &str) -> ServerToAgent {
    let file = AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
    let config = Some(AgentConfigMap { config_map: [(String::new(), file)].into() });
    let remote_config = Some(AgentRemoteConfig { config, config_hash: vec![hash; 32] });
    ServerToAgent { remote_config, ..Default::default() }
}

#[test]
fn the_first_report_is_full_and_the_next_says_only_what_changed() {
    let mut agent = agent();
    let first = agent.next_message(0).unwrap();
    assert_eq!(Parts::of(&first), Parts::ALL);
    assert_eq!(agent.next_message(1), None);
    agent.set_health(false, "degraded", "disk full");
    let second = agent.next_message(2).unwrap();
    assert_eq!((Parts::of(&second), second.sequence_num), (Parts::HEALTH, 1));
}

#[test]
fn a_heartbeat_comes_when_it_is_due() {
    let mut agent = agent();
    agent.next_message(0);
    assert_eq!(agent.next_deadline_ms(), Some(30_000));
    assert_eq!(agent.next_message(29_999), None);
    let beat = agent.next_message(30_000).unwrap();
    assert!(Parts::of(&beat).is_empty());
    assert_eq!(agent.ledger.heartbeats, 1);
}

#[test]
fn a_config_is_applied_and_every_step_told() {
    let mut agent = agent();
    agent.next_message(0);
    agent.hear(&offer(7, "a: 1"), 0);
    let told: Vec<i32> = std::iter::from_fn(|| agent.next_message(1))
        .map(|message| message.remote_config_status.unwrap().status)
        .collect();
    assert_eq!(told, [RemoteConfigStatuses::Applying as i32, RemoteConfigStatuses::Applied as i32]);
    assert_eq!(
        &agent.effective_config().config_map.as_ref().unwrap().config_map[""].body[..],
        b"a: 1"
    );
    agent.hear(&offer(7, "a: 1"), 0);
    assert_eq!(agent.ledger.repeated_offers, 1);
    assert_eq!(agent.ledger.applied(), [[7; 32]]);
}

#[test]
fn a_config_that_asks_to_fail_fails_with_its_reason() {
    let mut agent = agent();
    agent.next_message(0);
    agent.hear(&offer(7, FAIL_MARK), 0);
    let last = std::iter::from_fn(|| agent.next_message(1)).last().unwrap();
    let status = last.remote_config_status.unwrap();
    assert_eq!(status.status(), RemoteConfigStatuses::Failed);
    assert!(!status.error_message.is_empty());
    assert_eq!(agent.effective_config(), &EffectiveConfig::default());
}

#[test]
fn a_restart_starts_over_and_a_new_uid_does_not() {
    let mut agent = agent();
    agent.next_message(0);
    let new_instance_uid = vec![9; 16];
    let agent_identification = Some(AgentIdentification { new_instance_uid });
    let flags = ServerToAgentFlags::ReportFullState as u64;
    agent.hear(&ServerToAgent { flags, agent_identification, ..Default::default() }, 0);
    let renamed = agent.next_message(1).unwrap();
    assert_eq!((renamed.instance_uid, renamed.sequence_num), (vec![9; 16], 1));
    let command = Some(ServerToAgentCommand::default());
    agent.hear(&ServerToAgent { command, ..Default::default() }, 77);
    assert!(agent.takes_restart() && !agent.takes_restart(), "one connection ends");
    let restarted = agent.next_message(2).unwrap();
    assert_eq!(restarted.sequence_num, 0);
    assert_eq!(restarted.health.unwrap().start_time_unix_nano, 77);
    // Nobody answered: all of it is said again, on the next connection.
    agent.connected();
    let again = agent.next_message(3).unwrap();
    assert_eq!((again.sequence_num, again.health.unwrap().start_time_unix_nano), (1, 77));
}

#[test]
fn a_server_that_is_busy_is_left_alone_and_told_everything_after() {
    let mut agent = agent();
    agent.next_message(0);
    let details = server_error_response::Details::RetryInfo(RetryInfo {
        retry_after_nanoseconds: 5_000_000_000,
    });
    let error_response = Some(ServerErrorResponse {
        r#type: ServerErrorResponseType::Unavailable.into(),
        error_message: "busy".to_owned(),
        details: Some(details),
    });
    let message = ServerToAgent { error_response, ..Default::default() };
    assert_eq!(agent.hear(&message, 0), Some(5_000));
    assert_eq!(Parts::of(&agent.next_message(1).unwrap()), Parts::ALL);
}

proptest! {
    /// Whatever happens, a server that merges what it hears knows the agent as it is.
    #[test]
    fn what_is_left_out_is_what_was_said_before(steps in vec(0..7_u8, 0..60)) {
        let mut agent = agent();
        let mut known = AgentToServer::default();
        let mut expected = 0;
        for (index, step) in steps.into_iter().enumerate() {
            let now = index as u64 * 10_000;
            match step {
                0 => agent.set_health(index % 2 == 0, "s", &index.to_string()),
                1 => drop(agent.hear(&offer(u8::try_from(index).unwrap(), "a: 1"), 0)),
                2 => drop(agent.hear(&offer(u8::try_from(index).unwrap(), FAIL_MARK), 0)),
                3 => agent.connected(),
                4 => drop(agent.hear(&ServerToAgent { flags: 1, ..Default::default() }, 0)),
                _ => {}
            }
            while let Some(message) = agent.next_message(now) {
                prop_assert_eq!(message.sequence_num, expected);
                expected += 1;
                known = AgentToServer {
                    agent_description: message.agent_description.or(known.agent_description),
                    health: message.health.or(known.health),
                    effective_config: message.effective_config.or(known.effective_config),
                    remote_config_status: message
                        .remote_config_status
                        .or(known.remote_config_status),
                    ..known
                };
            }
        }
        if expected > 0 {
            prop_assert_eq!(known.health.as_ref(), Some(&agent.health));
            prop_assert_eq!(known.effective_config.as_ref(), Some(&agent.effective_config));
            prop_assert_eq!(known.remote_config_status.as_ref(), Some(&agent.status));
        }
    }
}

#[test]
fn only_an_answer_proves_that_the_server_has_it() {
    let mut agent = agent();
    agent.connected();
    agent.set_health(true, "1", "");
    agent.next_message(0).unwrap();
    agent.set_health(true, "2", "");
    agent.next_message(1).unwrap();
    assert_eq!(agent.proven_status(), None);
    // Pushed, perhaps: it proves nothing.
    agent.hear(&offer(1, ""), 0);
    assert_eq!(agent.proven_status(), None);
    agent.hear(&ServerToAgent::default(), 0);
    assert_eq!(agent.proven_status(), Some("1"));
    // What was not answered on a connection that is gone is open for ever.
    agent.connected();
    agent.hear(&ServerToAgent::default(), 0);
    assert_eq!(agent.proven_status(), Some("1"));
}

fn ping(capability: &str, data: &[u8]) -> ServerToAgent {
    let (capability, kind) = (capability.to_owned(), PING.to_owned());
    let custom_message = Some(CustomMessage { capability, r#type: kind, data: data.to_vec() });
    ServerToAgent { custom_message, ..Default::default() }
}

#[test]
fn pings_of_its_own_capabilities_are_answered_in_order_one_to_a_message() {
    let mut settings = Settings::new(InstanceUid::from_bytes([1; 16]));
    settings.custom_capabilities = vec![ECHO.to_owned()];
    let mut agent = Agent::new(settings);
    let first = agent.next_message(0).unwrap();
    assert_eq!(first.custom_capabilities.unwrap().capabilities, [ECHO]);
    for (capability, data) in [(ECHO, b"a"), ("org.example.other", b"b"), (ECHO, b"c")] {
        agent.hear(&ping(capability, data), 0);
    }
    assert_eq!((agent.ledger.custom_messages, agent.ledger.foreign_messages), (2, 1));
    let said = |message: AgentToServer| {
        assert_eq!(message.custom_capabilities, None, "told once");
        let said = message.custom_message.unwrap();
        (said.r#type, said.data)
    };
    assert_eq!(said(agent.next_message(1).unwrap()), (PONG.to_owned(), b"a".to_vec()));
    assert_eq!(agent.next_message(1), None, "one at a time");
    agent.hear(&ServerToAgent::default(), 0);
    assert_eq!(said(agent.next_message(2).unwrap()), (PONG.to_owned(), b"c".to_vec()));
    assert_eq!(agent.ledger.told(PING).collect::<Vec<_>>(), [b"a", b"c"]);
}

#[test]
fn what_the_server_did_not_take_is_said_again() {
    let mut agent = agent();
    agent.next_message(0);
    agent.say("org.example.talk", "word", b"a".to_vec());
    agent.say("org.example.talk", "word", b"b".to_vec());
    let data = |message: Option<AgentToServer>| message.unwrap().custom_message.unwrap().data;
    let first = agent.next_message(1).unwrap();
    agent.lost(&first);
    assert_eq!(data(agent.next_message(2)), b"a");
    let error_response = Some(ServerErrorResponse {
        r#type: ServerErrorResponseType::Unavailable.into(),
        ..Default::default()
    });
    agent.hear(&ServerToAgent { error_response, ..Default::default() }, 0);
    assert_eq!(data(agent.next_message(3)), b"a");
    agent.connected();
    assert_eq!(data(agent.next_message(3)), b"a");
    agent.hear(&ServerToAgent::default(), 0);
    assert_eq!(data(agent.next_message(4)), b"b");
}

#[test]
fn capabilities_are_named_again_when_they_change_even_to_none() {
    let mut agent = agent();
    assert_eq!(agent.next_message(0).unwrap().custom_capabilities, None);
    agent.set_custom_capabilities(vec![ECHO.to_owned()]);
    let named = |message: Option<AgentToServer>| message.unwrap().custom_capabilities;
    assert_eq!(named(agent.next_message(1)).unwrap().capabilities, [ECHO]);
    agent.set_custom_capabilities(Vec::new());
    assert_eq!(named(agent.next_message(2)), Some(CustomCapabilities::default()));
    assert_eq!(agent.next_message(3), None);
}

#[test]
fn components_are_named_by_their_hash_and_listed_on_request() {
    let components = [("receivers".to_owned(), ComponentDetails::default())].into();
    let list = AvailableComponents { components, hash: vec![7] };
    let components = Some(Arc::new(list.clone()));
    let mut agent =
        Agent::new(Settings { components, ..Settings::new(InstanceUid::from_bytes([1; 16])) });
    let first = agent.next_message(0).unwrap();
    let bit = AgentCapabilities::ReportsAvailableComponents as u64;
    assert_eq!(first.capabilities & bit, bit);
    let hash = AvailableComponents { hash: vec![7], ..Default::default() };
    assert_eq!(first.available_components, Some(hash));
    let flags = ServerToAgentFlags::ReportAvailableComponents as u64;
    agent.hear(&ServerToAgent { flags, ..Default::default() }, 0);
    let second = agent.next_message(1).unwrap();
    assert_eq!(second.available_components, Some(list.clone()));
    agent.lost(&second);
    assert_eq!(agent.next_message(2).unwrap().available_components, Some(list));
    assert_eq!(agent.next_message(3), None);
}
