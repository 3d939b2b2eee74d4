//! A running gateway, a bus, and a stand-in worker whose answers a test may change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bus::v1::report_reply::{Accepted, Outcome, Stale, Unavailable};
use bus::v1::{
    Close, CloseReply, GatewayReply, GatewayRequest, Generation, Presence, Report, ReportReply,
    Resume, ResumeReply, gateway_reply, gateway_request, resume_reply,
};
use bus::{Bus, Client, InProcess, Subject, WORKERS};
use gateway::{Config, Error, Gateway, Limits};
use model::{Clock, GatewayId, Random, Timestamp};
use opamp::Message as _;
use opamp::v1::{AgentToServer, ServerToAgent};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trust::Door;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

type Answer = dyn Fn(&Report, &AgentToServer) -> Option<Outcome> + Send + Sync;

/// Everything a test touches.
pub(crate) struct Field {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) stop: CancellationToken,
    pub(crate) seen: Arc<Seen>,
    pub(crate) control: Client,
    tasks: JoinSet<()>,
    serving: JoinSet<Result<(), Error>>,
}

/// What the workers were told, and what they answer.
pub(crate) struct Seen {
    reports: Mutex<Vec<(Report, AgentToServer)>>,
    closes: Mutex<Vec<Close>>,
    closes_answered: Mutex<usize>,
    presence: Mutex<Vec<Presence>>,
    epochs: Mutex<BTreeMap<Vec<u8>, u64>>,
    answer: Mutex<Option<Arc<Answer>>>,
    delay: Mutex<Duration>,
    resumes: Mutex<Vec<Resume>>,
    held: Mutex<Option<resume_reply::Outcome>>,
    clock_breaks: Arc<AtomicBool>,
}

