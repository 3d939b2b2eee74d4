//! Packages and connection settings: when they are offered, when again, and when no more.

use opamp::v1::*;

use crate::assign::{Assignment, Assignments, Content, Hold};
use crate::brake::{Brake, Stage, Standing};
use crate::packages::{PackageChoice, PackageHash, PackageSetRef, PackagesHash, Variant};
use crate::selector::Selector;
use crate::session::tests::{Agent, bare, described};
use crate::session::{Input, Offers, Pushed, to_push};
use crate::settings::{Class, SettingsHash, SettingsPart, SettingsRef};
use crate::{AgentSummary, Timestamp};

const TAKES_PACKAGES: u64 = 1
    | AgentCapabilities::AcceptsPackages as u64
    | AgentCapabilities::ReportsPackageStatuses as u64;
const TAKES_SETTINGS: u64 = 1
    | AgentCapabilities::AcceptsOpAmpConnectionSettings as u64
    | AgentCapabilities::ReportsOwnMetrics as u64
    | AgentCapabilities::ReportsConnectionSettingsStatus as u64;

fn assigned(contents: Vec<Content>) -> Assignments {
    let assignment = |(at, content): (usize, Content)| Assignment {
        name: format!("a{at}"),
        selector: Selector::default(),
        content,
        priority: 0,
        updated: Timestamp(0),
        brake: Brake::default(),
        actor: String::new(),
    };
    let list = contents.into_iter().enumerate().map(assignment).collect();
    Assignments { list, hold: None }
}

fn set(revision: u64, hash: u8) -> Content {
    let variant = |selector: &str, hash| Variant {
        selector: Selector::parse(selector).unwrap(),
        hash: PackageHash([hash; 32]),
    };
    let choice = |package: &str, variants| PackageChoice {
        package: package.to_owned(),
        version: "1".to_owned(),
        variants,
    };
    let packages = vec![
        choice("addon", vec![variant("", 1)]),
        choice("collector", vec![variant("!os.type", hash)]),
    ];
    Content::Packages(PackageSetRef { set: "edge".to_owned(), revision, packages })
}

fn all_packages(hash: u8) -> PackagesHash {
    PackagesHash::of(&[
        ("addon".to_owned(), PackageHash([1; 32])),
        ("collector".to_owned(), PackageHash([hash; 32])),
    ])
}

fn says(seq: u64, hash: &[u8], status: PackageStatusEnum) -> AgentToServer {
    let one = |name: &str, status: PackageStatusEnum| {
        let name = name.to_owned();
        (name.clone(), PackageStatus { name, status: status.into(), ..Default::default() })
    };
    let packages = [one("addon", PackageStatusEnum::Installed), one("collector", status)];
    let package_statuses = Some(PackageStatuses {
        packages: packages.into(),
        server_provided_all_packages_hash: hash.to_vec(),
        ..Default::default()
    });
    AgentToServer { package_statuses, ..bare(seq) }
}

fn with(capabilities: u64, message: AgentToServer) -> AgentToServer {
    AgentToServer { capabilities, remote_config_status: None, ..message }
}

fn standing(agent: &Agent) -> Standing {
    let summary = AgentSummary::from(&agent.record);
    Standing::of(&summary, true, &agent.assignments.list[0].content, true)
}

#[test]
fn a_set_goes_out_once_in_a_session_and_is_installed_by_the_agents_word() {
    let mut agent = Agent::new(assigned(vec![set(1, 2)]));
    let offer = agent.claim(1, &with(TAKES_PACKAGES, described(0))).offers.packages.unwrap();
    assert_eq!((offer.hash, offer.packages.len()), (all_packages(2), 2));
    assert_eq!(agent.report(&bare(1)).offers, Offers::default(), "in flight");
    assert_eq!(standing(&agent), Standing::InFlight);
    let hash = all_packages(2).0;
    agent.report(&says(2, &hash, PackageStatusEnum::Downloading));
    assert_eq!(standing(&agent), Standing::InFlight);
    assert!(
        agent.report(&says(3, &[9; 32], PackageStatusEnum::Installed)).offers.packages.is_some()
    );
    agent.report(&says(4, &hash, PackageStatusEnum::Installed));
    assert_eq!(standing(&agent), Standing::Applied);
    assert_eq!(agent.claim(2, &bare(5)).offers, Offers::default(), "it has said so");
    let mut silent = Agent::new(assigned(vec![set(1, 2)]));
    assert_eq!(silent.claim(1, &described(0)).offers.packages, None, "without the bit");
}

