//! Laws of commands that wait for polls: whatever comes, repeats or comes late, none is told twice,
//! none after its time, and nothing is told with one.

use proptest::prelude::*;

use super::tests::{Agent, bare, context, described, everyone_gets, owner, reply};
use super::*;
use crate::assign::Assignments;
use crate::command::{CommandId, Progress};
use crate::record::PolledCommand;

#[derive(Debug, Clone)]
enum Act {
    /// A command is handed over, or taken back.
    Hand { id: u8, lasts: u64, withdraw: bool },
    /// The next poll, one again, or one that is late; with everything or nothing in it.
    Poll { back: u64, full: bool },
    /// The agent begins anew.
    Restart,
    /// It opens a session.
    Claim,
    /// Time goes by.
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..12_u8, 0..50_u64, prop::bool::weighted(0.1))
            .prop_map(|(id, lasts, withdraw)| Act::Hand { id, lasts, withdraw }),
        (prop_oneof![4 => Just(0_u64), 1 => 1..3_u64], any::<bool>())
            .prop_map(|(back, full)| Act::Poll { back, full }),
        Just(Act::Restart),
        Just(Act::Claim),
        (1..20_u64).prop_map(Act::Wait),
    ]
}

/// What one step of the agent's told it, at a time.
fn step_at(agent: &mut Agent, input: &Input<'_>, now: u64, assignments: &Assignments) -> Outcome {
    let context = Context { now: Timestamp(now), ..context(assignments, 1) };
    let result = step(&agent.record, input, &context);
    agent.record = result.record;
    result.outcome
}

fn poll(message: &AgentToServer, answered: Option<u64>) -> Input<'_> {
    Input::Poll { answered, from: Origin::default(), message }
}

proptest! {
    #[test]
    fn none_is_told_twice_or_late_or_with_anything_else(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let assignments = everyone_gets(7);
        let mut agent = Agent::new(everyone_gets(7));
        let (mut now, mut number, mut told) = (1_000, 0_u64, Vec::new());
        let mut session = 0;
        step_at(&mut agent, &poll(&described(0), None), now, &assignments);
        for act in acts {
            match act {
                Act::Wait(by) => now += by,
                Act::Restart => number = 0,
                Act::Hand { id, lasts, withdraw } => {
                    let not_after = Timestamp(now + lasts);
                    let (id, message) = (CommandId([id; 16]), &[0x4a, 0, id]);
                    let since = Timestamp(0);
                    let handover = Handover { id, message, not_after, withdraw, since };
                    let before = agent.record.commands.len();
                    let input = Input::Command(handover);
                    let outcome = step_at(&mut agent, &input, now, &assignments);
                    prop_assert!(matches!(outcome, Outcome::Handed(_)));
                    prop_assert!(agent.record.commands.len() <= before + 1);
                }
                Act::Claim => {
                    number += 1;
                    session += 1;
                    agent.claim(session, &described(number));
                    let waits = |it: &PolledCommand| it.progress == Progress::Waiting;
                    prop_assert!(!agent.record.commands.iter().any(waits));
                }
                Act::Poll { back, full } => {
                    number += u64::from(back == 0);
                    let sent = number.saturating_sub(back);
                    let message = if full { described(sent) } else { bare(sent) };
                    let last = agent.record.sequence_num;
                    let before = agent.record.clone();
                    let input = poll(&message, last);
                    let said = reply(step_at(&mut agent, &input, now, &assignments));
                    if let Some(command) = said.command {
                        let id = CommandId([command[2]; 16]);
                        prop_assert!(!told.contains(&id), "{id:?} told twice");
                        let rest = (said.flags, said.offers, said.new_instance_uid);
                        prop_assert_eq!(rest, (0, Offers::default(), None));
                        let waited = before.commands.iter().find(|it| it.id == id).unwrap();
                        prop_assert!(now < waited.not_after.0);
                        told.push(id);
                    }
                }
            }
            let commands = &agent.record.commands;
            prop_assert!(commands.len() <= 16);
            for one in commands {
                let went_out = !matches!(
                    one.progress,
                    Progress::Waiting | Progress::Expired | Progress::Returned
                );
                prop_assert_eq!(went_out, told.contains(&one.id) && one.message.is_empty());
            }
            // Forgotten ids may be handed over again: control does not do that.
            told.retain(|id| commands.iter().any(|it| it.id == *id));
        }
    }
}

