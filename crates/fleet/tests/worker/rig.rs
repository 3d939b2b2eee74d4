//! One or more workers on an in-process bus and stores in memory, and a hand to play gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::v1::{self, Report, ReportReply, Transport, report_reply};
use bus::{Bus, Client, InProcess, Subject};
use fleet::{Config, Limits, Worker};
use model::assign::{Assignment, Assignments, Content};
use model::brake::Brake;
use model::selector::Selector;
use model::{AgentRecord, Clock, ConfigHash, Random, RevisionRef, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{AgentConfigFile, AgentConfigMap, AgentToServer, ServerToAgent};
use prost::Message as _;
use store::{Key, Memory, Store, Stored, Version, Write, tables};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Time(pub(crate) AtomicU64);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Dice(AtomicU64);

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.iter_mut().zip(number.iter().rev().cycle()).for_each(|(byte, n)| *byte = *n);
    }
}

pub(crate) struct Rig {
    pub(crate) bus: Client,
    pub(crate) records: Memory,
    pub(crate) ledger: Memory,
    pub(crate) clock: Arc<Time>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) workers: JoinSet<()>,
    raw: Arc<dyn Bus>,
}

impl Rig {
    /// Everything but workers.
    pub(crate) async fn idle(raw: Arc<dyn Bus>) -> Self {
        let clock = Arc::new(Time::default());
        let bus = Client::new(raw.clone(), "test", "rig", clock.clone()).await.unwrap();
        let (records, ledger) = (Memory::default(), Memory::default());
        let shutdown = CancellationToken::new();
        Self { bus, records, ledger, clock, shutdown, workers: JoinSet::new(), raw }
    }

    pub(crate) async fn new() -> Self {
        let mut rig = Self::idle(Arc::new(InProcess::default())).await;
        rig.start_worker("w1", Arc::new(rig.records.clone())).await;
        rig
    }

    /// Starts a worker over these records and waits until it is ready.
    pub(crate) async fn start_worker(&mut self, name: &str, records: Arc<dyn Store>) {
        let ledger = Arc::new(self.ledger.clone());
        self.start_worker_with(name, records, ledger, Config::default()).await;
    }

    /// The same with another ledger, and set up otherwise but for its limits.
    pub(crate) async fn start_worker_with(
        &mut self,
        name: &str,
        records: Arc<dyn Store>,
        ledger: Arc<dyn Store>,
        config: Config,
    ) {
        let bus = Client::new(self.raw.clone(), "test", name, self.clock.clone()).await.unwrap();
        let limits = Limits {
            ready_interval: Duration::from_millis(5),
            sweep_interval: Duration::from_millis(5),
            ..Limits::default()
        };
        let random = Arc::new(Dice::default());
        let config = Config { limits, ..config };
        let worker =
            Arc::new(Worker::new(config, bus, records, ledger, self.clock.clone(), random));
        let (running, shutdown) = (worker.clone(), self.shutdown.clone());
        self.workers.spawn(async move { running.run(shutdown).await.unwrap() });
        until("the worker is ready", async || worker.ready()).await;
    }

    pub(crate) async fn ask(&self, report: Report) -> Option<report_reply::Outcome> {
        let reply: Result<ReportReply, _> =
            self.bus.request(&Subject::Report, &report, PATIENCE).await;
        reply.unwrap().outcome
    }

    pub(crate) async fn accepted(&self, report: Report) -> (u64, ServerToAgent) {
        match self.ask(report).await {
            Some(report_reply::Outcome::Accepted(accepted)) => {
                (accepted.epoch, ServerToAgent::decode(accepted.message).unwrap())
            }
            other => panic!("expected the report to be accepted, got {other:?}"),
        }
    }

    pub(crate) async fn stored(&self, uid: u8) -> Option<Stored> {
        self.records.get(&[Key::agent(&instance(uid))]).await.unwrap().pop().unwrap()
    }