impl Field {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Limits)) -> Self {
        Self::behind(Door::default(), adjust).await
    }

    /// A gateway that names these custom capabilities.
    pub(crate) async fn naming(capabilities: &[&str]) -> Self {
        let names = capabilities.iter().map(|name| (*name).to_owned()).collect();
        Self::configured(|bus| bus, |config| config.custom_capabilities = names).await
    }

    /// A gateway that lets agents in by this door.
    pub(crate) async fn behind(door: Door, adjust: impl FnOnce(&mut Limits)) -> Self {
        Self::over(|bus| bus, door, adjust).await
    }

    /// A gateway that speaks to the others over what is made of the bus.
    pub(crate) async fn over(
        made: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>,
        door: Door,
        adjust: impl FnOnce(&mut Limits),
    ) -> Self {
        Self::configured(made, |config| {
            config.door = door;
            adjust(&mut config.limits);
        })
        .await
    }

    pub(crate) async fn configured(
        made: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(InProcess::default());
        let seen = Arc::new(Seen::new());
        let clock = Arc::new(TestClock(tokio::time::Instant::now(), seen.clock_breaks.clone()));
        let on = async |bus, name| Client::new(bus, "test", name, clock.clone()).await;
        let client = async |name| on(bus.clone(), name).await;
        let workers = client("workers").await.unwrap();
        let mut config = Config::new(GatewayId::new("g1"));
        config.limits.sweep_interval = Duration::from_millis(20);
        config.limits.presence_interval = Duration::from_millis(50);
        adjust(&mut config);
        let bus = on(made(bus.clone()), "g1").await.unwrap();
        let gateway = Gateway::new(config, bus, clock.clone(), Arc::new(Sequence::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut field = Self {
            address,
            gateway: gateway.clone(),
            stop: CancellationToken::new(),
            seen,
            control: client("control").await.unwrap(),
            tasks: JoinSet::new(),
            serving: JoinSet::new(),
        };
        field.work(workers).await;
        let stop = field.stop.clone();
        field.serving.spawn(async move { gateway.serve(listener, stop).await });
        until("the gateway is ready", || field.gateway.ready()).await;
        field
    }

    async fn work(&mut self, workers: Client) {
        let mut reports = workers.join::<Report>(&Subject::Report, WORKERS, 4096).await.unwrap();
        let seen = self.seen.clone();
        self.tasks.spawn(async move {
            while let Some(received) = reports.next().await {
                let (report, responder) = received.split();
                let message = AgentToServer::decode(report.message.clone()).unwrap();
                let outcome = seen.outcome(&report, &message);
                lock(&seen.reports).push((report, message));
                let delay = *lock(&seen.delay);
                tokio::time::sleep(delay).await;
                if outcome.is_some() {
                    responder.send(&ReportReply { outcome }).await;
                }
            }
        });
        let mut closes = workers.join::<Close>(&Subject::Close, WORKERS, 4096).await.unwrap();
        let seen = self.seen.clone();
        self.tasks.spawn(async move {
            while let Some(received) = closes.next().await {
                let (close, responder) = received.split();
                lock(&seen.closes).push(close);
                let delay = *lock(&seen.delay);
                tokio::time::sleep(delay).await;
                *lock(&seen.closes_answered) += 1;
                responder.send(&CloseReply {}).await;
            }
        });
        let mut resumes = workers.join::<Resume>(&Subject::Resume, WORKERS, 4096).await.unwrap();
        let seen = self.seen.clone();
        self.tasks.spawn(async move {
            while let Some(received) = resumes.next().await {
                let (resume, responder) = received.split();
                let held = *lock(&seen.held);
                let outcomes = resume.sessions.iter().map(|_| held.unwrap_or_default().into());
                let reply = ResumeReply { outcomes: outcomes.collect(), generation: 7 };
                lock(&seen.resumes).push(resume);
                if held.is_some() {
                    responder.send(&reply).await;
                }
            }
        });
        let mut presence = workers.subscribe(&Subject::Presence, 4096).await.unwrap();
        let seen = self.seen.clone();
        self.tasks.spawn(async move {
            while let Some(received) = presence.next().await {
                lock(&seen.presence).push(received.body);
            }
        });
    }

    /// Says how old the records are.
    pub(crate) async fn tell_generation(&self, generation: u64) {
        let told = Generation { generation, lost: Vec::new() };
        self.control.publish(&Subject::Generation, &told).await.unwrap();
    }

    /// Asks the gateway over the bus.
    pub(crate) async fn ask(&self, request: gateway_request::Request) -> gateway_reply::Reply {
        let to = Subject::Gateway(GatewayId::new("g1"));
        let request = GatewayRequest { request: Some(request) };
        let answer: GatewayReply = self.control.request(&to, &request, PATIENCE).await.unwrap();
        answer.reply.unwrap()
    }

    /// The gateway's last word.
    pub(crate) async fn stopped(&mut self) -> Result<(), Error> {
        let ended = tokio::time::timeout(PATIENCE, self.serving.join_next()).await;
        ended.expect("stops in time").expect("was serving").unwrap()
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            reports: Mutex::default(),
            closes: Mutex::default(),
            closes_answered: Mutex::default(),
            presence: Mutex::default(),
            epochs: Mutex::default(),
            answer: Mutex::default(),
            delay: Mutex::default(),
            resumes: Mutex::default(),
            held: Mutex::new(Some(resume_reply::Outcome::Held)),
            clock_breaks: Arc::default(),
        }
    }

    /// From now on this is the answer, where it gives one; `None` within is silence.
    pub(crate) fn answer_with(
        &self,
        answer: impl Fn(&Report, &AgentToServer) -> Option<Outcome> + Send + Sync + 'static,
    ) {
        *lock(&self.answer) = Some(Arc::new(answer));
    }

    /// Answers come this much later.
    pub(crate) fn delay(&self, by: Duration) {
        *lock(&self.delay) = by;
    }

    /// The clock panics when it is asked next.
    pub(crate) fn break_the_clock(&self) {
        self.clock_breaks.store(true, Ordering::Relaxed);
    }

    pub(crate) fn answer_as_usual(&self) {
        *lock(&self.answer) = None;
    }

    fn outcome(&self, report: &Report, message: &AgentToServer) -> Option<Outcome> {
        let answer = lock(&self.answer).clone();
        match answer {
            Some(answer) => answer(report, message),
            None => Some(self.usual(report, message)),
        }
    }

    /// Claims are granted with rising epochs, and everything is accepted.
    pub(crate) fn usual(&self, report: &Report, message: &AgentToServer) -> Outcome {
        let mut epochs = lock(&self.epochs);
        let epoch = epochs.entry(message.instance_uid.clone()).or_default();
        let polls = report.session_id.is_empty();
        if report.epoch == 0 && !polls {
            *epoch += 1;
        }
        accepted(if polls { 0 } else { *epoch }, message, |_| ())
    }

    pub(crate) fn reports(&self) -> Vec<(Report, AgentToServer)> {
        lock(&self.reports).clone()
    }

    pub(crate) fn closes(&self) -> Vec<Close> {
        lock(&self.closes).clone()
    }

    pub(crate) fn closes_answered(&self) -> usize {
        *lock(&self.closes_answered)
    }

    pub(crate) fn resumes(&self) -> Vec<Resume> {
        lock(&self.resumes).clone()
    }

    /// What is said of sessions from now on; `None` is silence.
    pub(crate) fn hold(&self, held: Option<resume_reply::Outcome>) {
        *lock(&self.held) = held;
    }

    pub(crate) fn presence(&self) -> Vec<Presence> {
        lock(&self.presence).clone()
    }
}

pub(crate) fn accepted(
    epoch: u64,
    of: &AgentToServer,
    adjust: impl FnOnce(&mut ServerToAgent),
) -> Outcome {
    let mut message = ServerToAgent {
        instance_uid: of.instance_uid.clone(),
        capabilities: opamp::capability::SERVER,
        ..Default::default()
    };
    adjust(&mut message);
    let message = message.encode_to_vec().into();
    Outcome::Accepted(Accepted { epoch, message, ..Default::default() })
}

pub(crate) fn stale() -> Outcome {
    Outcome::Stale(Stale {})
}

pub(crate) fn unavailable() -> Outcome {
    Outcome::Unavailable(Unavailable { reason: "the store is away".to_owned() })
}

/// Waits for a condition, up to a deadline.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    until_told(what, async || condition()).await;
}

/// The same, for a condition that has to be asked for.
pub(crate) async fn until_told(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

#[derive(Debug)]
struct TestClock(tokio::time::Instant, Arc<AtomicBool>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        assert!(!self.1.swap(false, Ordering::Relaxed), "as it was asked to");
        let since = u64::try_from(self.0.elapsed().as_millis()).unwrap();
        Timestamp(1_800_000_000_000 + since)
    }
}

/// Different every time, the same in every run.
#[derive(Debug, Default)]
struct Sequence(Mutex<u64>);

impl Random for Sequence {
    fn fill(&self, bytes: &mut [u8]) {
        let mut last = lock(&self.0);
        for chunk in bytes.chunks_mut(8) {
            *last = last.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*last ^ (*last >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
        }
    }
}
