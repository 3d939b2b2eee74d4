//! Watches: what they say, and that nothing is missed or repeated whoever breaks off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus as _, LogEntry};
use bytes::Bytes;
use control::Limits;
use control::v1::watch_agents_response::{Change, Event as Kind};
use control::v1::*;
use model::Event;
use opamp::v1::any_value::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::rig::{PATIENCE, Rig, Watched, agent, commit, put, until};

type Stream = Streaming<WatchAgentsResponse>;

fn frequent() -> Limits {
    Limits { watch_bookmark: Duration::from_millis(20), ..Limits::default() }
}

async fn watch(rig: &Rig, selector: &str, position: &str) -> Result<Stream, Status> {
    let (selector, position) = (selector.to_owned(), position.to_owned());
    let request = WatchAgentsRequest { selector, position };
    rig.agents.clone().watch_agents(request).await.map(tonic::Response::into_inner)
}

async fn next(stream: &mut Stream) -> Result<WatchAgentsResponse, Status> {
    let message = timeout(PATIENCE, stream.message()).await.expect("a message in time");
    message.map(|message| message.expect("streams end with a status"))
}

/// The next message that is no bookmark: change, agent's uid and version.
async fn change(stream: &mut Stream) -> (Change, u8, u64) {
    loop {
        let message = next(stream).await.unwrap();
        if message.change() != Change::Bookmark {
            return told(&message);
        }
    }
}

fn told(message: &WatchAgentsResponse) -> (Change, u8, u64) {
    let agent = message.agent.clone().unwrap_or_default();
    let byte = agent.instance_uid.get(..2).map_or(0, |hex| u8::from_str_radix(hex, 16).unwrap());
    (message.change(), byte, agent.version)
}

async fn with_agents(envs: &[&str], limits: Limits) -> Rig {
    let records = Watched::default();
    for (byte, env) in (1..).zip(envs) {
        put(&records, &agent(byte, env)).await;
    }
    let rig = Rig::start(records, limits).await;
    until("the view is ready", async || rig.control.ready()).await;
    rig
}

#[tokio::test]
async fn agents_as_they_are_come_first_and_changes_after() {
    let rig = with_agents(&["prod", "prod"], Limits::default()).await;
    let mut stream = watch(&rig, "", "").await.unwrap();
    let first = next(&mut stream).await.unwrap();
    assert_eq!(told(&first), (Change::Snapshot, 1, 1));
    assert_eq!(first.position, "", "there is no going on from the middle of a snapshot");
    assert_eq!(change(&mut stream).await, (Change::Snapshot, 2, 1));
    let complete = next(&mut stream).await.unwrap();
    assert_eq!(complete.change(), Change::SnapshotComplete);
    assert_ne!(complete.position, "");

    let happened = [Event::HealthChanged, Event::ConfigDelivered];
    commit(&rig.raw, &rig.records, &agent(2, "prod"), &happened).await;
    let modified = next(&mut stream).await.unwrap();
    assert_eq!(told(&modified), (Change::Modified, 2, 2));
    let kinds: Vec<Kind> = modified.events().collect();
    assert_eq!(kinds, [Kind::HealthChanged, Kind::ConfigDelivered]);
    assert_ne!(modified.position, complete.position);
    commit(&rig.raw, &rig.records, &agent(3, "prod"), &[Event::Appeared]).await;
    assert_eq!(change(&mut stream).await, (Change::Added, 3, 1));
}

#[tokio::test]
async fn a_selector_is_applied_before_and_after_each_change() {
    let rig = with_agents(&["prod", "dev"], Limits::default()).await;
    let mut stream = watch(&rig, "env=prod", "").await.unwrap();
    assert_eq!(change(&mut stream).await, (Change::Snapshot, 1, 1));
    assert_eq!(change(&mut stream).await.0, Change::SnapshotComplete);
    for (byte, env) in [(2, "dev"), (2, "prod"), (2, "prod"), (1, "dev"), (1, "dev"), (3, "dev")] {
        rig.commit(&agent(byte, env)).await;
    }
    rig.commit(&agent(2, "dev")).await;
    assert_eq!(change(&mut stream).await, (Change::Added, 2, 3));
    assert_eq!(change(&mut stream).await, (Change::Modified, 2, 4));
    assert_eq!(change(&mut stream).await, (Change::Removed, 1, 2));
    assert_eq!(change(&mut stream).await, (Change::Removed, 2, 5));
}

