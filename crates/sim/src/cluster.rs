//! The product's processes: made, killed, stopped and made again, each with seams of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::bus::{Bus, Client};
use control::Control;
use fleet::Worker;
use gateway::Gateway;
use model::GatewayId;
use opamp::InstanceUid;
use opamp::ws::{Decoder, Event, Role};
use store::Store;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agents::SimAgent;
use crate::bus::Net;
use crate::clock::Clock;
use crate::dice::Dice;
use crate::limits::BACKLOG;
use crate::operators::{self, Call};
use crate::process::Process;
use crate::shelf::{Shelf, Which};
use crate::variants::Variant;
use crate::wire::{Join, Port, Tap, Tapped, Wire};
use crate::world::World;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Gateway,
    Worker,
    Control,
}

/// How long a process waits before it tries to start again.
const BOOT_PAUSE: Duration = Duration::from_millis(400);
/// How long a process may take to stop when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(30);

/// The place of one process, which lives again and again.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) role: Part,
    name: String,
    lives: u64,
    pub(crate) process: Arc<Process>,
    stop: CancellationToken,
    port: Option<mpsc::Sender<(Tapped, SocketAddr)>>,
    calls: Option<mpsc::Sender<Call>>,
    /// It was told to stop: nobody new is sent to it.
    pub(crate) leaving: bool,
}

/// All processes and agents.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) world: Arc<World>,
    pub(crate) net: Arc<Net>,
    variant: Variant,
    seats: Mutex<Vec<Seat>>,
    agents: Mutex<Vec<Arc<SimAgent>>>,
    connections: Mutex<u64>,
}

/// A connection that an agent has made.
pub(crate) struct Dialed {
    pub(crate) stream: DuplexStream,
    pub(crate) wire: Arc<Wire>,
    pub(crate) gateway: Arc<Process>,
}

/// A process's own ways to the world.
struct Seams {
    bus: Arc<dyn Bus>,
    records: Arc<dyn Store>,
    ledger: Arc<dyn Store>,
    clock: Arc<dyn model::Clock>,
    random: Arc<dyn model::Random>,
}