#[test]
fn a_set_that_failed_is_not_offered_again_but_as_another_revision() {
    let mut agent = Agent::new(assigned(vec![set(1, 2)]));
    agent.claim(1, &with(TAKES_PACKAGES, described(0)));
    let hash = all_packages(2).0;
    // It repeats the hash of the offer, and one package has failed.
    agent.report(&says(1, &hash, PackageStatusEnum::InstallFailed));
    assert_eq!(standing(&agent), Standing::Failed);
    let other = agent.report(&says(2, &[9; 32], PackageStatusEnum::Installed));
    assert_eq!(other.offers.packages, None);
    assert_eq!(agent.claim(2, &with(TAKES_PACKAGES, described(3))).offers.packages, None);
    agent.assignments = assigned(vec![set(2, 2)]);
    agent.decision = 2;
    let again = agent.report(&says(4, &[], PackageStatusEnum::Installed));
    assert_eq!(again.offers.packages.unwrap().hash, all_packages(2));
}

#[test]
fn a_set_that_is_not_whole_for_an_agent_is_not_offered_to_it() {
    let mut agent = Agent::new(assigned(vec![set(1, 2)]));
    let mut message = with(TAKES_PACKAGES, described(0));
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue("linux".to_owned())) });
    message.agent_description = Some(AgentDescription {
        non_identifying_attributes: vec![KeyValue { key: "os.type".to_owned(), value }],
        ..Default::default()
    });
    assert_eq!(agent.claim(1, &message).offers.packages, None);
    assert_eq!(standing(&agent), Standing::Unsupported);
}

#[test]
fn packages_are_pushed_until_they_arrived_and_not_while_they_are_held_or_stopped() {
    let mut agent = Agent::new(Assignments::default());
    agent.claim(1, &with(TAKES_PACKAGES, described(0)));
    agent.assignments = assigned(vec![set(1, 2)]);
    agent.decision = 7;
    agent.step(&Input::Assess);
    let offer = to_push(&agent.record, &agent.assignments).packages.unwrap();
    let mut stopped = agent.assignments.clone();
    stopped.list[0].brake.stage = Stage::Stopped { failed: 1 };
    assert_eq!(to_push(&agent.record, &stopped), Offers::default());
    let (reason, actor) = (String::new(), String::new());
    let hold = Some(Hold { since: Timestamp(0), reason, actor });
    let held = Assignments { hold, ..agent.assignments.clone() };
    assert_eq!(to_push(&agent.record, &held), Offers::default());
    let (epoch, what) = (agent.record.epoch, Pushed::Packages(offer));
    agent.step(&Input::Pushed { epoch, what: &what, decision: 6 });
    assert!(to_push(&agent.record, &agent.assignments).packages.is_some(), "an older decision");
    agent.step(&Input::Pushed { epoch, what: &what, decision: 7 });
    assert_eq!(to_push(&agent.record, &agent.assignments), Offers::default());
    assert_eq!(agent.report(&bare(1)).offers, Offers::default());
}

fn settings(class: Class, hash: u8) -> Content {
    let (settings, revision) = (class.to_string(), 1);
    Content::Settings(SettingsRef { settings, revision, class, hash: SettingsHash([hash; 32]) })
}

fn classes(part: Option<Box<SettingsPart>>) -> Option<(Vec<String>, bool)> {
    let part = part?;
    let names = part.classes.iter().map(|settings| settings.class.to_string());
    Some((names.collect(), part.opamp.is_some()))
}

fn word(seq: u64, hash: &[u8], status: ConnectionSettingsStatuses) -> AgentToServer {
    let connection_settings_status = Some(ConnectionSettingsStatus {
        last_connection_settings_hash: hash.to_vec(),
        status: status.into(),
        ..Default::default()
    });
    AgentToServer { connection_settings_status, ..bare(seq) }
}

