//! Who waits to be let in is told nothing, whatever it was told before; and who is let in is told
//! everything.

use super::tests::{Agent, bare, described, everyone_gets};
use super::*;
use crate::command::CommandId;
use crate::credential::AgentCredential;
use opamp::v1::{AgentCapabilities, ComponentHealth};

fn enrolled() -> Agent {
    let mut agent = Agent::new(everyone_gets(7));
    agent.shown = Shown::Token("ci");
    agent
}

/// How an agent stands that was issued so many, at this version of the ledger.
fn issued(times: u64, version: u64) -> Standing {
    let none = AgentCredential::none(InstanceUid::from_bytes([1; 16]));
    let issue = |it: AgentCredential, _| it.issued(Timestamp(1), String::new(), 100, false);
    (0..times).fold(none, issue).standing(version)
}

fn reset(version: u64) -> Standing {
    let none = AgentCredential::none(InstanceUid::from_bytes([1; 16]));
    let issued = none.issued(Timestamp(1), String::new(), 100, false);
    issued.reset(0).standing(version)
}

#[test]
fn nothing_is_offered_to_who_waits_and_all_of_it_once_it_is_let_in() {
    let mut agent = enrolled();
    assert_eq!(agent.claim(1, &described(0)).offers, Offers::default());
    assert_eq!(agent.report(&bare(1)).offers, Offers::default());
    agent.step(&Input::Assess);
    assert_eq!(agent.record.offered.config, None, "nothing is decided about it");
    agent.step(&Input::Admitted(issued(1, 5)));
    assert!(to_push(&agent.record, &agent.assignments).config.is_some());
    agent.step(&Input::Admitted(Standing { version: 4, ..reset(4) }));
    assert_eq!(agent.record.admission.as_ref().unwrap().standing.version, 5, "old news");
    assert!(agent.report(&bare(2)).offers.config.is_some());
}

/// It was offered a config, which did not arrive, and then was to be enrolled anew.
#[test]
fn what_was_offered_before_waits_too() {
    let mut agent = enrolled();
    agent.claim(1, &described(0));
    agent.step(&Input::Admitted(issued(1, 5)));
    assert!(agent.report(&bare(1)).offers.config.is_some());
    agent.step(&Input::Admitted(reset(6)));
    assert!(agent.record.offered.config.is_some() && agent.record.is_pending());
    let owner = agent.record.owner.clone().unwrap();
    let (epoch, n, message) = (agent.record.epoch, agent.record.n, bare(1));
    let again = Input::Report { owner, epoch, n, answered: Some(0), message: &message };
    let Outcome::Reply(again) = agent.step(&again).0 else { panic!("it asks again") };
    assert_eq!(again.offers, Offers::default(), "the reply that was lost");
    assert_eq!(agent.claim(2, &described(2)).offers, Offers::default(), "a new session");
    assert_eq!(to_push(&agent.record, &agent.assignments), Offers::default());
}

#[test]
fn a_poll_of_who_waits_gets_no_command() {
    let mut agent = enrolled();
    agent.step(&Input::Admitted(Standing::default()));
    agent.poll(&described(0));
    let handover = Handover {
        id: CommandId([7; 16]),
        message: &[0x4a, 0],
        not_after: Timestamp(u64::MAX),
        withdraw: false,
        since: Timestamp(0),
    };
    assert!(matches!(agent.step(&Input::Command(handover)).0, Outcome::Handed(Handed::Taken)));
    assert_eq!(agent.poll(&bare(1)).command, None);
    agent.step(&Input::Admitted(issued(1, 5)));
    assert!(agent.poll(&bare(2)).command.is_some());
}

#[test]
fn who_is_turned_away_is_not_heard_from_then_on() {
    let mut agent = enrolled();
    agent.claim(1, &described(0));
    agent.step(&Input::Admitted(Standing { refused: true, version: 5, ..Standing::default() }));
    let before = agent.record.clone();
    let (owner, epoch, message) = (before.owner.clone().unwrap(), before.epoch, described(1));
    let report = Input::Report { owner, epoch, n: 2, answered: Some(0), message: &message };
    assert_eq!(agent.step(&report).0, Outcome::Refused(Refusal::TurnedAway));
    let from = Origin { shown: Shown::Own(1), ..Origin::default() };
    let poll = Input::Poll { answered: None, from, message: &message };
    assert_eq!(agent.step(&poll).0, Outcome::Refused(Refusal::TurnedAway));
    assert_eq!(agent.record, before, "nothing of it is stored");
}

/// The serial of the credential that a reply tells.
fn told(reply: &Reply) -> Option<u64> {
    let opamp = reply.offers.settings.as_ref()?.opamp.as_ref()?;
    assert_eq!(opamp.settings, None, "nothing else is assigned");
    Some(opamp.credential)
}

#[test]
fn a_credential_is_told_until_it_is_shown_and_not_for_ever() {
    let takes = AgentCapabilities::AcceptsOpAmpConnectionSettings as u64;
    let full = |seq, start_time_unix_nano| {
        let health = Some(ComponentHealth { start_time_unix_nano, ..Default::default() });
        AgentToServer { capabilities: takes, health, ..described(seq) }
    };
    let mut agent = enrolled();
    agent.claim(1, &full(0, 1));
    agent.step(&Input::Admitted(issued(1, 5)));
    assert_eq!(told(&agent.report(&bare(1))), Some(1));
    assert_eq!(told(&agent.report(&bare(2))), None, "it is on its way");
    assert_eq!(told(&agent.claim(2, &bare(3))), Some(1), "it came without");
    assert_eq!(told(&agent.claim(3, &bare(4))), None, "it does not take it");
    assert_eq!(told(&agent.claim(4, &full(5, 2))), Some(1), "it was started again");
    agent.shown = Shown::Own(1);
    assert_eq!(told(&agent.claim(5, &full(6, 3))), None, "it has it");
    agent.step(&Input::Admitted(issued(2, 6)));
    assert_eq!(told(&agent.report(&bare(7))), Some(2), "the next one");
}
