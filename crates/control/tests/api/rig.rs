//! A control on the embedded seams, a client of it, and a hand to play worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus as _, Client, InProcess, LogEntry};
use bytes::Bytes;
use control::v1::ListAgentsRequest;
use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::{Config, Control, Limits};
use model::custom::Received;
use model::record::Owner;
use model::{AgentRecord, AgentSummary, Clock, ConfigHash, Event, GatewayId, SessionId, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{AgentDescription, AnyValue, KeyValue, any_value::Value};
use store::{
    Cursor, Error, Generations, Key, Memory, Outcome, Page, Presence, Store, Stored, Table,
    Version, Write, tables,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Time(AtomicU64);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Random enough: never the same twice.
#[derive(Debug)]
pub(crate) struct Dice;

impl model::Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.iter_mut().zip(next.iter().cycle()).for_each(|(byte, next)| *byte = *next);
    }
}

impl Time {
    pub(crate) fn pass(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

/// A store that counts what is asked of it but for the lease, and is silent, away or read-only
/// while told so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    pub(crate) inner: Memory,
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) silent: Arc<AtomicBool>,
    pub(crate) away: Arc<AtomicBool>,
    pub(crate) read_only: Arc<AtomicBool>,
}

impl Watched {
    async fn asked(&self) -> Result<(), Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match self.away.load(Ordering::Relaxed) {
            true => Err(Error::Unavailable("told to be away".to_owned())),
            false => Ok(()),
        }
    }

    async fn told(&self) -> Result<(), Error> {
        self.asked().await?;
        match self.read_only.load(Ordering::Relaxed) {
            true => Err(Error::Unavailable("told to take no writes".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Watched {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        if !keys.iter().all(|key| key.table == Table::Leases) {
            self.asked().await?;
        }
        self.inner.get(keys).await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        if !writes.iter().all(|write| write.key.table == Table::Leases) {
            self.told().await?;
        }
        self.inner.commit(writes).await
    }
    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        self.inner.settle(settled).await
    }
    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        self.inner.unsettled(table, shard).await
    }
    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        self.asked().await?;
        self.inner.scan(table, shard, cursor).await
    }
    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.told().await?;
        self.inner.put_blob(hash, body).await
    }
    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        self.asked().await?;
        self.inner.get_blob(hash).await
    }
    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        self.inner.put_presence(holder, seen).await
    }
    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        self.inner.get_presence(asked).await
    }
    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        self.inner.drop_presence(told).await
    }
    async fn ready(&self) -> Result<(), Error> {
        self.told().await?;
        self.inner.ready().await
    }

    fn generations(&self) -> Generations {
        self.inner.generations()
    }
}

pub(crate) struct Rig {
    pub(crate) agents: AgentsClient<Channel>,
    pub(crate) configs: ConfigsClient<Channel>,
    pub(crate) assignments: AssignmentsClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) bus: Client,
    pub(crate) raw: Arc<InProcess>,
    pub(crate) clock: Arc<Time>,
    pub(crate) control: Arc<Control>,
    pub(crate) records: Watched,
    pub(crate) ledger: Watched,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinSet<()>,
}

impl Rig {
    /// Number of the newest decision.
    pub(crate) async fn decision(&self) -> u64 {
        let stored = self.ledger.inner.get(&[Key::intent()]).await.unwrap().pop().flatten();
        stored.unwrap().version.0
    }

    pub(crate) async fn new() -> Self {
        Self::with(Watched::default()).await
    }

    /// A control over records that are there already.
    pub(crate) async fn with(records: Watched) -> Self {
        let rig = Self::start(records, Limits::default()).await;
        until("the view is ready", async || rig.control.ready()).await;
        rig
    }

    /// A control that is just starting.
    pub(crate) async fn start(records: Watched, limits: Limits) -> Self {
        Self::over(Arc::default(), Arc::default(), records, Watched::default(), limits).await
    }

    /// Another control on what this one left behind.
    pub(crate) async fn restart(mut self, limits: Limits) -> Self {
        self.shutdown.cancel();
        while let Some(served) = self.serving.join_next().await {
            served.unwrap();
        }
        let Self { raw, clock, records, ledger, .. } = self;
        let rig = Self::over(raw, clock, records, ledger, limits).await;
        until("the view is ready", async || rig.control.ready()).await;
        rig
    }

    /// A control that forgets agents after a while, and looks for them all the time.
    pub(crate) async fn keeping_house(records: Watched, forget_after: Duration) -> Self {
        let limits = Limits { keep_interval: Duration::from_millis(10), ..Limits::default() };
        let config = Config { limits, forget_after: Some(forget_after), ..Config::default() };
        Self::configured(Arc::default(), Arc::default(), records, Watched::default(), config).await
    }

