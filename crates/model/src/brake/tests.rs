//! What a brake promises, over fleets that answer as they like.

use proptest::prelude::*;

use super::*;
use crate::{AgentRecord, RevisionRef, Timestamp};

const CONFIG: [u8; 32] = [7; 32];

fn uid(number: u32) -> InstanceUid {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    InstanceUid::from_bytes(bytes)
}

/// Another order would let other agents through, half-way.
#[test]
fn places_in_the_queue_are_golden() {
    let places: Vec<String> =
        (0..3).map(|number| format!("{:016x}", rank(&uid(number), &CONFIG))).collect();
    assert_eq!(places, ["71f7cb4e318fb407", "14005ef3c883780d", "8ba18f53a1647cab"]);
}

/// A fleet in which every admitted agent may answer.
struct Fleet {
    answers: Vec<Option<bool>>,
}

impl Fleet {
    fn tally(&self, brake: &Brake) -> Tally {
        let mut tally = Tally::default();
        for (number, answer) in self.answers.iter().enumerate() {
            let uid = uid(u32::try_from(number).unwrap());
            let standing = match answer {
                Some(true) => Standing::Applied,
                Some(false) => Standing::Failed,
                None if brake.admits(&uid, &CONFIG) => Standing::InFlight,
                None => Standing::Queued,
            };
            tally.add(standing, || rank(&uid, &CONFIG));
        }
        tally
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn never_more_in_flight_than_allowed_and_nobody_is_forgotten(
        agents in 0_usize..60,
        max in 1_u32..20,
        answers in proptest::collection::vec(0_usize..60, 0..80),
    ) {
        let mut brake = Brake::new(max, u32::MAX);
        let mut fleet = Fleet { answers: vec![None; agents] };
        let mut answers = answers.into_iter();
        for _ in 0..400 {
            if let Some(stage) = brake.next(&fleet.tally(&brake)) {
                brake.stage = stage;
            }
            let tally = fleet.tally(&brake);
            prop_assert!(tally.in_flight <= max as usize, "{} in flight", tally.in_flight);
            if brake.stage == Stage::Done {
                break;
            }
            // Somebody in flight answers; the one drawn, or the first there is.
            let admitted = |n: &usize| fleet.answers[*n].is_none()
                && brake.admits(&uid(u32::try_from(*n).unwrap()), &CONFIG);
            let drawn = answers.next().filter(|n| *n < agents).filter(admitted);
            if let Some(number) = drawn.or_else(|| (0..agents).find(admitted)) {
                fleet.answers[number] = Some(true);
            }
        }
        prop_assert_eq!(brake.stage, Stage::Done);
        prop_assert_eq!(fleet.tally(&brake).applied, agents);
    }

    #[test]
    fn a_bad_config_reaches_no_more_than_the_failures_and_those_in_flight(
        agents in 1_usize..80,
        max in 1_u32..20,
        failures in 1_u32..20,
    ) {
        let mut brake = Brake::new(max, failures);
        let mut fleet = Fleet { answers: vec![None; agents] };
        for _ in 0..200 {
            if let Some(stage) = brake.next(&fleet.tally(&brake)) {
                brake.stage = stage;
            }
            let admitted = |n: &usize| fleet.answers[*n].is_none()
                && brake.admits(&uid(u32::try_from(*n).unwrap()), &CONFIG);
            let Some(number) = (0..agents).find(admitted) else { break };
            fleet.answers[number] = Some(false);
        }
        let failed = fleet.tally(&brake).failed;
        prop_assert!(failed <= (failures + max) as usize, "{failed} failed");
        prop_assert_eq!(brake.is_stopped(), agents >= failures as usize);
    }
}

#[test]
fn the_default_goes_by_the_fleet() {
    let brake = Brake::new(0, 0);
    assert_eq!(brake.in_flight_max(5), 50);
    assert_eq!(brake.in_flight_max(45_000), 450);
    let tally = Tally { agents: 20, failed: 10, ..Tally::default() };
    assert_eq!(brake.next(&tally), Some(Stage::Stopped { failed: 10 }));
}

#[test]
fn those_who_are_away_are_not_let_through_in_a_crowd() {
    let brake = Brake::new(5, 0);
    let tally = |queued: &[u64], away| Tally { queued: queued.to_vec(), away, ..Tally::default() };
    assert_eq!(brake.next(&tally(&[20, 10], 0)), Some(Stage::Released));
    assert_eq!(brake.next(&tally(&[20, 10], 1)), Some(Stage::Releasing(21)));
    assert_eq!(brake.next(&tally(&[], 1)), None, "nobody is there to be let through");
}

#[test]
fn it_is_not_done_before_those_who_are_away_have_answered() {
    let brake = Brake { stage: Stage::Released, ..Brake::new(0, 0) };
    assert_eq!(brake.next(&Tally { agents: 1, away: 1, ..Tally::default() }), None);
    assert_eq!(brake.next(&Tally { agents: 1, applied: 1, ..Tally::default() }), Some(Stage::Done));
}

#[test]
fn an_assignment_that_is_done_stops_no_more() {
    let brake = Brake { stage: Stage::Done, ..Brake::new(1, 1) };
    assert_eq!(brake.next(&Tally { failed: 100, ..Tally::default() }), None);
}

#[test]
fn standing_is_told_from_what_the_record_says() {
    let config = RevisionRef { config: "c".to_owned(), revision: 1, hash: ConfigHash(CONFIG) };
    let mut agent = AgentSummary::from(&AgentRecord::new(uid(1), Timestamp(0)));
    let of = |agent: &AgentSummary, connected, admitted| {
        Standing::of(agent, connected, &Content::Config(config.clone()), admitted)
    };
    assert_eq!(of(&agent, true, true), Standing::Unsupported);
    agent.capabilities = AgentCapabilities::AcceptsRemoteConfig as u64;
    assert_eq!(of(&agent, true, true), Standing::InFlight, "as good as told");
    assert_eq!(of(&agent, true, false), Standing::Queued);
    assert_eq!(of(&agent, false, true), Standing::Away);
    agent.config.offered = Some(config.clone());
    agent.config.delivered = true;
    assert_eq!(of(&agent, true, false), Standing::Applied, "it never says more");
    agent.capabilities |= AgentCapabilities::ReportsRemoteConfig as u64;
    assert_eq!(of(&agent, false, false), Standing::InFlight, "silent with it in hand");
    agent.config.reported_hash = CONFIG.to_vec();
    agent.config.status = RemoteConfigStatuses::Applied as i32;
    assert_eq!(of(&agent, true, true), Standing::Applied);
    agent.config.status = RemoteConfigStatuses::Failed as i32;
    assert_eq!(of(&agent, true, true), Standing::Failed);
    agent.config.reported_hash.clear();
    agent.config.refused = true;
    assert_eq!(of(&agent, true, true), Standing::Failed, "it failed on it before");
}