impl Cluster {
    pub(crate) fn new(world: &Arc<World>, variant: Variant) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            net: Net::new(world.clone()),
            variant,
            seats: Mutex::default(),
            agents: Mutex::default(),
            connections: Mutex::default(),
        })
    }

    /// Adds a process, which starts.
    pub(crate) fn add(self: &Arc<Self>, role: Part, name: &str) {
        let seat = Seat {
            role,
            name: name.to_owned(),
            lives: 0,
            process: Arc::new(Process::new(name)),
            stop: CancellationToken::new(),
            port: None,
            calls: None,
            leaving: false,
        };
        let mut seats = self.seats();
        seats.push(seat);
        let index = seats.len() - 1;
        drop(seats);
        self.start(index);
    }

    /// Adds an agent, which lives from now on.
    pub(crate) fn admit(self: &Arc<Self>, agent: SimAgent) {
        let agent = Arc::new(agent);
        lock(&self.agents).push(agent.clone());
        self.world.tasks.spawn(agent.live(self.clone()));
    }

    pub(crate) fn agents(&self) -> Vec<Arc<SimAgent>> {
        lock(&self.agents).clone()
    }

    pub(crate) fn uids(&self) -> Vec<InstanceUid> {
        self.agents().iter().map(|agent| agent.see(agent::Agent::uid)).collect()
    }

    /// A new life in this place.
    pub(crate) fn start(self: &Arc<Self>, index: usize) {
        let mut seats = self.seats();
        let seat = &mut seats[index];
        seat.lives += 1;
        seat.process = Arc::new(Process::new(&seat.name));
        seat.stop = CancellationToken::new();
        seat.leaving = false;
        let (port, accepted) = mpsc::channel(BACKLOG);
        let (calls, called) = mpsc::channel(BACKLOG);
        seat.port = Some(port).filter(|_| seat.role == Part::Gateway);
        seat.calls = Some(calls).filter(|_| seat.role == Part::Control);
        let (role, process, stop) = (seat.role, seat.process.clone(), seat.stop.clone());
        let seams = self.seams(&process, seat.lives);
        let name = seat.name.clone();
        drop(seats);
        self.world.note(format_args!("start {name}"));
        let (world, ended) = (self.world.clone(), process.clone());
        let living = async move {
            match role {
                Part::Gateway => serve(seams, &name, Port(accepted), stop).await,
                Part::Worker => work(seams, &name, stop).await,
                Part::Control => rule(seams, &name, called, stop, world).await,
            }
        };
        self.world.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = ended.death() => {}
                () = living => ended.die(),
            }
        });
    }

    fn seams(&self, process: &Arc<Process>, life: u64) -> Seams {
        let (world, name) = (&self.world, &process.name);
        let shelf = |which: Which, bottom: Arc<dyn Store>| -> Arc<dyn Store> {
            let dice = world.dice(&format!("shelf/{name}/{life}/{which:?}"));
            let inner = self.variant.store(which, bottom, world, process);
            let (world, process) = (world.clone(), process.clone());
            Arc::new(Shelf { world, process, which, dice, inner })
        };
        let clock = Arc::new(Clock { began: world.began, process: process.clone() });
        let line = Arc::new(self.net.line(process, life));
        Seams {
            bus: self.variant.bus(line, world, process),
            records: shelf(Which::Records, Arc::new(world.records.clone())),
            ledger: shelf(Which::Ledger, Arc::new(world.ledger.clone())),
            clock: self.variant.clock(clock),
            random: self.variant.random(Arc::new(world.dice(&format!("random/{name}/{life}")))),
        }
    }

    /// Ends a life at once.
    pub(crate) fn kill(&self, index: usize) {
        let seats = self.seats();
        let seat = &seats[index];
        self.world.note(format_args!("kill {}", seat.name));
        seat.process.die();
        // Nothing that its tasks still do is seen by anybody.
        seat.stop.cancel();
        self.net.hang_up(&seat.process);
    }

    /// Ends a life as an orchestrator does: an order, a deadline, and then the end.
    pub(crate) async fn stop(self: Arc<Self>, index: usize) {
        let process = {
            let mut seats = self.seats();
            let seat = &mut seats[index];
            self.world.note(format_args!("stop {}", seat.name));
            seat.leaving = true;
            seat.process.touch();
            seat.stop.cancel();
            seat.process.clone()
        };
        let _ = timeout(STOP_MAX, process.death()).await;
        process.die();
        self.net.hang_up(&process);
    }

    /// Looks at a place.
    pub(crate) fn seat<T>(&self, index: usize, look: impl FnOnce(&Seat) -> T) -> T {
        look(&self.seats()[index])
    }

    /// Places of a kind.
    pub(crate) fn places(&self, role: Option<Part>) -> Vec<usize> {
        let seats = self.seats();
        let fits = |seat: &Seat| role.is_none_or(|role| seat.role == role);
        (0..seats.len()).filter(|index| fits(&seats[*index])).collect()
    }

    /// The way to any control that is there, as far as an operator can see.
    pub(crate) fn any_control(&self, dice: &Dice) -> Option<mpsc::Sender<Call>> {
        dice.pick(&self.controls()).cloned()
    }

    /// The ways to all controls that are there.
    pub(crate) fn controls(&self) -> Vec<mpsc::Sender<Call>> {
        let seats = self.seats();
        let there = seats.iter().filter(|seat| !seat.process.is_dead());
        there.filter_map(|seat| seat.calls.clone()).collect()
    }

    /// A new connection of an agent, to where a load balancer sends it.
    pub(crate) fn dial(&self, agent: &SimAgent) -> Option<Dialed> {
        let number = {
            let mut connections = lock(&self.connections);
            *connections += 1;
            *connections
        };
        let dice = self.world.dice(&format!("wire/{number}"));
        let (gateway, port) = {
            let seats = self.seats();
            let open: Vec<&Seat> =
                seats.iter().filter(|seat| seat.port.is_some() && !seat.leaving).collect();
            let seat = dice.pick(&open)?;
            (seat.process.clone(), seat.port.clone()?)
        };
        if gateway.is_dead() {
            return None;
        }
        let wire = Arc::new(Wire::default());
        let join =
            Join { world: self.world.clone(), gateway: gateway.clone(), wire: wire.clone(), dice };
        let (stream, far_end) = join.ends(tap(&self.world, agent.polls));
        let last = u8::try_from(agent.index).unwrap_or(u8::MAX);
        let port_number = u16::try_from(number % 60_000).unwrap_or(0) + 1_000;
        port.try_send((far_end, SocketAddr::from(([10, 0, 0, last], port_number)))).ok()?;
        Some(Dialed { stream, wire, gateway })
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        lock(&self.seats)
    }
}

