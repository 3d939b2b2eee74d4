//! What holds for every record, every message and every order of them.

use opamp::v1::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::tests::{context, everyone_gets, owner, uid};
use super::*;

/// An input without its borrows.
#[derive(Debug, Clone)]
enum Said {
    Claim(u8, Option<u64>, Box<AgentToServer>),
    Report(u64, u64, Option<u64>, Box<AgentToServer>),
    Poll(Option<u64>, Box<AgentToServer>),
    Close(u8, u64, Option<u64>),
    Resume(u8, u64, Option<u64>),
    Reap(u64),
    Assess(u8, u64),
    Pushed(u64, u8),
}

fn message() -> impl Strategy<Value = AgentToServer> {
    let status = (0_u8..4, 0_i32..4).prop_map(|(hash, status)| RemoteConfigStatus {
        last_remote_config_hash: if hash == 0 { Vec::new() } else { vec![hash; 32] },
        status,
        error_message: String::new(),
    });
    let health =
        any::<bool>().prop_map(|healthy| ComponentHealth { healthy, ..Default::default() });
    (
        0_u64..6,
        of(Just(AgentDescription::default())),
        0_u64..0x1_0000,
        of(status),
        of(health),
        (0..12, 0_u8..6),
    )
        .prop_map(
            |(sequence_num, agent_description, capabilities, status, health, (special, custom))| {
                AgentToServer {
                    instance_uid: vec![1; 16],
                    sequence_num,
                    agent_description,
                    capabilities,
                    health,
                    remote_config_status: status,
                    agent_disconnect: (special == 0).then_some(AgentDisconnect {}),
                    flags: u64::from(special == 1),
                    custom_message: (custom < 2).then(|| said_word(custom)),
                    ..Default::default()
                }
            },
        )
}

