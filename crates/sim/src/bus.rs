//! The simulated bus, as one process holds it: a [`Bus`] whose messages take time, get lost, come
//! twice, late, or in another order, and which sees who is dead, paused or cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus::backend::{Entrance, Guard, Way, queue};
use bus::{Bus, Error, Inbound, LogEntry, LogReader, Position, ReplyTo, Subscription};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::dice::Dice;
use crate::limits::LATE_MS;
use crate::log::Log;
use crate::process::Process;
use crate::weather::Weather;
use crate::world::World;

/// Largest payload: as NATS has it.
const PAYLOAD_MAX: usize = 1 << 20;
/// Entries a reader of the log may have waiting.
const READER_CAPACITY: usize = 256;
/// How long a client tries before it says that its bus is away, in milliseconds.
const AWAY_MS: (u64, u64) = (50, 1_500);
/// How long a reader of the log holds out without its bus.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// What all processes' lines lead to.
#[derive(Debug)]
pub(crate) struct Net {
    world: Arc<World>,
    routes: Mutex<Routes>,
    pub(crate) log: Log,
}

#[derive(Debug, Default)]
struct Routes {
    subjects: BTreeMap<String, Vec<Route>>,
    turns: BTreeMap<String, usize>,
    next_id: u64,
}

#[derive(Debug, Clone)]
struct Route {
    id: u64,
    group: Option<String>,
    process: Arc<Process>,
    entrance: Entrance,
}

impl Net {
    pub(crate) fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, routes: Mutex::default(), log: Log::default() })
    }

    /// The line of one process.
    pub(crate) fn line(self: &Arc<Self>, process: &Arc<Process>, life: u64) -> Line {
        let dice = Arc::new(self.world.dice(&format!("line/{}/{life}", process.name)));
        Line { net: self.clone(), process: process.clone(), dice }
    }

    /// A process is gone: it listens to nothing any more.
    pub(crate) fn hang_up(&self, process: &Process) {
        self.routes().subjects.values_mut().for_each(|routes| {
            routes.retain(|route| !std::ptr::eq(&*route.process, process));
        });
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    /// Every lone listener and, in turn, one of each group.
    fn targets(&mut self, subject: &str) -> Vec<Route> {
        let Some(routes) = self.subjects.get(subject) else { return Vec::new() };
        let mut found: Vec<Route> =
            routes.iter().filter(|route| route.group.is_none()).cloned().collect();
        let members: Vec<&Route> = routes.iter().filter(|route| route.group.is_some()).collect();
        if !members.is_empty() {
            let turn = self.turns.entry(subject.to_owned()).or_default();
            *turn += 1;
            found.push(members[*turn % members.len()].clone());
        }
        found
    }
}

/// One process's way onto the bus.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    net: Arc<Net>,
    process: Arc<Process>,
    dice: Arc<Dice>,
}

/// The asker of one request.
#[derive(Debug)]
struct Asker {
    line: Line,
    subject: String,
    question: Bytes,
    answer: mpsc::Sender<Bytes>,
    /// Who answers.
    from: Arc<Process>,
    dice: Arc<Dice>,
}

#[async_trait]
impl Way for Asker {
    async fn answer(&self, _: &str, payload: Bytes) {
        self.from.pass().await;
        let world = &self.line.net.world;
        crate::observe::answered(world, &self.subject, &self.question, &payload);
        let weather = world.sky.now();
        if weather.bus_away || self.from.is_mute() || self.dice.chance(weather.lost) {
            return;
        }
        let (line, answer) = (self.line.clone(), self.answer.clone());
        let delay = delay(&self.dice, &weather);
        self.line.net.world.tasks.spawn(async move {
            sleep(delay).await;
            if !line.process.is_deaf() && !line.net.world.sky.now().bus_away {
                // The first answer counts.
                let _ = answer.try_send(payload);
            }
        });
    }
}

impl Line {
    fn weather(&self) -> Weather {
        self.net.world.sky.now()
    }

    /// Whether anything gets out; takes its time to find out.
    async fn get_out(&self) -> Result<(), Error> {
        self.process.pass().await;
        if !self.weather().bus_away && !self.process.is_mute() {
            return Ok(());
        }
        sleep(Duration::from_millis(self.dice.between(AWAY_MS.0, AWAY_MS.1))).await;
        self.process.pass().await;
        Err(Error::Unavailable("the bus is away".to_owned()))
    }

    /// Sends to one listener: in time, late, twice, or never.
    fn send(
        &self,
        route: &Route,
        subject: &str,
        payload: &Bytes,
        asker: Option<&mpsc::Sender<Bytes>>,
    ) {
        let weather = self.weather();
        let copies = 1 + u64::from(self.dice.chance(weather.repeated));
        for copy in 0..copies {
            let lost = self.dice.chance(weather.lost);
            let mut wait = delay(&self.dice, &weather);
            if copy > 0 || self.dice.chance(weather.late) {
                wait += Duration::from_millis(self.dice.between(LATE_MS.0, LATE_MS.1));
            }
            if lost {
                continue;
            }
            let reply = asker.map(|answer| {
                let asker = Asker {
                    line: self.clone(),
                    subject: subject.to_owned(),
                    question: payload.clone(),
                    answer: answer.clone(),
                    from: route.process.clone(),
                    dice: self.dice.clone(),
                };
                ReplyTo::new(subject.to_owned(), Arc::new(asker))
            });
            let inbound = Inbound { payload: payload.clone(), reply };
            let (net, route) = (self.net.clone(), route.clone());
            let (from, subject) = (self.process.name.clone(), subject.to_owned());
            self.net.world.tasks.spawn(async move {
                sleep(wait).await;
                if route.process.is_deaf() || net.world.sky.now().bus_away {
                    return;
                }
                // A paused process finds it in its socket later.
                route.process.pass().await;
                let (size, crc) = (inbound.payload.len(), crc32fast::hash(&inbound.payload));
                let to = &route.process.name;
                net.world.note(format_args!("bus {from} -> {to} {subject} {size} {crc:08x}"));
                route.entrance.offer(inbound);
            });
        }
    }
}

