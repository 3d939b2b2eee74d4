//! What a gateway does about sessions of which it is not sure.

use std::time::Duration;

use bus::v1::gateway_reply::Reply;
use bus::v1::gateway_request::Request;
use bus::v1::resume_reply::Outcome;
use bus::v1::{Doubt, DoubtReply};
use opamp::v1::{AgentDescription, AgentToServer, ServerToAgent, ServerToAgentFlags};
use opamp::ws::Event;

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, stale, until};

fn full(number: u8, sequence_num: u64) -> AgentToServer {
    AgentToServer {
        agent_description: Some(AgentDescription::default()),
        ..report(number, sequence_num)
    }
}

fn wants_full_state(reply: &ServerToAgent) -> bool {
    reply.error_response.is_none() && reply.flags & ServerToAgentFlags::ReportFullState as u64 != 0
}

/// Gives up soon on workers.
async fn impatient() -> Field {
    Field::with(|limits| {
        limits.report_timeout = Duration::from_millis(50);
        limits.report_patience = Duration::from_millis(120);
        limits.doubt_interval = Duration::from_millis(20);
    })
    .await
}

#[tokio::test]
async fn what_was_not_stored_is_asked_for_once_it_can_be() {
    let field = impatient().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.answer_with(|_, _| None);
    field.seen.hold(None);
    assert!(agent.say(&report(1, 1)).await.error_response.is_some());
    assert_eq!(agent.say(&heartbeat(1, 2)).await.flags, 0);
    until("the workers are tried", || field.seen.resumes().len() > 2).await;
    assert!(agent.event_within(Duration::from_millis(50)).await.is_err(), "asked for nothing yet");
    field.seen.answer_as_usual();
    field.seen.hold(Some(Outcome::Held));
    assert!(wants_full_state(&agent.hear().await), "without having said anything");
    agent.say(&full(1, 3)).await;
    let (told, _) = field.seen.reports().pop().unwrap();
    assert_eq!((told.epoch, told.answered_sequence_num), (1, None));
    // Now it is sure again.
    let reports = field.seen.reports().len();
    agent.say(&heartbeat(1, 4)).await;
    assert_eq!(field.seen.reports().len(), reports);
    until("its number is told", || {
        let presence = field.seen.presence();
        let mut seen = presence.iter().flat_map(|presence| &presence.seen);
        seen.any(|seen| seen.sequence_num == 4)
    })
    .await;
}

#[tokio::test]
async fn an_opening_that_was_not_stored_is_asked_for_too() {
    let field = impatient().await;
    let mut agent = Agent::connect(field.address).await;
    field.seen.answer_with(|_, _| None);
    field.seen.hold(None);
    assert!(agent.say(&full(1, 0)).await.error_response.is_some());
    field.seen.answer_as_usual();
    field.seen.hold(Some(Outcome::Held));
    assert!(wants_full_state(&agent.hear().await));
    agent.say(&full(1, 1)).await;
    let (claim, _) = field.seen.reports().pop().unwrap();
    assert_eq!((claim.epoch, claim.epoch_floor, claim.n), (0, 0, 1));
}

#[tokio::test]
async fn lost_records_are_reported_again_a_few_at_a_time_above_their_old_epoch() {
    let field = Field::with(|limits| {
        limits.doubt_interval = Duration::from_millis(20);
        limits.asked_max = 1;
    })
    .await;
    let mut agents =
        [Agent::claimed(field.address, 1).await, Agent::claimed(field.address, 2).await];
    field.tell_generation(7).await;
    field.tell_generation(7).await;
    // The first word is how old they are, not that they changed.
    for (agent, number) in agents.iter_mut().zip([1, 2]) {
        assert_eq!(agent.say(&heartbeat(number, 1)).await.flags, 0);
    }
    field.seen.answer_with(|report, _| (report.epoch != 0).then(stale));
    field.tell_generation(8).await;
    let [one, two] = &mut agents;
    assert!(wants_full_state(&one.hear().await));
    let quiet = two.event_within(Duration::from_millis(100)).await;
    assert!(quiet.is_err(), "one at a time: {quiet:?}");
    one.send(&full(1, 2)).await;
    until("claimed anew", || field.seen.reports().iter().any(|(r, _)| r.epoch_floor != 0)).await;
    let (claim, message) = field.seen.reports().pop().unwrap();
    assert_eq!((claim.epoch, claim.epoch_floor, claim.n), (0, 1, 1));
    assert_eq!(message.instance_uid, uid(1));
    field.seen.answer_as_usual();
    assert_eq!(one.hear().await.error_response, None);
    assert!(wants_full_state(&two.hear().await), "its turn");
}