fn said_word(word: u8) -> CustomMessage {
    let (capability, kind) = ("org.example.talk".to_owned(), "word".to_owned());
    CustomMessage { capability, r#type: kind, data: vec![word] }
}

fn said() -> impl Strategy<Value = Said> {
    let boxed = || message().prop_map(Box::new);
    prop_oneof![
        (0_u8..5, of(0_u64..6), boxed()).prop_map(|(s, a, m)| Said::Claim(s, a, m)),
        (0_u64..5, 0_u64..5, of(0_u64..6), boxed())
            .prop_map(|(e, n, a, m)| Said::Report(e, n, a, m)),
        (of(0_u64..6), boxed()).prop_map(|(a, m)| Said::Poll(a, m)),
        (0_u8..5, 0_u64..5, of(0_u64..6)).prop_map(|(s, e, a)| Said::Close(s, e, a)),
        (0_u8..5, 0_u64..5, of(0_u64..6)).prop_map(|(s, e, a)| Said::Resume(s, e, a)),
        (0_u64..5).prop_map(Said::Reap),
        (1_u8..4, 0_u64..4).prop_map(|(h, d)| Said::Assess(h, d)),
        (0_u64..5, 1_u8..4).prop_map(|(e, h)| Said::Pushed(e, h)),
    ]
}

fn run(record: &AgentRecord, said: &Said) -> Step {
    let (hash, decision) = match said {
        Said::Assess(hash, decision) => (*hash, *decision),
        _ => (1, 0),
    };
    let assignments = everyone_gets(hash);
    let pushed;
    let input = match said {
        Said::Claim(session, answered, message) => Input::Claim {
            owner: owner("gw", *session),
            answered: *answered,
            floor: 0,
            rival: if *session == 0 { Rival::Unknown } else { Rival::Gone(record.epoch) },
            from: Origin { remote_address: "peer", token_name: "t", ..Origin::default() },
            message,
        },
        Said::Report(epoch, n, answered, message) => {
            let owner = owner("gw", u8::try_from(*epoch).unwrap());
            Input::Report { owner, epoch: *epoch, n: *n, answered: *answered, message }
        }
        Said::Poll(answered, message) => Input::Poll {
            answered: *answered,
            from: Origin { remote_address: "peer", token_name: "t", ..Origin::default() },
            message,
        },
        Said::Close(session, epoch, answered) => {
            Input::Close { owner: owner("gw", *session), epoch: *epoch, answered: *answered }
        }
        Said::Resume(session, epoch, answered) => {
            Input::Resume { owner: owner("gw", *session), epoch: *epoch, answered: *answered }
        }
        Said::Reap(epoch) => Input::Reap { gateway: GatewayId::new("gw"), epoch: *epoch },
        Said::Assess(..) => Input::Assess,
        Said::Pushed(epoch, hash) => {
            pushed = Pushed::Config(ConfigHash([*hash; 32]));
            Input::Pushed { epoch: *epoch, what: &pushed, decision: record.offered.decision }
        }
    };
    step(record, &input, &context(&assignments, decision))
}

fn fresh() -> AgentRecord {
    AgentRecord::new(uid(1), Timestamp(0))
}

fn after(history: &[Said]) -> AgentRecord {
    history.iter().fold(fresh(), |record, said| run(&record, said).record)
}

proptest! {
    #[test]
    fn epochs_and_decisions_never_go_back(history in vec(said(), 0..24), next in said()) {
        let before = after(&history);
        let step = run(&before, &next);
        prop_assert!(step.record.epoch >= before.epoch);
        prop_assert!(step.record.offered.decision >= before.offered.decision);
        prop_assert!(before.offered.config.is_none() || step.record.offered.config.is_some());
    }

    #[test]
    fn a_stale_owner_changes_nothing(history in vec(said(), 0..24), next in said()) {
        let before = after(&history);
        let step = run(&before, &next);
        if step.outcome == Outcome::Stale {
            prop_assert_eq!(step.record, before);
            prop_assert!(step.events.is_empty());
        }
    }

    #[test]
    fn nothing_is_offered_without_the_capability(history in vec(said(), 0..24), next in said()) {
        let step = run(&after(&history), &next);
        let offered = match &step.outcome {
            Outcome::Reply(reply) => reply.offers.config.as_ref(),
            _ => None,
        };
        if let Some(offer) = offered {
            prop_assert!(step.record.can(AgentCapabilities::AcceptsRemoteConfig));
            prop_assert!(!step.record.failed.contains(&offer.hash));
            prop_assert_eq!(Some(offer), step.record.offered.config.as_ref());
        }
    }

    #[test]
    fn a_status_about_another_config_is_answered_with_the_right_one(
        history in vec(said(), 0..24), message in message(), session in 5_u8..9,
    ) {
        let step = run(&after(&history), &Said::Claim(session, None, Box::new(message.clone())));
        let Outcome::Reply(reply) = &step.outcome else { return Ok(()) };
        let offered = step.record.offered.config.as_ref();
        let (Some(status), Some(offered)) = (&message.remote_config_status, offered) else {
            return Ok(());
        };
        let ordinary = message.agent_disconnect.is_none() && message.flags == 0;
        let takes = step.record.can(AgentCapabilities::AcceptsRemoteConfig)
            && !step.record.failed.contains(&offered.hash);
        let other = status.last_remote_config_hash != offered.hash.0;
        if ordinary && takes {
            prop_assert_eq!(reply.offers.config.is_some(), other);
        }
    }

    #[test]
    fn an_omitted_part_changes_nothing(history in vec(said(), 0..24), seq in 0_u64..6) {
        let before = after(&history);
        let bare = AgentToServer { sequence_num: seq, ..Default::default() };
        let step = run(&before, &Said::Claim(9, None, Box::new(bare)));
        prop_assert_eq!(step.record.reported, before.reported);
    }

    #[test]
    fn the_same_report_again_gets_the_same_answer_and_changes_nothing(
        history in vec(said(), 0..24), message in message(), session in 5_u8..9,
    ) {
        let claim = Said::Claim(session, None, Box::new(message));
        let first = run(&after(&history), &claim);
        let again = run(&first.record, &claim);
        if first.record.owner.as_ref().is_some_and(|o| o.session.0 == [session; 16]) {
            prop_assert_eq!(again.outcome, first.outcome);
            prop_assert_eq!(again.record, first.record);
        }
    }

    #[test]
    fn events_are_there_exactly_when_their_part_changed(
        history in vec(said(), 0..24), next in said(),
    ) {
        let before = after(&history);
        let step = run(&before, &next);
        let happened = |event| step.events.contains(&event);
        let (old, new) = (&before.reported, &step.record.reported);
        prop_assert_eq!(happened(Event::HealthChanged), old.health != new.health);
        prop_assert_eq!(
            happened(Event::ConfigStatusChanged),
            old.remote_config_status != new.remote_config_status
        );
        prop_assert_eq!(happened(Event::OfferChanged), before.offered != step.record.offered);
        prop_assert!(step.events.is_empty() || step.record != before);
    }

    #[test]
    fn a_custom_message_comes_with_the_commit_that_takes_it(
        history in vec(said(), 0..24), next in said(),
    ) {
        let before = after(&history);
        let step = run(&before, &next);
        let taken = step.record.custom.taken - before.custom.taken;
        prop_assert!(taken <= 1);
        prop_assert_eq!(step.message.is_some(), taken == 1);
        prop_assert_eq!(step.events.contains(&Event::CustomMessageReceived), taken == 1);
        let (Said::Claim(.., message) | Said::Report(.., message) | Said::Poll(_, message)) = &next
        else {
            prop_assert_eq!(taken, 0);
            return Ok(());
        };
        let said = message.custom_message.as_ref().map(Received::from);
        prop_assert!(step.message.is_none() || step.message == said);
    }

    #[test]
    fn a_report_that_comes_again_says_nothing_new(
        history in vec(said(), 0..24), next in said(),
    ) {
        let first = run(&after(&history), &next).record;
        prop_assert_eq!(run(&first, &next).message, None);
    }

    #[test]
    fn lists_stay_bounded(history in vec(said(), 0..200)) {
        let record = after(&history);
        prop_assert!(record.failed.len() <= crate::record::FAILED_HASHES_MAX);
        prop_assert!(record.recent_sessions.len() <= crate::record::RECENT_SESSIONS_MAX);
    }

    #[test]
    fn full_reports_are_asked_for_only_so_often(messages in vec(message(), 0..60)) {
        // Whatever an agent sends within one session, it is not flagged for ever unless its
        // numbers advance in between.
        let mut record = run(&fresh(), &Said::Claim(1, None, Box::default())).record;
        let mut in_a_row = 0;
        for (index, mut message) in messages.into_iter().enumerate() {
            (message.flags, message.agent_disconnect, message.sequence_num) = (0, None, 3);
            let n = index as u64 + 2;
            let answered = record.sequence_num;
            let step = run(&record, &Said::Report(1, n, answered, Box::new(message)));
            record = step.record;
            let Outcome::Reply(reply) = step.outcome else { continue };
            in_a_row = if reply.flags == 0 { 0 } else { in_a_row + 1 };
            prop_assert!(in_a_row <= 3);
        }
    }
}