#[tokio::test]
async fn a_quiet_watch_goes_on_and_says_where_it_is() {
    // No request may take this long; a watch may.
    let limits = Limits { request_timeout: Duration::from_millis(50), ..frequent() };
    let rig = with_agents(&["dev"], limits).await;
    let mut stream = watch(&rig, "env=prod", "").await.unwrap();
    let complete = next(&mut stream).await.unwrap();
    assert_eq!(complete.change(), Change::SnapshotComplete);
    for _ in 0..5 {
        let mark = next(&mut stream).await.unwrap();
        assert_eq!((mark.change(), &mark.position), (Change::Bookmark, &complete.position));
    }
    rig.commit(&agent(1, "dev")).await;
    until("the position moved", async || {
        next(&mut stream).await.unwrap().position != complete.position
    })
    .await;
}

/// Commits 1,000 changes to 20 agents, as fast as it is let. Every third moves the agent.
fn write(rig: &Rig, gate: Arc<Semaphore>) -> JoinSet<()> {
    let (log, records) = (rig.raw.clone(), rig.records.clone());
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        let mut envs: BTreeMap<u8, &str> = BTreeMap::new();
        for n in 0..1000_u32 {
            gate.acquire().await.unwrap().forget();
            let byte = u8::try_from(n % 20 + 1).unwrap();
            let moves = n % 3 == 0;
            let before = envs.get(&byte).copied().unwrap_or(["dev", "prod"][usize::from(byte % 2)]);
            let env = match (moves, before) {
                (true, "dev") => "prod",
                (true, _) => "dev",
                (false, before) => before,
            };
            let event = match (n < 20, moves) {
                (true, _) => Event::Appeared,
                (_, true) => Event::DescriptionChanged,
                (_, false) => Event::HealthChanged,
            };
            commit(&log, &records, &agent(byte, env), &[event]).await;
            envs.insert(byte, env);
            tokio::task::yield_now().await;
        }
    });
    writer
}

/// Somebody who watches, and goes on where a stream broke off.
#[derive(Default)]
struct Reader {
    selector: &'static str,
    position: String,
    versions: BTreeMap<u8, u64>,
    /// Place in the log, agent, and whether it was in prod from there on.
    history: Vec<(u64, u8, bool)>,
    changes: usize,
}

impl Reader {
    /// Reads until there were this many changes, or for ever.
    async fn read(&mut self, stream: &mut Stream, until: usize) -> Result<(), Status> {
        while self.changes < until {
            self.take(next(stream).await?);
        }
        Ok(())
    }

    fn take(&mut self, message: WatchAgentsResponse) {
        let (change, byte, version) = told(&message);
        self.position = message.position;
        let Some(agent) = message.agent else { return };
        let env = agent.non_identifying_attributes.into_iter().next().and_then(|env| env.value);
        let prod = env.unwrap().value == Some(Value::StringValue("prod".to_owned()));
        self.history.push((self.place(), byte, prod && change != Change::Removed));
        let before = self.versions.insert(byte, version).unwrap_or_default();
        assert!(version > before, "version {version} of {byte} after {before}");
        let every = self.selector.is_empty();
        assert!(!every || version == before + 1, "{byte}: {version} after {before}");
        self.changes += 1;
    }

    /// Where it is in the log, whatever it selects.
    fn place(&self) -> u64 {
        u64::from_str_radix(self.position.rsplit('.').next().unwrap(), 16).unwrap()
    }

    async fn open(&self, rig: &Rig) -> Stream {
        watch(rig, self.selector, &self.position).await.unwrap()
    }
}