    /// A control of this name that looks for silent gateways all the time, on what is there.
    pub(crate) async fn reaping(name: &str, records: Watched, clock: Arc<Time>) -> Self {
        let limits = Limits {
            reap_interval: Duration::from_millis(5),
            lease_interval: Duration::from_millis(5),
            ..Limits::default()
        };
        let config = Config { limits, name: name.to_owned(), ..Config::default() };
        let rig =
            Self::configured(Arc::default(), clock, records, Watched::default(), config).await;
        until("the view is ready", async || rig.control.ready()).await;
        rig
    }

    async fn over(
        raw: Arc<InProcess>,
        clock: Arc<Time>,
        records: Watched,
        ledger: Watched,
        limits: Limits,
    ) -> Self {
        let config = Config { limits, ..Config::default() };
        Self::configured(raw, clock, records, ledger, config).await
    }

    pub(crate) async fn configured(
        raw: Arc<InProcess>,
        clock: Arc<Time>,
        records: Watched,
        ledger: Watched,
        config: Config,
    ) -> Self {
        let bus = Client::new(raw.clone(), "test", "rig", clock.clone()).await.unwrap();
        let own = Client::new(raw.clone(), "test", "control", clock.clone()).await.unwrap();
        let (r, l) = (Arc::new(records.clone()), Arc::new(ledger.clone()));
        let control = Arc::new(Control::new(config, own, r, l, clock.clone(), Arc::new(Dice)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, mut serving) = (CancellationToken::new(), JoinSet::new());
        let (running, stop) = (control.clone(), shutdown.clone());
        serving.spawn(async move { running.serve(listener, stop).await.unwrap() });
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self {
            agents: AgentsClient::new(channel.clone()),
            configs: ConfigsClient::new(channel.clone()),
            assignments: AssignmentsClient::new(channel.clone()),
            channel,
            bus,
            raw,
            clock,
            control,
            records,
            ledger,
            shutdown,
            serving,
        }
    }

    /// Agents that a selector selects, over all pages.
    pub(crate) async fn total(&self, selector: &str) -> i64 {
        let request = ListAgentsRequest { selector: selector.to_owned(), ..Default::default() };
        self.agents.clone().list_agents(request).await.unwrap().into_inner().total_size
    }

    /// Messages sent over the bus so far.
    pub(crate) fn raw_traffic(&self) -> u64 {
        self.bus.traffic().sent()
    }

    /// Commits a record and tells the log, as a worker does.
    pub(crate) async fn commit(&self, record: &AgentRecord) {
        commit(&self.raw, &self.records, record, &[]).await;
    }
}

/// Commits a record and tells the log what happened. Returns the record's version.
pub(crate) async fn commit(
    log: &InProcess,
    records: &Watched,
    record: &AgentRecord,
    events: &[Event],
) -> u64 {
    say(log, records, record, events, None).await
}

/// The same, with a custom message of the agent's.
pub(crate) async fn say(
    log: &InProcess,
    records: &Watched,
    record: &AgentRecord,
    events: &[Event],
    message: Option<&Received>,
) -> u64 {
    let version = put(records, record).await;
    let uid = record.instance_uid;
    let summary = AgentSummary::from(record);
    let payload = bus::event::encode(&uid, version, Timestamp(0), events, Some(&summary), message);
    let entry = LogEntry { key: "00".to_owned(), id: format!("{uid}-{version}"), payload };
    log.append(vec![entry]).await.unwrap();
    version
}

/// Stores a record and returns its version.
pub(crate) async fn put(records: &Watched, record: &AgentRecord) -> u64 {
    let key = Key::agent(&record.instance_uid);
    let held = records.inner.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap();
    let expected = held.map_or(Version::ABSENT, |held| held.version);
    let value = tables::agents::encode(record, &Bytes::new());
    let write = Write::next(key, expected, value);
    records.inner.commit(vec![write]).await.unwrap();
    expected.next().0
}

/// An agent that takes remote config, in an environment.
pub(crate) fn agent(byte: u8, env: &str) -> AgentRecord {
    let mut record = AgentRecord::new(InstanceUid::from_bytes([byte; 16]), Timestamp(0));
    let value = Some(AnyValue { value: Some(Value::StringValue(env.to_owned())) });
    record.capabilities = 0x1003;
    record.sequence_num = Some(0);
    record.reported.agent_description = Some(AgentDescription {
        non_identifying_attributes: vec![KeyValue { key: "env".to_owned(), value }],
        ..Default::default()
    });
    record
}

/// The same with a session at a gateway that is heard of by its record.
pub(crate) fn connected(byte: u8, env: &str) -> AgentRecord {
    let owner = Owner { gateway: GatewayId::new("gw"), session: SessionId([byte; 16]) };
    AgentRecord { epoch: 1, n: 1, owner: Some(owner), ..agent(byte, env) }
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
