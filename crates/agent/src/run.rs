//! An agent at work: a task that keeps it connected, and a handle to see and steer it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opamp::ws::Event;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Error;
use crate::core::{Agent, Settings};
use crate::install::Installer;
use crate::limits::{POLL_MS, RETRY_FIRST_MS, RETRY_LAST_MS, VERIFY_TIMEOUT};
use crate::link::{Endpoint, Poller, WebSocket};

/// A running agent. It ends with the handle, without a word to its server; [`Handle::stop`] says
/// goodbye first.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    agent: Mutex<Agent>,
    endpoint: Mutex<Endpoint>,
    /// Where it goes, one after the other, when a connection fails or breaks.
    elsewhere: Mutex<VecDeque<Endpoint>>,
    /// Where it was before it tried what it was offered, until that has answered.
    before: Mutex<Option<Endpoint>>,
    /// Since when it has no connection that was answered, once it had one.
    away_since: Mutex<Option<Instant>>,
    /// Counts what happened, for who waits for something to happen.
    changes: watch::Sender<u64>,
    /// Somebody changed the agent: it may have something to say.
    changed: Notify,
    /// There may be something to do on a disk.
    jobs: Notify,
    installer: Option<Installer>,
    started: Instant,
}

#[derive(Debug)]
enum Order {
    /// Drop the connection as a crash would, and connect again.
    Cut,
    /// Close the connection properly and connect again, to where the endpoint says.
    Reconnect,
    /// Say goodbye and end.
    Stop,
}

/// Why a connection ended.
enum End {
    Again,
    /// There is another one to try.
    Elsewhere,
    Wait(u64),
    Stopped,
}

/// Starts an agent against a server's URL.
pub fn start(settings: Settings, url: &str) -> Result<Handle, Error> {
    Ok(start_at(settings, Endpoint::parse(url)?))
}

/// Starts an agent at an endpoint that may have somebody to trust.
pub fn start_at(settings: Settings, endpoint: Endpoint) -> Handle {
    start_after(settings, endpoint, Duration::ZERO)
}

/// The same for an agent that installs packages: each is one file in a folder, which is its own.
pub fn start_installing(settings: Settings, endpoint: Endpoint, folder: PathBuf) -> Handle {
    let installer = Installer { folder, trust: endpoint.trust.clone() };
    start_with(settings, endpoint, Duration::ZERO, Some(installer))
}

/// Starts an agent that connects after a while.
pub(crate) fn start_after(settings: Settings, endpoint: Endpoint, delay: Duration) -> Handle {
    start_with(settings, endpoint, delay, None)
}

fn start_with(
    settings: Settings,
    endpoint: Endpoint,
    delay: Duration,
    installer: Option<Installer>,
) -> Handle {
    let shared = Arc::new(Shared {
        agent: Mutex::new(Agent::new(settings)),
        endpoint: Mutex::new(endpoint),
        elsewhere: Mutex::default(),
        before: Mutex::default(),
        away_since: Mutex::default(),
        changes: watch::Sender::new(0),
        changed: Notify::new(),
        jobs: Notify::new(),
        installer,
        started: Instant::now(),
    });
    let (orders, inbox) = mpsc::channel(4);
    let mut task = JoinSet::new();
    let working = shared.clone();
    task.spawn(async move {
        sleep(delay).await;
        tokio::select! {
            biased;
            () = working.work(inbox) => {}
            () = working.install() => {}
        }
    });
    Handle { shared, orders, task }
}

impl Handle {
    /// Looks at the agent.
    pub fn see<T>(&self, look: impl FnOnce(&Agent) -> T) -> T {
        look(&self.shared.agent())
    }

    /// Changes the agent, which then tells its server.
    pub fn change(&self, change: impl FnOnce(&mut Agent)) {
        change(&mut self.shared.agent());
        self.shared.changed.notify_one();
    }

    /// Whether its last connection ended and none was answered since.
    pub fn is_away(&self) -> bool {
        lock(&self.shared.away_since).is_some()
    }

    /// Waits until something holds of the agent; false if it never did in time.
    pub async fn until(&self, limit: Duration, mut holds: impl FnMut(&Agent) -> bool) -> bool {
        let mut changes = self.shared.changes.subscribe();
        let waiting = async {
            while !self.see(&mut holds) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, waiting).await.is_ok()
    }

    /// Where it goes when a connection fails or breaks: to each in turn, as behind a name with
    /// several addresses.
    pub fn fall_back_to(&self, urls: &[String]) -> Result<(), Error> {
        let trust = lock(&self.shared.endpoint).trust.clone();
        let parse = |url: &String| Ok(Endpoint::parse(url)?.trusting(trust.clone()));
        *lock(&self.shared.elsewhere) = urls.iter().map(parse).collect::<Result<_, Error>>()?;
        Ok(())
    }

