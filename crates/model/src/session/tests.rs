//! Behaviour people argue about, one case each. The laws that hold for every input are beside it.

use opamp::v1::*;

use super::*;
use crate::assign::{Assignment, Content, Hold};
use crate::brake::{Brake, Stage};
use crate::selector::Selector;
use crate::{GatewayId, SessionId};

const ACCEPTS: u64 = AgentCapabilities::AcceptsRemoteConfig as u64;
const REPORTS: u64 = AgentCapabilities::ReportsRemoteConfig as u64;
const FULL: u64 = ServerToAgentFlags::ReportFullState as u64;

pub(super) fn uid(byte: u8) -> InstanceUid {
    InstanceUid::from_bytes([byte; 16])
}

pub(super) fn owner(gateway: &str, session: u8) -> Owner {
    Owner { gateway: GatewayId::new(gateway), session: SessionId([session; 16]) }
}

pub(super) fn everyone_gets(hash: u8) -> Assignments {
    let config = RevisionRef {
        config: "c".to_owned(),
        revision: u64::from(hash),
        hash: ConfigHash([hash; 32]),
    };
    let selector = Selector::parse("").unwrap();
    let updated = Timestamp(0);
    let name = "all".to_owned();
    let brake = Brake::default();
    let (priority, actor) = (0, String::new());
    let content = Content::Config(config);
    let list = vec![Assignment { name, selector, content, priority, updated, brake, actor }];
    Assignments { list, hold: None }
}

fn held() -> Hold {
    Hold { since: Timestamp(0), reason: String::new(), actor: String::new() }
}

pub(super) fn context<'a>(assignments: &'a Assignments, decision: u64) -> Context<'a> {
    Context {
        now: Timestamp(1_000),
        fresh_uid: uid(0xf),
        uid_is_ours: false,
        known_list: None,
        generation: 1,
        intent: Some(Intent { assignments, decision }),
        withheld: Withheld::default(),
    }
}

pub(super) fn described(seq: u64) -> AgentToServer {
    AgentToServer {
        instance_uid: vec![1; 16],
        sequence_num: seq,
        agent_description: Some(AgentDescription::default()),
        capabilities: 1 | ACCEPTS | REPORTS,
        remote_config_status: Some(RemoteConfigStatus::default()),
        ..Default::default()
    }
}

pub(super) fn bare(seq: u64) -> AgentToServer {
    AgentToServer { instance_uid: vec![1; 16], sequence_num: seq, ..Default::default() }
}

fn status(seq: u64, hash: u8, status: RemoteConfigStatuses) -> AgentToServer {
    let remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: vec![hash; 32],
        status: status.into(),
        error_message: String::new(),
    });
    AgentToServer { remote_config_status, ..bare(seq) }
}

/// An agent, its session, and the assignments it lives under.
pub(super) struct Agent {
    pub(super) record: AgentRecord,
    pub(super) assignments: Assignments,
    pub(super) decision: u64,
    n: u64,
    pub(super) generation: u64,
    /// What it shows at the door.
    pub(super) shown: Shown<'static>,
}

impl Agent {
    pub(super) fn new(assignments: Assignments) -> Self {
        Self {
            record: AgentRecord::new(uid(1), Timestamp(0)),
            assignments,
            decision: 1,
            n: 0,
            generation: 1,
            shown: Shown::Nothing,
        }
    }

    pub(super) fn step(&mut self, input: &Input<'_>) -> (Outcome, Vec<Event>) {
        let context = context(&self.assignments, self.decision);
        let step = step(&self.record, input, &Context { generation: self.generation, ..context });
        self.record = step.record;
        (step.outcome, step.events)
    }

    pub(super) fn claim(&mut self, session: u8, message: &AgentToServer) -> Reply {
        self.n = 1;
        let owner = owner("gw", session);
        let rival = Rival::Gone(self.record.epoch);
        let input = Input::Claim {
            owner,
            floor: 0,
            rival,
            answered: None,
            from: Origin { remote_address: "", token_name: "t", shown: self.shown },
            message,
        };
        reply(self.step(&input).0)
    }

    pub(super) fn report(&mut self, message: &AgentToServer) -> Reply {
        self.n += 1;
        let owner = self.record.owner.clone().expect("claimed");
        let (epoch, n, answered) = (self.record.epoch, self.n, self.record.sequence_num);
        reply(self.step(&Input::Report { owner, epoch, n, answered, message }).0)
    }

