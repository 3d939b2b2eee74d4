//! The view alone: what it takes, what it drops, what it takes for reachable.

use std::sync::atomic::{AtomicU64, Ordering};

use model::AgentRecord;

use super::*;

#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

fn uid(byte: u8) -> InstanceUid {
    InstanceUid::from_bytes([byte; 16])
}

fn summary(gateway: Option<&str>) -> AgentSummary {
    let mut summary = AgentSummary::from(&AgentRecord::new(uid(1), Timestamp(0)));
    summary.gateway = gateway.map(GatewayId::new);
    summary
}

fn told(byte: u8, version: u64, summary: Option<AgentSummary>) -> Told {
    let (instance_uid, at, events) = (uid(byte), Timestamp(0), Vec::new());
    Told { instance_uid, version, at, events, summary, message: None }
}

fn show(view: &View, byte: u8) -> Option<Shown> {
    let page = view.page(&Selector::default(), None, usize::MAX);
    page.agents.into_iter().find(|agent| agent.uid == uid(byte))
}

fn view() -> (View, Arc<Hand>) {
    let clock = Arc::new(Hand::default());
    let view = View::new(Limits::default(), clock.clone());
    view.replace(BTreeMap::new(), Position(1));
    (view, clock)
}

#[test]
fn an_event_that_is_not_newer_changes_nothing() {
    let (view, _) = view();
    view.apply(told(1, 5, Some(summary(Some("a")))));
    view.apply(told(1, 5, Some(summary(None))));
    view.apply(told(1, 4, None));
    assert!(show(&view, 1).unwrap().entry.summary.gateway.is_some());
    assert!(view.apply(told(1, 6, None)));
    assert!(show(&view, 1).is_none());
}

#[test]
fn an_agent_is_connected_while_its_gateway_is_heard() {
    let (view, clock) = view();
    view.apply(told(1, 1, Some(summary(Some("a")))));
    let connected = || show(&view, 1).unwrap().connected;
    assert!(connected(), "a gateway not heard yet has a lease's time");
    clock.0.store(10_001, Ordering::Relaxed);
    assert!(!connected());
    view.heard(&v1::Presence { gateway_id: "a".to_owned(), ..Default::default() });
    assert!(connected());
}

#[test]
fn a_gateway_just_met_has_a_lease_and_a_dead_one_none() {
    let (view, clock) = view();
    clock.0.store(60_000, Ordering::Relaxed);
    view.apply(told(1, 1, Some(summary(Some("new")))));
    let connected = || show(&view, 1).unwrap().connected;
    assert!(connected(), "its first sign of life may be on its way, long after the start too");
    clock.0.store(70_001, Ordering::Relaxed);
    view.apply(told(1, 2, Some(summary(Some("new")))));
    let entry = Entry { version: 2, summary: Arc::new(summary(Some("new"))), heard: Timestamp(0) };
    view.replace([(uid(1), entry)].into(), Position(1));
    assert!(!connected(), "neither an event nor a snapshot revives it");
    assert!(!view.join(&uid(1), 2, summary(Some("new"))).connected);
    view.apply(told(1, 3, Some(summary(Some("newer")))));
    assert!(connected());
}

#[test]
fn a_snapshot_replaces_even_newer_versions_and_keeps_what_presence_said() {
    let (view, _) = view();
    view.apply(told(1, 9, Some(summary(None))));
    view.apply(told(2, 9, Some(summary(None))));
    let seen = v1::presence::Seen {
        instance_uid: uid(1).as_bytes().to_vec().into(),
        seen_unix_ms: 500,
        ..Default::default()
    };
    view.heard(&v1::Presence { seen: vec![seen], ..Default::default() });
    let entry = Entry { version: 1, summary: Arc::new(summary(None)), heard: Timestamp(0) };
    view.replace([(uid(1), entry)].into(), Position(1));
    let kept = show(&view, 1).unwrap().entry;
    assert_eq!((kept.version, kept.heard), (1, Timestamp(500)));
    assert!(show(&view, 2).is_none());
}

#[test]
fn a_poller_is_connected_for_a_while_after_it_was_heard() {
    let (view, clock) = view();
    let polls = AgentSummary { polls: true, ..summary(None) };
    view.apply(told(1, 1, Some(polls)));
    clock.0.store(100_000, Ordering::Relaxed);
    assert!(!show(&view, 1).unwrap().connected);
    let seen = v1::presence::Seen {
        instance_uid: uid(1).as_bytes().to_vec().into(),
        seen_unix_ms: 60_000,
        ..Default::default()
    };
    view.heard(&v1::Presence { seen: vec![seen], ..Default::default() });
    assert!(show(&view, 1).unwrap().connected);
}

#[test]
fn pages_cover_everybody_once() {
    let (view, _) = view();
    for byte in 0..25 {
        view.apply(told(byte, 1, Some(summary(None))));
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = view.page(&Selector::default(), after, 10);
        assert_eq!(page.total, 25);
        seen.extend(page.agents.iter().map(|agent| agent.uid));
        after = seen.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(uid).collect::<Vec<_>>());
}

#[test]
fn a_gateway_that_holds_what_is_anothers_is_found_out() {
    let (view, _) = view();
    let held = |gateway, epoch| Some(AgentSummary { epoch, ..summary(gateway) });
    view.apply(told(1, 1, held(Some("b"), 4)));
    view.apply(told(2, 1, held(None, 3)));
    let heard = |byte, epoch| {
        let instance_uid = uid(byte).as_bytes().to_vec().into();
        let seen = v1::presence::Seen { instance_uid, epoch, ..Default::default() };
        let gateway_id = "a".to_owned();
        view.heard(&v1::Presence { gateway_id, seen: vec![seen], ..Default::default() }).len()
    };
    assert_eq!(heard(1, 3), 1, "another session has it");
    assert_eq!(heard(2, 3), 1, "it was taken, and nobody has it");
    assert_eq!((heard(1, 4), heard(1, 5), heard(2, 4)), (0, 0, 0), "a view may lag");
    assert_eq!((heard(1, 0), heard(3, 1)), (0, 0), "polls, and strangers");
}

/// Whoever moves assignments on counts agents again, and only then.
#[tokio::test]
async fn a_word_about_any_offer_stirs_and_another_one_does_not() {
    let (view, _) = view();
    let stirred = async || {
        let moment = Duration::from_millis(1);
        tokio::time::timeout(moment, view.stirred()).await.is_ok()
    };
    let summary = summary(Some("gw"));
    view.apply(told(1, 1, Some(summary.clone())));
    assert!(stirred().await, "it came");
    let mut now = AgentSummary { remote_address: "elsewhere".to_owned(), ..summary };
    view.apply(told(1, 2, Some(now.clone())));
    assert!(!stirred().await, "nothing that is offered");
    now.config.status = 1;
    view.apply(told(1, 3, Some(now.clone())));
    assert!(stirred().await, "config");
    now.packages = Some(Box::default());
    view.apply(told(1, 4, Some(now.clone())));
    assert!(stirred().await, "packages");
    now.settings = Some(Box::default());
    view.apply(told(1, 5, Some(now)));
    assert!(stirred().await, "settings");
    view.apply(told(1, 6, None));
    assert!(stirred().await, "it went");
}