    /// Goes to another server, with a proper close.
    pub async fn redirect(&self, url: &str) -> Result<(), Error> {
        let elsewhere = Endpoint::parse(url)?;
        {
            let mut endpoint = lock(&self.shared.endpoint);
            *endpoint = elsewhere.trusting(endpoint.trust.clone());
        }
        self.order(Order::Reconnect).await;
        Ok(())
    }

    /// Loses its connection as by a crash of the network, and makes a new one.
    pub async fn cut(&self) {
        self.order(Order::Cut).await;
    }

    /// Says goodbye and ends.
    pub async fn stop(mut self) {
        self.order(Order::Stop).await;
        while self.task.join_next().await.is_some() {}
    }

    async fn order(&self, order: Order) {
        // An agent that has ended needs no orders.
        let _ = self.orders.send(order).await;
    }
}

impl Shared {
    async fn work(&self, mut orders: mpsc::Receiver<Order>) {
        let mut failures = 0;
        loop {
            let endpoint = lock(&self.endpoint).clone();
            let before = self.agent().ledger.received;
            let ended = match endpoint.polls {
                true => self.poll(endpoint, &mut orders).await,
                false => self.connect(endpoint, &mut orders).await,
            };
            if self.agent().ledger.received > 0 {
                lock(&self.away_since).get_or_insert_with(Instant::now);
            }
            if self.agent().ledger.received > before {
                failures = 0;
            }
            let tried = !matches!(ended, Ok(End::Stopped | End::Elsewhere));
            if tried && self.goes_back(&ended) {
                continue;
            }
            let pause = match ended {
                Ok(End::Stopped) => return,
                Ok(End::Again | End::Elsewhere) => continue,
                Ok(End::Wait(pause)) => pause,
                Err(error) => {
                    tracing::debug!(%error, "connection failed");
                    failures += 1;
                    self.go_elsewhere();
                    pause_after(failures, &error)
                }
            };
            tokio::select! {
                biased;
                order = orders.recv() => if matches!(order, Some(Order::Stop) | None) { return },
                () = sleep(Duration::from_millis(pause)) => {}
            }
        }
    }

    /// Does what is to be done on a disk, one after the other, for ever.
    async fn install(&self) {
        let Some(installer) = &self.installer else { return std::future::pending().await };
        loop {
            let next = self.agent().takes_job();
            let Some(job) = next else {
                self.jobs.notified().await;
                continue;
            };
            let say = |change: &mut dyn FnMut(&mut Agent)| {
                change(&mut self.agent());
                self.changed.notify_one();
                self.happened();
            };
            let result = installer.work(&job, say).await;
            self.agent().job_done(&job, result);
            self.changed.notify_one();
            self.happened();
        }
    }