    pub(super) fn poll(&mut self, message: &AgentToServer) -> Reply {
        let answered = self.record.sequence_num;
        let from = Origin { shown: self.shown, ..Origin::default() };
        reply(self.step(&Input::Poll { answered, from, message }).0)
    }
}

pub(super) fn reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Reply(reply) => reply,
        other => panic!("expected a reply, got {other:?}"),
    }
}

#[test]
fn a_first_full_report_is_enough_and_a_sparse_one_is_not() {
    assert_eq!(Agent::new(Assignments::default()).claim(1, &described(0)).flags, 0);
    assert_eq!(Agent::new(Assignments::default()).claim(1, &bare(42)).flags, FULL);
}

#[test]
fn a_gap_asks_until_a_full_report_arrives() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(1));
    assert_eq!(agent.report(&bare(5)).flags, FULL);
    assert_eq!(agent.report(&bare(6)).flags, FULL, "the first reply may be lost");
    assert_eq!(agent.report(&described(7)).flags, 0);
    assert_eq!(agent.report(&bare(8)).flags, 0);
}

#[test]
fn a_restart_is_a_gap_and_its_full_report_replaces_everything() {
    let mut agent = Agent::new(Assignments::default());
    let custom = CustomCapabilities { capabilities: vec!["a.b.c".to_owned()] };
    agent.claim(1, &AgentToServer { custom_capabilities: Some(custom), ..described(57) });
    assert_eq!(agent.claim(2, &described(0)).flags, FULL);
    assert_eq!(agent.record.reported.custom_capabilities, None);
    assert_eq!(agent.report(&described(1)).flags, 0);
}

#[test]
fn a_reconnect_that_carries_on_counting_needs_nothing() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    agent.report(&bare(1));
    assert_eq!(agent.claim(2, &bare(2)).flags, 0);
    assert!(agent.record.reported.agent_description.is_some());
}

#[test]
fn presence_ahead_of_the_record_is_no_gap() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let message = bare(8);
    let (outcome, _) = agent.step(&Input::Claim {
        owner: owner("other", 2),
        floor: 0,
        rival: Rival::Gone(1),
        answered: Some(7),
        from: Origin::default(),
        message: &message,
    });
    assert_eq!(reply(outcome).flags, 0);
}

#[test]
fn numbers_that_never_advance_are_asked_about_only_so_often() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let mut asked = 0;
    for round in 0..20 {
        let health = Some(ComponentHealth { start_time_unix_nano: round, ..Default::default() });
        asked += u32::from(agent.report(&AgentToServer { health, ..bare(0) }).flags == FULL);
        agent.report(&described(0));
    }
    assert!((1..=3).contains(&asked), "asked {asked} times");
    assert!(agent.record.full_state.ignores_sequence);
}

#[test]
fn an_epoch_that_was_given_out_twice_belongs_to_who_holds_the_agent() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let (before, message) = (agent.record.clone(), described(9));
    let stranger = owner("gw", 2);
    let report = Input::Report {
        owner: stranger.clone(),
        epoch: before.epoch,
        n: 5,
        answered: None,
        message: &message,
    };
    assert_eq!(agent.step(&report).0, Outcome::Stale);
    let resume = Input::Resume { owner: stranger, epoch: before.epoch, answered: None };
    assert_eq!(agent.step(&resume).0, Outcome::Stale);
    assert_eq!(agent.record, before);
}

#[test]
fn numbers_with_holes_are_asked_about_until_a_full_report_comes() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    for seq in (2..20).step_by(2) {
        let flags = agent.poll(&AgentToServer { ..bare(seq) }).flags;
        assert_eq!(flags, FULL, "its answers are lost, which is not its fault: {seq}");
    }
    assert_eq!(agent.poll(&described(20)).flags, FULL, "by the letter: it is a gap");
    assert_eq!(agent.poll(&described(21)).flags, 0);
    assert_eq!(agent.poll(&bare(19)).flags, FULL, "a late one from before is noticed");
}

#[test]
fn nobody_is_offered_anything_before_it_is_known_what_it_is_like() {
    let mut agent = Agent::new(everyone_gets(7));
    let reply = agent.claim(1, &bare(42));
    assert_eq!((reply.flags, reply.offers.config), (FULL, None));
    agent.step(&Input::Assess);
    assert_eq!(agent.record.offered.config, None);
    assert!(agent.report(&described(43)).offers.config.is_some());
}