#[tokio::test]
async fn an_agent_that_does_not_report_in_full_is_asked_only_so_often() {
    let field = Field::with(|limits| {
        limits.doubt_interval = Duration::from_millis(10);
        limits.ask_patience = Duration::from_millis(30);
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.tell_generation(7).await;
    field.tell_generation(8).await;
    for _ in 0..3 {
        assert!(wants_full_state(&agent.hear().await));
    }
    let more = agent.event_within(Duration::from_millis(200)).await;
    assert!(matches!(more, Err(())), "{more:?}");
    // From now on its numbers tell.
    agent.say(&heartbeat(1, 5)).await;
    let (told, _) = field.seen.reports().pop().unwrap();
    assert_eq!((told.epoch, told.answered_sequence_num), (1, Some(0)));
}

/// A gateway that takes itself for unheard all the time.
async fn doubtful() -> Field {
    Field::with(|limits| {
        limits.silence_max = Duration::from_millis(5);
        limits.doubt_interval = Duration::from_millis(20);
    })
    .await
}

#[tokio::test]
async fn after_a_silence_workers_are_asked_and_agents_are_not() {
    let field = doubtful().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let asked_of = |epoch| {
        let resumes = field.seen.resumes();
        let mut sessions = resumes.iter().flat_map(|resume| &resume.sessions);
        sessions.any(|session| session.instance_uid == uid(1) && session.epoch == epoch)
    };
    until("a worker is asked", || asked_of(1)).await;
    assert_eq!(agent.say(&heartbeat(1, 1)).await.flags, 0);
    assert_eq!(field.seen.reports().len(), 1);
}

#[tokio::test]
async fn a_session_that_lost_its_agent_claims_it_anew() {
    let field = doubtful().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.hold(Some(Outcome::Stale));
    assert!(wants_full_state(&agent.hear().await));
    field.seen.hold(Some(Outcome::Held));
    agent.send(&full(1, 1)).await;
    let claim = loop {
        match agent.event().await {
            Some(Event::Binary(_)) => {}
            other => panic!("{other:?}"),
        }
        if let Some((claim, _)) = field.seen.reports().get(1) {
            break claim.clone();
        }
    };
    assert_eq!((claim.epoch, claim.epoch_floor), (0, 1));
    assert_ne!(claim.session_id, field.seen.reports()[0].0.session_id);
}

#[tokio::test]
async fn what_was_reaped_while_the_gateway_lives_is_made_sure_of() {
    let field = Field::with(|limits| limits.doubt_interval = Duration::from_millis(20)).await;
    let _agents = [Agent::claimed(field.address, 1).await, Agent::claimed(field.address, 2).await];
    let doubt = Doubt { instance_uids: vec![uid(1).into(), b"nobody".to_vec().into()] };
    assert_eq!(field.ask(Request::Doubt(doubt)).await, Reply::Doubt(DoubtReply {}));
    let asked = || {
        let resumes = field.seen.resumes();
        let sessions = resumes.iter().flat_map(|resume| &resume.sessions);
        sessions.map(|session| session.instance_uid.to_vec()).collect::<Vec<_>>()
    };
    until("a worker is asked", || !asked().is_empty()).await;
    assert_eq!(asked(), [uid(1)]);
}

#[tokio::test]
async fn a_claim_goes_above_every_epoch_that_is_known_here() {
    let field = Field::start().await;
    let _first = Agent::claimed(field.address, 1).await;
    let mut second = Agent::connect(field.address).await;
    second.say(&full(1, 5)).await;
    let floors: Vec<u64> = field.seen.reports().iter().map(|(r, _)| r.epoch_floor).collect();
    assert_eq!(floors, [0, 1], "the store may have forgotten the first");
}