#[test]
fn the_next_poll_is_proof_and_a_repeated_one_is_none() {
    let progress = |agent: &Agent| agent.record.commands[0].progress;
    for repeated in [false, true] {
        let mut agent = Agent::new(Assignments::default());
        agent.poll(&described(4));
        let not_after = Timestamp(9_000);
        let id = CommandId([1; 16]);
        let (withdraw, since) = (false, Timestamp(0));
        let handover = Handover { id, message: &[0x4a, 0], not_after, withdraw, since };
        agent.step(&Input::Command(handover));
        assert_eq!(agent.poll(&bare(5)).command, Some(vec![0x4a, 0]));
        assert_eq!(progress(&agent), Progress::Replied);
        if repeated {
            assert_eq!(agent.poll(&bare(5)).command, None);
        }
        agent.poll(&bare(6));
        let expected = if repeated { Progress::Replied } else { Progress::Delivered };
        assert_eq!(progress(&agent), expected);
        // A life that begins anew is a restart, whatever was heard of the command.
        agent.poll(&described(0));
        assert_eq!(progress(&agent), Progress::Restarted);
        assert_eq!(agent.record.signs.restarts, 1);
    }
}

/// A copy of a poll, of which nobody hears the answer, must cost no other command.
#[test]
fn a_repeated_poll_is_told_no_other_command_either() {
    let mut agent = Agent::new(Assignments::default());
    agent.poll(&described(4));
    for id in [1, 2] {
        let (id, not_after) = (CommandId([id; 16]), Timestamp(9_000));
        let (withdraw, since) = (false, Timestamp(0));
        let handover = Handover { id, message: &[0x4a, 0], not_after, withdraw, since };
        agent.step(&Input::Command(handover));
    }
    let told = [5, 5, 6].map(|number| agent.poll(&bare(number)).command.is_some());
    assert_eq!(told, [true, false, true]);
}

#[test]
fn a_restart_explains_the_last_restart_that_was_told_and_no_other() {
    let mut agent = Agent::new(Assignments::default());
    agent.poll(&described(4));
    let hand = |agent: &mut Agent, id| {
        let (id, not_after) = (CommandId([id; 16]), Timestamp(9_000));
        let (withdraw, since) = (false, Timestamp(0));
        let handover = Handover { id, message: &[0x4a, 0], not_after, withdraw, since };
        agent.step(&Input::Command(handover));
    };
    hand(&mut agent, 1);
    // The reply is lost, and the agent gives up that poll.
    agent.poll(&bare(5));
    agent.poll(&bare(5));
    agent.poll(&bare(6));
    hand(&mut agent, 2);
    agent.poll(&bare(7));
    agent.poll(&described(0));
    agent.poll(&described(1));
    let progress = agent.record.commands.iter().map(|it| it.progress).collect::<Vec<_>>();
    assert_eq!(progress, [Progress::Replied, Progress::Restarted]);
}

#[test]
fn what_a_lost_record_may_have_told_is_not_handed_over_again() {
    let mut agent = Agent::new(Assignments::default());
    agent.poll(&described(4));
    let context = Context { generation: 5, ..context(&agent.assignments, 1) };
    for (since, expected) in [(4, Handed::Unknown), (5, Handed::Taken), (0, Handed::Taken)] {
        let (id, not_after) = (CommandId([7; 16]), Timestamp(9_000));
        let (withdraw, since) = (false, Timestamp(since));
        let handover = Handover { id, message: &[0x4a, 0], not_after, withdraw, since };
        let outcome = step(&agent.record, &Input::Command(handover), &context).outcome;
        assert_eq!(outcome, Outcome::Handed(expected), "{since:?}, 0 is not said");
    }
}

#[test]
fn a_later_start_time_is_a_restart_and_an_equal_one_is_not() {
    let health =
        |start| opamp::v1::ComponentHealth { start_time_unix_nano: start, ..Default::default() };
    let says = |number, start| AgentToServer { health: Some(health(start)), ..described(number) };
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &says(0, 100));
    for (number, start) in [(1, 100), (2, 0), (3, 100), (4, 200)] {
        agent.report(&says(number, start));
    }
    assert_eq!(agent.record.signs.restarts, 1);
    agent.claim(2, &says(0, 200));
    assert_eq!(agent.record.signs.restarts, 1, "the first words of a life that is known, late");
    agent.report(&says(1, 200));
    agent.report(&says(2, 200));
    agent.claim(3, &says(0, 300));
    assert_eq!(agent.record.signs.restarts, 2);
}

#[test]
fn only_full_reports_that_were_asked_for_are_counted() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let before = agent.record.signs.full_reports;
    agent.report(&described(1));
    assert_eq!(agent.record.signs.full_reports, before, "it always says everything");
    let (epoch, message) = (agent.record.epoch, described(2));
    let owner = owner("gw", 1);
    agent.step(&Input::Report { owner, epoch, n: 9, answered: None, message: &message });
    assert_eq!(agent.record.signs.full_reports, before + 1);
}
