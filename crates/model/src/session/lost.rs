//! What becomes of sessions when the store, or a gateway, forgets.

use super::tests::{Agent, bare, described, owner, reply};
use super::*;

const FULL: u64 = ServerToAgentFlags::ReportFullState as u64;

fn resume(session: u8, epoch: u64, answered: u64) -> Input<'static> {
    Input::Resume { owner: owner("gw", session), epoch, answered: Some(answered) }
}

fn reap(gateway: &str, epoch: u64) -> Input<'static> {
    Input::Reap { gateway: GatewayId::new(gateway), epoch }
}

fn claimed() -> Agent {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    agent
}

#[test]
fn a_reaped_session_that_wakes_up_is_the_owner_again() {
    let mut agent = claimed();
    let (held, epoch) = (agent.record.owner.clone(), agent.record.epoch);
    let (_, events) = agent.step(&reap("gw", epoch));
    assert_eq!((agent.record.owner.as_ref(), events), (None, vec![Event::Disconnected]));
    let (outcome, events) = agent.step(&resume(1, epoch, 7));
    assert_eq!(reply(outcome).flags, 0);
    assert_eq!((&agent.record.owner, events), (&held, vec![Event::Connected]));
    assert_eq!(agent.record.sequence_num, Some(7), "what it answered meanwhile is known");
    assert_eq!(agent.report(&bare(8)).flags, 0);
}

#[test]
fn reaping_touches_only_what_that_gateway_held_in_that_epoch() {
    let mut agent = claimed();
    let before = agent.record.clone();
    for input in [reap("other", before.epoch), reap("gw", before.epoch + 1), reap("gw", 0)] {
        assert_eq!(agent.step(&input).1, []);
        assert_eq!(agent.record, before);
    }
}

#[test]
fn a_session_that_lost_its_agent_does_not_get_it_back() {
    let mut agent = claimed();
    let epoch = agent.record.epoch;
    agent.step(&reap("gw", epoch));
    agent.claim(2, &described(1));
    let before = agent.record.clone();
    assert_eq!(agent.step(&resume(1, epoch, 9)).0, Outcome::Stale);
    assert_eq!(agent.record, before);
    // Closed by its own gateway, it is over as well.
    let (owner, epoch) = (owner("gw", 2), before.epoch);
    agent.step(&Input::Close { owner, epoch, answered: None });
    assert_eq!(agent.step(&resume(2, epoch, 9)).0, Outcome::Stale);
}

#[test]
fn nobody_resumes_an_agent_that_the_store_forgot() {
    let mut agent = Agent::new(Assignments::default());
    assert_eq!(agent.step(&resume(1, 3, 9)).0, Outcome::Stale);
    assert_eq!(agent.record.sequence_num, None);
}

#[test]
fn a_claim_goes_above_what_its_gateway_held_before() {
    let message = described(3);
    let claim = |floor| Input::Claim {
        owner: owner("gw", 5),
        answered: None,
        rival: Rival::Unknown,
        floor,
        from: Origin::default(),
        message: &message,
    };
    // The store was emptied.
    let mut agent = Agent::new(Assignments::default());
    assert_eq!(reply(agent.step(&claim(8)).0).epoch, 9);
    // The store was set back to a time when somebody else was the owner.
    let mut agent = claimed();
    assert_eq!(reply(agent.step(&claim(8)).0).epoch, 9);
    // The store knows better: whoever holds the agent is asked first.
    let mut agent = claimed();
    let contested = agent.step(&claim(agent.record.epoch)).0;
    assert!(matches!(contested, Outcome::Contested { .. }), "{contested:?}");
}

#[test]
fn a_record_of_another_generation_is_reported_again() {
    let mut agent = claimed();
    agent.report(&bare(1));
    agent.generation = 2;
    assert_eq!(agent.report(&bare(2)).flags, FULL);
    assert_eq!(agent.report(&bare(3)).flags, FULL, "until it comes");
    assert_eq!(agent.report(&described(4)).flags, 0);
    assert_eq!(agent.report(&bare(5)).flags, 0);
    agent.generation = 3;
    let epoch = agent.record.epoch;
    assert_eq!(reply(agent.step(&resume(1, epoch, 5)).0).flags, FULL);
    // A record from before generations were noted is no loss.
    agent.record.full_state.wanted = false;
    agent.record.generation = 0;
    assert_eq!(agent.report(&bare(6)).flags, 0);
    assert_eq!(agent.record.generation, 3);
}

#[test]
fn the_full_report_that_a_gateway_asked_for_needs_no_number_and_replaces_everything() {
    let mut agent = claimed();
    let health = opamp::v1::ComponentHealth { healthy: true, ..Default::default() };
    let said = AgentToServer { health: Some(health), ..bare(1) };
    agent.report(&said);
    let owner = agent.record.owner.clone().unwrap();
    let (epoch, message) = (agent.record.epoch, described(40));
    let answered = None;
    let report = Input::Report { owner, epoch, n: 3, answered, message: &message };
    assert_eq!(reply(agent.step(&report).0).flags, 0);
    assert_eq!(agent.record.reported.health, None);
    assert_eq!(agent.record.sequence_num, Some(40));
}
