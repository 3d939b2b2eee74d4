//! A whole cluster of real processes: gateways, workers and controls on NATS and two Redis, each
//! on a port that stays its own over every crash.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::{Muster, Server};

/// How long all of it may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a cluster that is not ready yet is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How many there are of each.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Gateways.
    pub gateways: usize,
    /// Fleet-state workers.
    pub workers: usize,
    /// Controls.
    pub controls: usize,
    /// NATS servers; the event log has a copy on each of them.
    pub nats: usize,
}

impl Default for Size {
    /// Two gateways, two workers, a control, one NATS.
    fn default() -> Self {
        Self { gateways: 2, workers: 2, controls: 1, nats: 1 }
    }
}

/// A service, as others reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// A NATS server, for its clients.
    Nats(usize),
    /// A NATS server, for its equals.
    Route(usize),
    /// The Redis of agents' records.
    Records,
    /// The Redis of operators' decisions.
    Ledger,
}

/// The way of one process to a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Such as `gateway-0`, `worker-1`, `control-0` or `nats-2`.
    pub from: String,
    /// Where it leads.
    pub to: Service,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to ", self.from)?;
        match self.to {
            Service::Nats(number) | Service::Route(number) => write!(f, "nats-{number}"),
            Service::Records => f.write_str("records"),
            Service::Ledger => f.write_str("ledger"),
        }
    }
}

/// Where a process is to go that wants to get somewhere: there, or to who stands in between.
pub type Way<'a> = dyn FnMut(&Edge, SocketAddr) -> anyhow::Result<SocketAddr> + 'a;

/// A running cluster. Muster ends before what it stands on.
#[derive(Debug)]
pub struct Cluster {
    /// The gateways.
    pub gateways: Vec<Muster>,
    /// The fleet-state workers.
    pub workers: Vec<Muster>,
    /// The controls.
    pub controls: Vec<Muster>,
    /// The NATS servers.
    pub nats: Vec<Server>,
    /// The Redis of agents' records.
    pub records: Server,
    /// The Redis of operators' decisions.
    pub ledger: Server,
}

impl Cluster {
    /// Starts one, each process with these arguments beside its own.
    pub fn start(size: Size, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_through(size, arguments, &mut |_, address| Ok(address))
    }

    /// The same, with somebody in between.
    pub fn start_through(
        size: Size,
        arguments: &[&str],
        way: &mut Way<'_>,
    ) -> anyhow::Result<Self> {
        let nats = match size.nats {
            1 => vec![Server::nats()?],
            count => Server::nats_cluster(count, &mut |from, to, address| {
                way(&Edge { from: format!("nats-{from}"), to: Service::Route(to) }, address)
            })?,
        };
        let (records, ledger) = (Server::redis()?, Server::redis()?);
        let mut start = |role: &str, name: &str, count: usize| {
            let serve = |number: usize| {
                let mut edge = Edge { from: format!("{name}-{number}"), to: Service::Nats(0) };
                let mut url = |service: Service, server: &Server| {
                    edge.to = service;
                    way(&edge, server.socket_address()).map(|address| server.url_at(address))
                };
                let mut bus = Vec::new();
                for (number, server) in nats.iter().enumerate() {
                    bus.push(url(Service::Nats(number), server)?);
                }
                let (bus, replicas) = (bus.join(","), nats.len().to_string());
                let mut own = vec!["--role", role, "--bus", &bus, "--bus-replicas", &replicas];
                let urls = [url(Service::Records, &records)?, url(Service::Ledger, &ledger)?];
                if name != "gateway" {
                    own.extend(["--store", &urls[0], "--ledger", &urls[1]]);
                }
                Muster::serve(&[&own, arguments].concat())
            };
            (0..count).map(serve).collect::<anyhow::Result<Vec<Muster>>>()
        };
        let workers = start("fleet-state", "worker", size.workers)?;
        let controls = start("control", "control", size.controls)?;
        let gateways = start("gateway", "gateway", size.gateways)?;
        let cluster = Self { gateways, workers, controls, nats, records, ledger };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Every process of Muster: gateways, workers, controls.
    pub fn processes(&self) -> impl Iterator<Item = &Muster> {
        self.gateways.iter().chain(&self.workers).chain(&self.controls)
    }

    /// Waits until every process says that it is ready.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for process in self.processes() {
            while !process.is_ready() {
                if Instant::now() > deadline {
                    bail!("not ready in {PATIENCE:?}: {}", process.log());
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// The sum of a metric over all processes.
    pub fn metric(&self, name: &str) -> f64 {
        let read = |process: &Muster| process.metrics().map_or(0.0, |metrics| metrics.sum(name));
        self.processes().map(read).sum()
    }
}
