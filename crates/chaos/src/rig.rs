//! The cluster under test: real processes, and a proxy on every way between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use proxy::Proxy;
use services::{Cluster, Edge, Muster, Server, Signal, Size};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::scenario::Role;

/// The cluster with everything that stands in between.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    /// Between processes and services.
    pub(crate) edges: BTreeMap<Edge, Proxy>,
    /// Between agents and gateways, one in front of each. While its gateway takes no connection it
    /// sends agents to the others, as a load balancer would.
    pub(crate) doors: Vec<Proxy>,
}

/// Some process.
enum Process<'a> {
    Muster(&'a mut Muster),
    Server(&'a mut Server),
}

impl Rig {
    pub(crate) async fn start(size: Size) -> anyhow::Result<Self> {
        let mut edges = BTreeMap::new();
        let handle = Handle::current();
        let cluster = block_in_place(|| {
            Cluster::start_through(size, &["--log-level", "info"], &mut |edge, address| {
                let proxy = handle.block_on(Proxy::start(address))?;
                let at = proxy.address();
                edges.insert(edge.clone(), proxy);
                Ok(at)
            })
        })?;
        let gateways: Vec<SocketAddr> =
            cluster.gateways.iter().map(address).collect::<anyhow::Result<_>>()?;
        let mut doors = Vec::new();
        for number in 0..gateways.len() {
            let mut turn = gateways.clone();
            turn.rotate_left(number);
            doors.push(Proxy::listen(SocketAddr::from(([127, 0, 0, 1], 0)), turn).await?);
        }
        Ok(Self { cluster, edges, doors })
    }

    /// Where agents connect that belong to this gateway.
    pub(crate) fn door(&self, gateway: usize) -> String {
        let door = &self.doors[gateway % self.doors.len()];
        format!("ws://{}/v1/opamp", door.address())
    }

    /// Where gateways listen, past all wires.
    pub(crate) fn gateway_urls(&self) -> anyhow::Result<Vec<String>> {
        let url = |gateway: &Muster| gateway.opamp.clone().context("no door for agents");
        self.cluster.gateways.iter().map(url).collect()
    }

    /// Number of the gateway that says it listens there.
    pub(crate) fn gateway_at(&self, url: &str) -> Option<usize> {
        self.cluster.gateways.iter().position(|gateway| gateway.opamp.as_deref() == Some(url))
    }

    pub(crate) fn count(&self, role: Role) -> usize {
        match role {
            Role::Gateway => self.cluster.gateways.len(),
            Role::Worker => self.cluster.workers.len(),
            Role::Control => self.cluster.controls.len(),
            Role::Nats => self.cluster.nats.len(),
            Role::Records | Role::Ledger => 1,
        }
    }

    fn process(&mut self, role: Role, number: usize) -> Process<'_> {
        let cluster = &mut self.cluster;
        match role {
            Role::Gateway => Process::Muster(&mut cluster.gateways[number]),
            Role::Worker => Process::Muster(&mut cluster.workers[number]),
            Role::Control => Process::Muster(&mut cluster.controls[number]),
            Role::Nats => Process::Server(&mut cluster.nats[number]),
            Role::Records => Process::Server(&mut cluster.records),
            Role::Ledger => Process::Server(&mut cluster.ledger),
        }
    }

    pub(crate) fn kill(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        block_in_place(|| match self.process(role, number) {
            Process::Muster(muster) => muster.kill(),
            Process::Server(server) => server.kill(),
        })
    }

    pub(crate) fn signal(
        &mut self,
        role: Role,
        number: usize,
        signal: Signal,
    ) -> anyhow::Result<()> {
        // The other fault of a pair may have ended it.
        if !self.is_running(role, number) {
            return Ok(());
        }
        block_in_place(|| match self.process(role, number) {
            Process::Muster(muster) => muster.signal(signal),
            Process::Server(server) => server.signal(signal),
        })
    }

    /// Starts it again on its ports, without waiting for it.
    pub(crate) fn relaunch(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        block_in_place(|| match self.process(role, number) {
            Process::Muster(muster) => muster.relaunch(),
            Process::Server(server) => server.relaunch(),
        })
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self, role: Role, number: usize) -> bool {
        match self.process(role, number) {
            Process::Muster(muster) => muster.is_running(),
            Process::Server(server) => server.is_running(),
        }
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&mut self, role: Role, number: usize) -> bool {
        block_in_place(|| match self.process(role, number) {
            Process::Muster(muster) => muster.is_ready(),
            Process::Server(server) => server.is_there(),
        })
    }

    /// Every process, Muster's last.
    pub(crate) fn all(&self) -> Vec<(Role, usize)> {
        let roles =
            [Role::Nats, Role::Records, Role::Ledger, Role::Worker, Role::Control, Role::Gateway];
        roles
            .into_iter()
            .flat_map(|role| (0..self.count(role)).map(move |number| (role, number)))
            .collect()
    }

    /// Muster's processes with their names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, &Muster)> {
        let name = |role: &'static str| {
            move |(number, muster): (usize, _)| (format!("{role}-{number}"), muster)
        };
        let cluster = &self.cluster;
        let gateways = cluster.gateways.iter().enumerate().map(name("gateway"));
        let workers = cluster.workers.iter().enumerate().map(name("worker"));
        let controls = cluster.controls.iter().enumerate().map(name("control"));
        gateways.chain(workers).chain(controls)
    }
}

fn address(gateway: &Muster) -> anyhow::Result<SocketAddr> {
    let url = gateway.opamp.as_deref().context("no door for agents")?;
    let authority = url.split('/').nth(2).context("no address")?;
    Ok(authority.parse()?)
}