    /// One WebSocket's life.
    async fn connect(
        &self,
        endpoint: Endpoint,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<End, Error> {
        let deadline = Instant::now() + VERIFY_TIMEOUT;
        let mut socket = WebSocket::connect(&endpoint, &[]).await?;
        self.agent().connected();
        loop {
            loop {
                let Some(message) = self.agent().next_message(self.now_ms()) else { break };
                if let Err(error) = socket.send(&message).await {
                    self.agent().lost(&message);
                    return Err(error);
                }
                self.happened();
            }
            match self.tries(&endpoint) {
                None => {}
                Some(false) => continue,
                Some(true) => {
                    let _ = socket.close().await;
                    return Ok(End::Elsewhere);
                }
            }
            let next = self.agent().next_deadline_ms();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Cut) => return Ok(End::Again),
                    Some(Order::Reconnect) => {
                        let _ = socket.close().await;
                        return Ok(End::Again);
                    }
                    Some(Order::Stop) | None => {
                        let goodbye = self.agent().goodbye(self.now_ms());
                        let _ = socket.send(&goodbye).await;
                        let _ = socket.close().await;
                        return Ok(End::Stopped);
                    }
                },
                event = socket.next() => match event? {
                    Event::Binary(payload) => {
                        let message = crate::link::decode(&payload)?;
                        if let Some(pause) = self.hear(&message) {
                            let _ = socket.close().await;
                            return Ok(End::Wait(pause));
                        }
                        if self.agent().takes_restart() {
                            let _ = socket.close().await;
                            return Ok(End::Again);
                        }
                    }
                    Event::Close(code) => return Err(Error::Lost(format!("closed with {code:?}"))),
                    Event::Text => return Err(Error::Protocol("text message".to_owned())),
                    Event::Ping(_) | Event::Pong(_) => {}
                },
                () = self.changed.notified() => {}
                () = self.until_ms(next) => {}
                () = sleep_until(deadline), if lock(&self.before).is_some() => {
                    return Err(Error::TimedOut(VERIFY_TIMEOUT));
                }
            }
        }
    }

    /// Polls until something breaks.
    async fn poll(
        &self,
        endpoint: Endpoint,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<End, Error> {
        let mut poller = Poller::new(endpoint.clone());
        self.agent().connected();
        loop {
            let message = self.agent().poll_message(self.now_ms());
            let reply = match poller.exchange(&message).await {
                Ok(reply) => reply,
                Err(error) => {
                    self.agent().lost(&message);
                    return Err(error);
                }
            };
            if let Some(pause) = self.hear(&reply) {
                return Ok(End::Wait(pause));
            }
            if self.agent().takes_restart() {
                return Ok(End::Again);
            }
            match self.tries(&endpoint) {
                None => {}
                Some(false) => continue,
                Some(true) => return Ok(End::Elsewhere),
            }
            // Who polls has no other way to hear anything.
            let deadline = self.agent().next_deadline_ms();
            let deadline = deadline.or_else(|| Some(self.now_ms() + POLL_MS));
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Cut | Order::Reconnect) => return Ok(End::Again),
                    Some(Order::Stop) | None => {
                        let goodbye = self.agent().goodbye(self.now_ms());
                        let _ = poller.exchange(&goodbye).await;
                        return Ok(End::Stopped);
                    }
                },
                () = self.changed.notified() => {}
                () = self.until_ms(deadline) => {}
            }
        }
    }

    /// Looks whether there is a connection to try. Whether it is another one than this, which then
    /// is the next; otherwise there is something to say about it.
    fn tries(&self, endpoint: &Endpoint) -> Option<bool> {
        let settings = self.agent().takes_candidate()?;
        match endpoint.told(&settings) {
            Ok(next) if !next.is_same(endpoint) => {
                *lock(&self.before) = Some(endpoint.clone());
                *lock(&self.endpoint) = next;
                return Some(true);
            }
            Ok(_) => self.agent().tried_candidate(Ok(())),
            Err(error) => self.agent().tried_candidate(Err(reason(&error))),
        }
        self.happened();
        Some(false)
    }

    /// Whether what was tried has failed: then what was before counts again.
    fn goes_back(&self, ended: &Result<End, Error>) -> bool {
        let Some(before) = lock(&self.before).take() else { return false };
        *lock(&self.endpoint) = before;
        let reason = match ended {
            Err(error) => reason(error),
            Ok(_) => "the server did not take it".to_owned(),
        };
        self.agent().tried_candidate(Err(reason));
        true
    }

    fn go_elsewhere(&self) {
        let mut elsewhere = lock(&self.elsewhere);
        if let Some(next) = elsewhere.pop_front() {
            *lock(&self.endpoint) = next.clone();
            elsewhere.push_back(next);
        }
    }

    fn hear(&self, message: &opamp::v1::ServerToAgent) -> Option<u64> {
        let away = lock(&self.away_since).take();
        let mut agent = self.agent();
        if let Some(since) = away {
            let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            agent.ledger.away_ms_max = agent.ledger.away_ms_max.max(away_ms);
        }
        let pause = agent.hear(message, unix_nano());
        if message.error_response.is_none() && lock(&self.before).take().is_some() {
            agent.tried_candidate(Ok(()));
            lock(&self.elsewhere).clear();
        }
        drop(agent);
        self.jobs.notify_one();
        self.happened();
        pause
    }

    fn happened(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    async fn until_ms(&self, deadline: Option<u64>) {
        match deadline {
            Some(ms) => sleep_until(self.started + Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn agent(&self) -> MutexGuard<'_, Agent> {
        lock(&self.agent)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why it cannot connect, in words that may be told: a URL may hold a password.
fn reason(error: &Error) -> String {
    match error {
        Error::Url { reason, .. } => format!("cannot use the endpoint: {reason}"),
        error => error.to_string(),
    }
}

/// Doubles from attempt to attempt, spread over half of it, and never less than the server said.
fn pause_after(failures: u32, error: &Error) -> u64 {
    let pause = RETRY_FIRST_MS.saturating_mul(1 << failures.min(16)).min(RETRY_LAST_MS);
    let pause = pause / 2 + rand::random_range(0..=pause / 2);
    let said = match error {
        Error::Refused { retry_after: Some(wait), .. } => {
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        }
        _ => 0,
    };
    pause.max(said)
}

/// The time of day, for the start time that an agent reports.
pub(crate) fn unix_nano() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "an agent outside any simulation")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