fn both() -> Assignments {
    let other = settings(Class::Other("kafka".to_owned()), 3);
    assigned(vec![settings(Class::OpAmp, 1), settings(Class::OwnMetrics, 2), other])
}

#[test]
fn only_classes_that_an_agent_takes_are_in_force_and_offered() {
    let mut agent = Agent::new(both());
    let first = agent.claim(1, &with(TAKES_SETTINGS, described(0))).offers.settings;
    let hash = first.as_ref().unwrap().hash;
    assert_eq!(classes(first), Some((vec!["own-metrics".to_owned()], true)));
    assert_eq!(Some(hash), agent.record.settings.offered.as_ref().map(|offer| offer.hash()));
    assert_eq!(agent.record.settings.offered.as_ref().unwrap().classes.len(), 2);
    assert_eq!(agent.report(&bare(1)).offers, Offers::default());
    let mut deaf = Agent::new(both());
    assert_eq!(deaf.claim(1, &described(0)).offers, Offers::default());
}

#[test]
fn the_connection_to_us_is_told_once_and_own_telemetry_once_in_each_session() {
    let mut agent = Agent::new(both());
    agent.claim(1, &with(TAKES_SETTINGS, described(0)));
    // It connects anew and remembers nothing, which must not make it connect anew again.
    for session in 2..5 {
        let again = agent.claim(session, &with(TAKES_SETTINGS, described(0))).offers.settings;
        assert_eq!(classes(again), Some((vec!["own-metrics".to_owned()], false)), "{session}");
    }
    let hash = agent.record.settings.offered.as_ref().unwrap().hash().0;
    agent.report(&word(1, &hash, ConnectionSettingsStatuses::Applied));
    assert_eq!(agent.claim(6, &bare(2)).offers, Offers::default(), "it has said that it has them");
    // An agent that says it has others is told all of it, but not for ever.
    let told = [3, 4, 5].map(|seq| {
        let said = agent.report(&word(seq, &[], ConnectionSettingsStatuses::Unset));
        classes(said.offers.settings).map(|(_, opamp)| opamp)
    });
    assert_eq!(told, [Some(true), Some(false), Some(false)]);
}

#[test]
fn an_agent_that_was_started_again_is_told_of_its_connection_again() {
    let started = |seq, start| {
        let health = Some(ComponentHealth { start_time_unix_nano: start, ..Default::default() });
        AgentToServer { health, ..with(TAKES_SETTINGS, described(seq)) }
    };
    let mut agent = Agent::new(both());
    let opamp = |reply: crate::session::Reply| classes(reply.offers.settings).unwrap().1;
    assert!(opamp(agent.claim(1, &started(0, 100))));
    assert!(!opamp(agent.claim(2, &started(0, 100))));
    assert!(opamp(agent.claim(3, &started(0, 200))));
}

#[test]
fn settings_that_failed_are_not_offered_again_and_others_are() {
    let mut agent = Agent::new(both());
    let first = agent.claim(1, &with(TAKES_SETTINGS, described(0))).offers.settings.unwrap();
    agent.report(&word(1, &first.hash.0, ConnectionSettingsStatuses::Failed));
    assert_eq!(standing(&agent), Standing::Failed);
    assert_eq!(agent.claim(2, &with(TAKES_SETTINGS, described(2))).offers, Offers::default());
    let other = agent.report(&word(3, &[7; 32], ConnectionSettingsStatuses::Applied));
    assert_eq!(other.offers, Offers::default());
    agent.assignments = assigned(vec![settings(Class::OwnMetrics, 9)]);
    agent.decision = 2;
    let next = agent.report(&word(4, &first.hash.0, ConnectionSettingsStatuses::Failed));
    let next = next.offers.settings.unwrap();
    assert_ne!(next.hash, first.hash);
    // A class that nobody decides on any more stays in force, and was discarded with the others.
    assert_eq!(classes(Some(next)), Some((vec!["own-metrics".to_owned()], true)));
}