#[tokio::test]
async fn over_restarts_no_change_is_missed_or_repeated() {
    let mut rig = with_agents(&[], frequent()).await;
    let gate = Arc::new(Semaphore::new(400));
    let mut everything = Reader::default();
    let mut some = Reader { selector: "env=prod", ..Reader::default() };
    let (mut all, mut prod) = (everything.open(&rig).await, some.open(&rig).await);
    let mut writer = write(&rig, gate.clone());
    for (enough, more) in [(250, 400), (600, 200)] {
        everything.read(&mut all, enough).await.unwrap();
        // Some of them come before control stops, some while there is none.
        gate.add_permits(more);
        rig = rig.restart(frequent()).await;
        let ended = everything.read(&mut all, usize::MAX).await.unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable, "{ended}");
        let ended = some.read(&mut prod, usize::MAX).await.unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable, "{ended}");
        (all, prod) = (everything.open(&rig).await, some.open(&rig).await);
    }
    everything.read(&mut all, 1000).await.unwrap();
    writer.join_next().await.unwrap().unwrap();
    let mark = next(&mut all).await.unwrap();
    assert_eq!(mark.change(), Change::Bookmark, "nothing comes after the last change");
    while some.place() != everything.place() {
        some.take(next(&mut prod).await.unwrap());
    }
    assert_eq!(everything.versions.values().sum::<u64>(), 1000);
    assert!(some.changes > 100 && some.changes < 1000);
    same_at_every_place(&everything.history, &some.history);
}

/// After each change that a selective watch told, it held who was in prod at that place.
fn same_at_every_place(everything: &[(u64, u8, bool)], some: &[(u64, u8, bool)]) {
    let (mut expected, mut held) = (BTreeSet::new(), BTreeSet::new());
    let set = |set: &mut BTreeSet<u8>, byte, prod| match prod {
        true => set.insert(byte),
        false => set.remove(&byte),
    };
    let mut all = everything.iter().peekable();
    for &(place, byte, prod) in some {
        set(&mut held, byte, prod);
        while let Some(&(_, byte, prod)) = all.next_if(|next| next.0 <= place) {
            set(&mut expected, byte, prod);
        }
        assert_eq!(held, expected, "at {place}");
    }
}

#[tokio::test]
async fn a_position_that_is_gone_or_of_another_watch_is_out_of_range() {
    let rig = with_agents(&["prod"], Limits::default()).await;
    let mut stream = watch(&rig, "env=dev", "").await.unwrap();
    let position = next(&mut stream).await.unwrap().position;
    assert!(watch(&rig, "env=dev", &position).await.is_ok());
    let other = with_agents(&["prod"], Limits::default()).await;
    for (rig, selector, position, code) in [
        (&rig, "env=prod", &position[..], Code::OutOfRange),
        (&other, "env=dev", &position[..], Code::OutOfRange),
        (&rig, "env=dev", "nonsense", Code::InvalidArgument),
        (&rig, "env in", "", Code::InvalidArgument),
    ] {
        let error = watch(rig, selector, position).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    // More than the log keeps.
    let payload = Bytes::from(vec![0; 1 << 20]);
    let flood =
        |n: u64| LogEntry { key: "00".to_owned(), id: n.to_string(), payload: payload.clone() };
    rig.raw.append((0..100).map(flood).collect()).await.unwrap();
    let ended = next(&mut stream).await.unwrap_err();
    assert_eq!(ended.code(), Code::OutOfRange, "{ended}");
    let error = watch(&rig, "env=dev", &position).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    until("one can start over", async || watch(&rig, "env=dev", "").await.is_ok()).await;
}

#[tokio::test]
async fn who_does_not_keep_up_is_ended_and_can_go_on() {
    let limits = Limits {
        watches_max: 1,
        watch_queue_max: 2,
        watch_stall: Duration::from_millis(50),
        ..Limits::default()
    };
    let rig = with_agents(&[], limits).await;
    let mut reader = Reader::default();
    let mut slow = reader.open(&rig).await;
    let error = watch(&rig, "", "").await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    // More than fits into the socket and the windows before it.
    let long = "x".repeat(200 << 10);
    for _ in 0..100 {
        rig.commit(&agent(1, &long)).await;
    }
    until("its place is free", async || watch(&rig, "", "").await.is_ok()).await;
    let ended = reader.read(&mut slow, usize::MAX).await.unwrap_err();
    assert_eq!(ended.code(), Code::Aborted, "{ended}");
    assert!(reader.changes < 100);
    let mut stream = None;
    until("there is a place", async || {
        stream = watch(&rig, "", &reader.position).await.ok();
        stream.is_some()
    })
    .await;
    reader.read(&mut stream.unwrap(), 100).await.unwrap();
    assert_eq!(reader.versions, [(1, 100)].into());
}