fn delay(dice: &Dice, weather: &Weather) -> Duration {
    Duration::from_micros(dice.between(100, weather.delay_ms.max(1) * 1_000))
}

#[async_trait]
impl Bus for Line {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        self.get_out().await?;
        crate::observe::published(&self.net.world, subject);
        let targets = self.net.routes().targets(subject);
        targets.iter().for_each(|route| self.send(route, subject, &payload, None));
        Ok(())
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let deadline = Instant::now() + limit;
        self.get_out().await?;
        crate::observe::asked(&self.net.world, subject, &payload);
        let (answer, mut answered) = mpsc::channel(1);
        let targets = self.net.routes().targets(subject);
        if targets.is_empty() {
            sleep(delay(&self.dice, &self.weather())).await;
            self.process.pass().await;
            return Err(Error::NoResponder(subject.to_owned()));
        }
        targets.iter().for_each(|route| self.send(route, subject, &payload, Some(&answer)));
        let left = deadline.saturating_duration_since(Instant::now());
        let got = timeout(left, answered.recv()).await;
        drop(answer);
        self.process.pass().await;
        got.ok().flatten().ok_or_else(|| Error::TimedOut(subject.to_owned()))
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        self.get_out().await?;
        let (entrance, exit) = queue(capacity);
        let mut routes = self.net.routes();
        routes.next_id += 1;
        let (id, group) = (routes.next_id, group.map(str::to_owned));
        let route = Route { id, group, process: self.process.clone(), entrance };
        routes.subjects.entry(subject.to_owned()).or_default().push(route);
        let (net, subject) = (Arc::downgrade(&self.net), subject.to_owned());
        let guard = Guard::new(move || {
            let Some(net) = net.upgrade() else { return };
            if let Some(routes) = net.routes().subjects.get_mut(&subject) {
                routes.retain(|route| route.id != id);
            }
        });
        Ok(Subscription::new(exit, guard))
    }

    fn payload_max(&self) -> usize {
        PAYLOAD_MAX
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.get_out().await?;
        let weather = self.weather();
        sleep(delay(&self.dice, &weather)).await;
        let fails = self.dice.chance(weather.errors);
        // Some of them may be stored all the same.
        let stored = match fails {
            true => self.dice.below(entries.len() as u64 + 1),
            false => entries.len() as u64,
        };
        for (index, entry) in entries.into_iter().enumerate() {
            if (index as u64) < stored {
                self.net.world.note(format_args!("log {} {}", self.process.name, entry.id));
                self.net.log.append(entry);
            }
        }
        sleep(delay(&self.dice, &weather)).await;
        self.process.pass().await;
        if fails { Err(Error::TimedOut("the event log".to_owned())) } else { Ok(()) }
    }

    async fn tail(&self) -> Result<Position, Error> {
        self.get_out().await?;
        Ok(self.net.log.tail())
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        self.get_out().await?;
        self.net.log.at(from)?;
        let (sender, receiver) = mpsc::channel(READER_CAPACITY);
        let (line, stop) = (self.clone(), tokio_util::sync::CancellationToken::new());
        let guard = stop.clone().drop_guard();
        let following = async move { stop.run_until_cancelled(line.follow(from, sender)).await };
        self.net.world.tasks.spawn(following);
        Ok(LogReader::new(1, receiver, Guard::new(move || drop(guard))))
    }
}

impl Line {
    /// Hands out entries while somebody takes them.
    async fn follow(self, mut next: Position, sender: mpsc::Sender<Result<bus::Logged, Error>>) {
        let appended = self.net.log.appended.clone();
        loop {
            let more = appended.notified();
            let step = match self.net.log.at(next) {
                Ok(None) => {
                    tokio::select! {
                        biased;
                        () = sender.closed() => return,
                        () = more => continue,
                    }
                }
                Ok(Some(logged)) => Ok(logged),
                Err(error) => Err(error),
            };
            if !self.reachable().await {
                let lost = Error::Unavailable("the event log is away".to_owned());
                // Who reads may be gone.
                let _ = sender.send(Err(lost)).await;
                return;
            }
            let ended = step.is_err();
            if let Ok(logged) = &step {
                next = Position(logged.position.0 + 1);
            }
            if sender.send(step).await.is_err() || ended {
                return;
            }
        }
    }

    /// Waits until something gets in, for as long as a reader's client tries.
    async fn reachable(&self) -> bool {
        let since = Instant::now();
        sleep(delay(&self.dice, &self.weather())).await;
        loop {
            self.process.pass().await;
            if !self.weather().bus_away && !self.process.is_deaf() {
                return true;
            }
            if since.elapsed() > READER_PATIENCE {
                return false;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}