#[test]
fn a_config_is_offered_once_and_its_status_is_an_answer() {
    let mut agent = Agent::new(everyone_gets(7));
    let offer =
        agent.claim(1, &described(0)).offers.config.expect("an empty status is another hash");
    assert_eq!(offer.hash, ConfigHash([7; 32]));
    assert_eq!(agent.report(&bare(1)).offers.config, None, "in flight");
    for (seq, word) in [(2, RemoteConfigStatuses::Applying), (3, RemoteConfigStatuses::Applied)] {
        assert_eq!(agent.report(&status(seq, 7, word)).offers.config, None);
    }
    assert_eq!(agent.claim(2, &bare(4)).offers.config, None, "it has said that it runs it");
    assert!(agent.report(&status(5, 9, RemoteConfigStatuses::Applied)).offers.config.is_some());
}

#[test]
fn a_failed_config_is_not_offered_again_and_another_one_is() {
    let mut agent = Agent::new(everyone_gets(7));
    agent.claim(1, &described(0));
    agent.report(&status(1, 7, RemoteConfigStatuses::Failed));
    assert_eq!(agent.claim(2, &described(2)).offers.config, None);
    agent.assignments = everyone_gets(8);
    agent.decision = 2;
    agent.step(&Input::Assess);
    assert_eq!(
        to_push(&agent.record, &everyone_gets(8)).config.map(|offer| offer.hash),
        Some(ConfigHash([8; 32]))
    );
}

#[test]
fn an_agent_that_takes_no_config_is_offered_none() {
    let mut agent = Agent::new(everyone_gets(7));
    let message = AgentToServer { capabilities: 1, ..described(0) };
    assert_eq!(agent.claim(1, &message).offers.config, None);
    assert_eq!(to_push(&agent.record, &everyone_gets(8)).config, None);
    let now_it_does = AgentToServer { capabilities: 1 | ACCEPTS, ..bare(1) };
    assert!(agent.report(&now_it_does).offers.config.is_some());
}

#[test]
fn an_agent_that_reports_no_status_is_told_once_a_session() {
    let mut agent = Agent::new(everyone_gets(7));
    let silent = |seq| AgentToServer {
        capabilities: 1 | ACCEPTS,
        remote_config_status: None,
        ..described(seq)
    };
    assert!(agent.claim(1, &silent(0)).offers.config.is_some());
    assert_eq!(agent.report(&silent(1)).offers.config, None);
    assert!(agent.claim(2, &silent(2)).offers.config.is_some());
}

#[test]
fn a_poller_is_told_once_and_the_same_poll_again_gets_the_same_answer() {
    let mut agent = Agent::new(everyone_gets(7));
    let silent = |seq| AgentToServer { remote_config_status: None, ..described(seq) };
    assert!(agent.poll(&silent(0)).offers.config.is_some());
    assert!(agent.poll(&silent(0)).offers.config.is_some(), "its reply may be lost");
    assert_eq!(agent.poll(&silent(1)).offers.config, None);
}

#[test]
fn an_unchanged_poll_changes_nothing_to_store() {
    let mut agent = Agent::new(Assignments::default());
    agent.poll(&described(0));
    let stored = agent.record.clone();
    let answered = Some(0);
    let message = bare(1);
    agent.step(&Input::Poll { answered, from: Origin::default(), message: &message });
    assert_eq!(agent.record, stored);
}

#[test]
fn a_poll_that_is_stored_is_stored_with_its_number() {
    let mut agent = Agent::new(Assignments::default());
    let mut poll = |seq, remote_address, token_name| {
        let message = if seq == 0 { described(0) } else { bare(seq) };
        let answered = None;
        agent.step(&Input::Poll {
            answered,
            from: Origin { remote_address, token_name, ..Origin::default() },
            message: &message,
        });
        let record = &agent.record;
        (record.sequence_num, record.remote_address.clone(), record.token_name.clone())
    };
    let stored =
        |number, address: &str, name: &str| (Some(number), address.to_owned(), name.to_owned());
    assert_eq!(poll(0, "10.0.0.1:1000", "a"), stored(0, "10.0.0.1", "a"));
    let same = poll(1, "10.0.0.1:1001", "a");
    assert_eq!(same, stored(0, "10.0.0.1", "a"), "a port is no news");
    assert_eq!(poll(1, "10.0.0.2:1000", "a"), stored(1, "10.0.0.2", "a"));
    assert_eq!(poll(2, "10.0.0.2:1000", "b"), stored(2, "10.0.0.2", "b"));
}