    pub(crate) async fn record(&self, uid: u8) -> AgentRecord {
        let stored = self.stored(uid).await.expect("a record");
        tables::agents::decode(&Key::agent(&instance(uid)), &stored.value).unwrap().value
    }

    /// Decides that every agent gets a config with this body. `with_body` keeps the body back.
    pub(crate) async fn assign(&self, body: &str, with_body: bool) -> ConfigHash {
        let file = AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
        let map = AgentConfigMap { config_map: [(String::new(), file)].into() };
        let hash = ConfigHash::of(&map.config_map);
        if with_body {
            self.ledger.put_blob(&hash, map.encode_to_vec().into()).await.unwrap();
        }
        self.decide(|assignments, revision| {
            let config = RevisionRef { config: "c".to_owned(), revision, hash };
            let content = Content::Config(config);
            let (name, selector) = ("all".to_owned(), Selector::parse("").unwrap());
            let (updated, brake, actor) = (Timestamp(0), Brake::default(), String::new());
            assignments.list =
                vec![Assignment { name, selector, content, priority: 0, updated, brake, actor }];
        })
        .await;
        hash
    }

    /// Changes the assignments, as control does; returns the decision's number.
    pub(crate) async fn decide(&self, change: impl FnOnce(&mut Assignments, u64)) -> u64 {
        let key = Key::intent();
        let before = self.ledger.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap();
        let expected = before.as_ref().map_or(Version::ABSENT, |stored| stored.version);
        let decoded = before.map(|stored| tables::intent::decode(&key, &stored.value).unwrap());
        let mut assignments = decoded.map_or_else(Assignments::default, |decoded| decoded.value);
        change(&mut assignments, expected.next().0);
        let value = tables::intent::encode(&assignments, &Default::default());
        let write = Write::next(key, expected, value);
        self.ledger.commit(vec![write]).await.unwrap();
        let decision = expected.next().0;
        let changed = v1::IntentChanged { decision };
        self.bus.publish(&Subject::Intent, &changed).await.unwrap();
        decision
    }

    /// Labels an agent in the ledger.
    pub(crate) async fn label(&self, uid: u8, key: &str, value: &str) {
        let labels = [(key.to_owned(), value.to_owned())].into();
        let labels = tables::labels::AgentLabels { labels, updated: Timestamp(0) };
        let key = Key::labels(&instance(uid));
        let before = self.ledger.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap();
        let expected = before.map_or(Version::ABSENT, |stored| stored.version);
        let value = tables::labels::encode(&labels, &Default::default());
        let write = Write::next(key, expected, value);
        self.ledger.commit(vec![write]).await.unwrap();
    }
}

pub(crate) fn instance(byte: u8) -> InstanceUid {
    InstanceUid::from_bytes([byte; 16])
}

/// A full first message of an agent that takes and reports remote config.
pub(crate) fn hello(uid: u8, seq: u64) -> AgentToServer {
    AgentToServer {
        instance_uid: vec![uid; 16],
        sequence_num: seq,
        capabilities: 0x1003,
        agent_description: Some(Default::default()),
        remote_config_status: Some(Default::default()),
        ..Default::default()
    }
}

pub(crate) fn bare(uid: u8, seq: u64) -> AgentToServer {
    AgentToServer { instance_uid: vec![uid; 16], sequence_num: seq, ..Default::default() }
}

pub(crate) fn claim(gateway: &str, session: u8, message: &AgentToServer) -> Report {
    Report {
        gateway_id: gateway.to_owned(),
        session_id: vec![session; 16].into(),
        n: 1,
        message: message.encode_to_vec().into(),
        transport: Transport::WebSocket.into(),
        ..Default::default()
    }
}

pub(crate) fn poll(message: &AgentToServer) -> Report {
    Report {
        gateway_id: "gw".to_owned(),
        message: message.encode_to_vec().into(),
        transport: Transport::Http.into(),
        ..Default::default()
    }
}

/// Waits for a condition, for as long as a test may.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}
