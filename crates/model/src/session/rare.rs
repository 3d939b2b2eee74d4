//! Cases that need several accidents at once. Each was found by the simulator.

use opamp::v1::{ComponentHealth, RemoteConfigStatus, RemoteConfigStatuses};

use super::tests::{Agent, bare, context, described, everyone_gets, owner, reply};
use super::*;

const FULL: u64 = ServerToAgentFlags::ReportFullState as u64;

fn says(sequence_num: u64, hash: u8) -> AgentToServer {
    let remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: vec![hash; 32],
        status: RemoteConfigStatuses::Applied.into(),
        error_message: String::new(),
    });
    AgentToServer { remote_config_status, ..bare(sequence_num) }
}

fn feels(sequence_num: u64, status: &str) -> AgentToServer {
    let health = Some(ComponentHealth { status: status.to_owned(), ..Default::default() });
    AgentToServer { health, ..bare(sequence_num) }
}

fn report<'a>(session: u8, epoch: u64, n: u64, message: &'a AgentToServer) -> Input<'a> {
    Input::Report { owner: owner("gw", session), epoch, n, answered: None, message }
}

/// The reply was lost on its way to the gateway, which asks again while the ledger cannot be read.
#[test]
fn an_offer_that_a_repeated_reply_cannot_carry_has_not_gone_out() {
    let mut agent = Agent::new(everyone_gets(7));
    let first = described(0);
    assert!(agent.claim(1, &first).offers.config.is_some());
    let assignments = everyone_gets(7);
    let blind = Context { intent: None, ..context(&assignments, 1) };
    let input = Input::Claim {
        owner: owner("gw", 1),
        floor: 0,
        rival: Rival::Unknown,
        answered: None,
        from: Origin { remote_address: "", token_name: "t", ..Origin::default() },
        message: &first,
    };
    let again = step(&agent.record, &input, &blind);
    assert_eq!(reply(again.outcome).offers.config, None);
    agent.record = again.record;
    assert!(agent.report(&bare(1)).offers.config.is_some(), "it still has to be told");
}

/// A push of something else reached the agent, and nobody heard that it did.
#[test]
fn what_an_agent_says_of_another_config_makes_an_earlier_delivery_void() {
    let mut agent = Agent::new(everyone_gets(7));
    assert!(agent.claim(1, &described(0)).offers.config.is_some());
    agent.assignments = everyone_gets(8);
    agent.decision = 2;
    assert_eq!(agent.report(&says(1, 8)).offers.config, None, "it runs what it should");
    agent.assignments = everyone_gets(7);
    agent.decision = 3;
    agent.step(&Input::Assess);
    assert!(to_push(&agent.record, &agent.assignments).config.is_some());
}

/// A push was flushed, and its worker heard of that only after two more decisions.
#[test]
fn news_of_an_older_push_of_the_same_config_is_no_delivery() {
    let mut agent = Agent::new(everyone_gets(7));
    agent.claim(1, &described(0));
    let epoch = agent.record.epoch;
    for (hash, decision) in [(8, 2), (7, 3)] {
        agent.assignments = everyone_gets(hash);
        agent.decision = decision;
        agent.report(&says(decision - 1, hash.wrapping_add(1)));
    }
    agent.record.delivered = None;
    let hash = ConfigHash([7; 32]);
    agent.step(&Input::Pushed { epoch, what: &Pushed::Config(hash), decision: 1 });
    assert_eq!(agent.record.delivered, None);
    agent.step(&Input::Pushed { epoch, what: &Pushed::Config(hash), decision: 3 });
    assert!(agent.record.delivered.is_some());
}

#[test]
fn a_poll_that_arrives_after_a_later_one_is_asked_about_and_not_believed() {
    let mut agent = Agent::new(Assignments::default());
    agent.poll(&described(4));
    agent.poll(&feels(6, "busy"));
    assert_eq!(agent.poll(&feels(5, "sick")).flags, FULL);
    assert_eq!(agent.record.reported.health, feels(6, "busy").health);
    // A new life begins with everything, and counts from the beginning.
    let born = AgentToServer { health: feels(0, "new").health, ..described(0) };
    agent.poll(&born);
    assert_eq!(agent.record.reported.health, born.health);
}

#[test]
fn an_agent_whose_polls_never_count_is_believed_in_the_end() {
    let mut agent = Agent::new(Assignments::default());
    agent.poll(&described(4));
    for _ in 0..4 {
        agent.poll(&feels(4, "sick"));
    }
    agent.poll(&feels(4, "well"));
    assert_eq!(agent.record.reported.health, feels(4, "well").health);
}

/// Records were lost and the epoch was given out again; then its second holder left.
#[test]
fn an_epoch_without_a_holder_is_nobodys_but_of_the_session_that_was_reaped() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let epoch = agent.record.epoch;
    agent.step(&Input::Close { owner: owner("gw", 1), epoch, answered: None });
    let before = agent.record.clone();
    assert_eq!(agent.step(&report(9, epoch, 5, &bare(9))).0, Outcome::Stale);
    assert_eq!(agent.record, before);

    agent.claim(2, &described(1));
    let epoch = agent.record.epoch;
    agent.step(&Input::Reap { gateway: GatewayId::new("gw"), epoch });
    assert_eq!(agent.step(&report(9, epoch, 5, &bare(9))).0, Outcome::Stale);
    assert!(matches!(agent.step(&report(2, epoch, 5, &bare(2))).0, Outcome::Reply(_)));
    assert_eq!(agent.record.owner, Some(owner("gw", 2)));
}

/// A claim that was delayed on the bus must not steal the agent back either.
#[test]
fn a_reaped_session_is_remembered_once_another_has_claimed() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let epoch = agent.record.epoch;
    agent.step(&Input::Reap { gateway: GatewayId::new("gw"), epoch });
    agent.claim(2, &described(1));
    assert!(agent.record.recent_sessions.contains(&owner("gw", 1).session));
}