#[test]
fn an_older_decision_does_not_undo_a_newer_one_and_a_missing_one_takes_nothing_away() {
    let mut agent = Agent::new(everyone_gets(8));
    agent.decision = 5;
    agent.claim(1, &described(0));
    let offered = agent.record.offered.clone();
    (agent.assignments, agent.decision) = (everyone_gets(7), 4);
    agent.step(&Input::Assess);
    assert_eq!(agent.record.offered, offered);
    (agent.assignments, agent.decision) = (Assignments::default(), 6);
    agent.step(&Input::Assess);
    assert_eq!(agent.record.offered, offered);
}

#[test]
fn a_newer_session_takes_over_and_the_older_one_is_stale() {
    let mut agent = Agent::new(Assignments::default());
    let first = agent.claim(1, &described(0)).epoch;
    let second = agent.claim(2, &bare(1)).epoch;
    assert!(second > first);
    assert_eq!(agent.record.token_name, "t", "it is known how the session came in");
    let message = bare(2);
    let late_report = Input::Report {
        owner: owner("gw", 1),
        epoch: first,
        n: 9,
        answered: Some(1),
        message: &message,
    };
    assert_eq!(agent.step(&late_report).0, Outcome::Stale);
    let late_claim = Input::Claim {
        owner: owner("gw", 1),
        floor: 0,
        rival: Rival::Unknown,
        answered: None,
        from: Origin::default(),
        message: &message,
    };
    assert_eq!(agent.step(&late_claim).0, Outcome::Stale, "a delayed duplicate steals nothing");
    let close = Input::Close { owner: owner("gw", 1), epoch: first, answered: Some(9) };
    agent.step(&close);
    assert_eq!(agent.record.owner, Some(owner("gw", 2)), "a late close marks nobody offline");
}

#[test]
fn goodbye_frees_the_agent_and_is_answered_plainly() {
    let mut agent = Agent::new(everyone_gets(7));
    agent.claim(1, &described(0));
    let goodbye = AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..bare(9) };
    let reply = agent.report(&goodbye);
    assert_eq!((reply.flags, reply.offers.config), (0, None));
    assert_eq!(agent.record.owner, None);
    let mut stranger = Agent::new(everyone_gets(7));
    stranger.poll(&goodbye);
    assert_eq!(stranger.record, AgentRecord::new(uid(1), Timestamp(0)), "nobody is remembered");
}

#[test]
fn a_uid_is_given_on_request_and_nothing_is_stored_under_the_temporary_one() {
    let mut agent = Agent::new(everyone_gets(7));
    let flags = AgentToServerFlags::RequestInstanceUid as u64;
    let reply = agent.claim(1, &AgentToServer { flags, ..described(0) });
    assert_eq!(reply.new_instance_uid, Some(uid(0xf)));
    assert_eq!((reply.flags, reply.offers.config, reply.epoch), (FULL, None, 0));
    assert_eq!(agent.record, AgentRecord::new(uid(1), Timestamp(0)));
}

#[test]
fn a_hash_alone_does_not_erase_known_components() {
    let mut agent = Agent::new(Assignments::default());
    let components = |hash: u8, names: &[&str]| AvailableComponents {
        hash: vec![hash],
        components: names.iter().map(|name| ((*name).to_owned(), Default::default())).collect(),
    };
    let with = |message, list| AgentToServer { available_components: Some(list), ..message };
    agent.claim(1, &with(described(0), components(1, &["otlp"])));
    agent.report(&with(bare(1), components(1, &[])));
    let list = Some(ListHash::of(&components(9, &["otlp"])));
    assert_eq!(agent.record.components, list);
    assert!(agent.record.reported.available_components.as_ref().unwrap().components.is_empty());
    agent.report(&with(bare(2), components(2, &[])));
    assert_eq!(agent.record.components, None);
}

#[test]
fn without_the_ledger_nothing_is_offered_and_nothing_forgotten() {
    let mut agent = Agent::new(everyone_gets(7));
    agent.claim(1, &described(0));
    let before = agent.record.offered.clone();
    let message = described(1);
    let input = Input::Claim {
        owner: owner("gw", 2),
        floor: 0,
        rival: Rival::Gone(1),
        answered: None,
        from: Origin::default(),
        message: &message,
    };
    let blind = Context { intent: None, ..context(&agent.assignments, 1) };
    let result = step(&agent.record, &input, &blind);
    assert_eq!(reply(result.outcome).offers.config, None);
    assert_eq!(result.record.offered, before);
    assert_ne!(result.record.delivered.map(|delivered| delivered.epoch), Some(2));
}