/// Notes the offers among what a gateway flushed to a socket.
fn tap(world: &Arc<World>, polls: bool) -> Tap {
    let world = world.clone();
    let mut decoder = Decoder::new(Role::Client, 1 << 20);
    let mut head: Option<Vec<u8>> = Some(Vec::new());
    Box::new(move |bytes| {
        if polls {
            return;
        }
        let mut rest = bytes.to_vec();
        if let Some(seen) = &mut head {
            seen.extend_from_slice(bytes);
            let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            rest = seen.split_off(end + 4);
            head = None;
        }
        let mut input = &rest[..];
        while let Ok(Some(event)) = decoder.feed(&mut input) {
            let Event::Binary(payload) = event else { continue };
            let message = opamp::envelope::decode::<opamp::v1::ServerToAgent>(&payload);
            if let Ok(message) = message
                && let Some(config) = message.remote_config
                && let Ok(uid) = InstanceUid::try_from(&message.instance_uid[..])
            {
                world.history().flushed.insert((uid, config.config_hash));
            }
        }
    })
}

/// A voice on the bus, once the bus is there.
async fn client(seams: &Seams, name: &str) -> Client {
    loop {
        let (bus, clock) = (seams.bus.clone(), seams.clock.clone());
        if let Ok(client) = Client::new(bus, "sim", name, clock).await {
            return client;
        }
        sleep(BOOT_PAUSE).await;
    }
}

async fn serve(seams: Seams, name: &str, port: Port, stop: CancellationToken) {
    let bus = client(&seams, name).await;
    let mut config = gateway::Config::new(GatewayId::new(name));
    // Agents come back sooner than in the field: more happens in a run.
    config.limits.retry_after = Duration::from_secs(4);
    let gateway = Gateway::new(config, bus, seams.clock.clone(), seams.random.clone());
    // A process that cannot begin is started again; this one ends if its bus is away just now.
    if gateway.serve(port, stop).await.is_err() {
        sleep(BOOT_PAUSE).await;
    }
}

async fn work(seams: Seams, name: &str, stop: CancellationToken) {
    let bus = client(&seams, name).await;
    let Seams { records, ledger, clock, random, .. } = seams;
    let worker = Worker::new(fleet::Config::default(), bus, records, ledger, clock, random);
    if worker.run(stop).await.is_err() {
        sleep(BOOT_PAUSE).await;
    }
}

async fn rule(
    seams: Seams,
    name: &str,
    calls: mpsc::Receiver<Call>,
    stop: CancellationToken,
    world: Arc<World>,
) {
    let bus = client(&seams, name).await;
    let config = control::Config { name: name.to_owned(), ..Default::default() };
    let Seams { records, ledger, clock, random, .. } = seams;
    let control = Control::new(config, bus, records, ledger, clock, random);
    let tasks = TaskTracker::new();
    let api = control.work(&tasks, &stop);
    let answering = operators::answer(api, calls, world);
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = answering => {}
    }
    tasks.close();
    tasks.wait().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