#[test]
fn a_live_rival_keeps_the_agent_and_the_newcomer_is_given_another_uid() {
    let mut agent = Agent::new(everyone_gets(7));
    let epoch = agent.claim(1, &described(0)).epoch;
    let held = agent.record.owner.clone();
    let message = described(0);
    let claim = |rival| Input::Claim {
        owner: owner("other", 2),
        answered: None,
        floor: 0,
        rival,
        from: Origin::default(),
        message: &message,
    };
    let contested = Outcome::Contested { owner: owner("gw", 1), epoch };
    for unsettled in [Rival::Unknown, Rival::Gone(epoch + 1), Rival::Alive(epoch + 1)] {
        assert_eq!(agent.step(&claim(unsettled)).0, contested, "{unsettled:?}");
    }
    for _ in 0..3 {
        let (outcome, events) = agent.step(&claim(Rival::Alive(epoch)));
        let reply = reply(outcome);
        assert_eq!(reply.new_instance_uid, Some(uid(0xf)));
        assert_eq!((reply.epoch, reply.offers.config), (0, None));
        assert!(events.contains(&Event::DuplicateDetected));
    }
    let stubborn = reply(agent.step(&claim(Rival::Alive(epoch))).0);
    assert_eq!(stubborn, Reply::default(), "acknowledged, and no more");
    assert_eq!((agent.record.owner, agent.record.epoch), (held, epoch));
}

#[test]
fn nothing_goes_out_while_offers_are_held_and_everything_does_afterwards() {
    let mut agent = Agent::new(everyone_gets(7));
    agent.assignments.hold = Some(held());
    assert_eq!(agent.claim(1, &described(0)).offers.config, None);
    agent.step(&Input::Assess);
    assert_eq!(agent.record.offered.config, None, "nor is anything decided");
    agent.assignments.hold = None;
    agent.decision += 1;
    assert!(agent.report(&status(1, 3, RemoteConfigStatuses::Applied)).offers.config.is_some());
    agent.assignments.hold = Some(held());
    agent.decision += 1;
    let wants_it = status(2, 3, RemoteConfigStatuses::Applied);
    assert_eq!(agent.report(&wants_it).offers.config, None, "not even to who runs another one");
    assert_eq!(to_push(&agent.record, &agent.assignments).config, None);
}

#[test]
fn an_agent_waits_for_its_turn_and_keeps_what_it_has() {
    let mut agent = Agent::new(everyone_gets(7));
    agent.claim(1, &described(0));
    agent.report(&status(1, 7, RemoteConfigStatuses::Applied));
    agent.assignments = everyone_gets(8);
    agent.decision += 1;
    agent.assignments.list[0].brake = Brake::new(1, 1);
    agent.step(&Input::Assess);
    assert_eq!(agent.record.offered.config.as_ref().unwrap().hash, ConfigHash([7; 32]));
    agent.assignments.list[0].brake.stage = Stage::Releasing(u64::MAX);
    agent.decision += 1;
    agent.step(&Input::Assess);
    assert!(to_push(&agent.record, &agent.assignments).config.is_some());
    // It stops before the offer went out.
    agent.assignments.list[0].brake.stage = Stage::Stopped { failed: 1 };
    assert_eq!(to_push(&agent.record, &agent.assignments).config, None);
    assert_eq!(agent.claim(2, &described(2)).offers.config, None);
}

#[test]
fn an_agent_that_is_new_since_the_decision_waits_for_nobody() {
    let claim = |updated: u64, stage| {
        let mut agent = Agent::new(everyone_gets(7));
        agent.record.first_seen = Timestamp(100);
        agent.assignments.list[0].updated = Timestamp(updated);
        agent.assignments.list[0].brake.stage = stage;
        agent.claim(1, &described(0)).offers.config.is_some()
    };
    assert!(claim(99, Stage::Releasing(0)));
    assert!(!claim(100, Stage::Releasing(0)), "it was there");
    assert!(!claim(99, Stage::Stopped { failed: 1 }), "what has stopped is for nobody");
}

#[test]
fn labels_come_from_the_ledger_in_its_order() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &described(0));
    let labels = |value: &str| [("env".to_owned(), value.to_owned())].into();
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (labels("dev"), labels("prod"));
    let (_, events) = agent.step(&Input::Labelled { labels: &new, version: 2 });
    assert_eq!(events, [Event::LabelsChanged]);
    agent.step(&Input::Labelled { labels: &old, version: 1 });
    assert_eq!(agent.record.labels, new);
}
