//! Agents and clients that are a burden.

use std::time::Duration;

use agent::link::{Endpoint, WebSocket};
use agent::{Handle, swarm};
use anyhow::Context as _;
use proxy::{Direction, Proxy, Toxics};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::Injected;
use crate::campaign::Campaign;
use crate::draw::Draw;
use crate::scenario::AgentFault;

/// Numbers of agents that are not of the crowd. The same ones come again each time, so that the
/// fleet does not grow.
const CLONES: usize = 1_000_000;
const HALF_OPEN: usize = 1_100_000;
const CRASHING: usize = 1_200_000;
const NEWCOMERS: usize = 1_300_000;
const FLOODING: usize = 1_400_000;
/// How many of them.
const HALF_OPEN_COUNT: usize = 20;
const NEWCOMERS_COUNT: usize = 200;
/// How long one of them may take to get an answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Campaign {
    pub(super) async fn send_agents(
        &mut self,
        into: &mut Injected,
        fault: AgentFault,
        lots: &mut Draw,
    ) -> anyhow::Result<()> {
        let gateways = self.rig.cluster.gateways.len();
        let number = lots.below(gateways);
        let url = |number: usize| {
            let gateway = &self.rig.cluster.gateways[number % gateways];
            gateway.opamp.clone().context("no door for agents")
        };
        let (here, there) = (url(number)?, url(number + 1)?);
        into.told.push(format!("gateway {number}"));
        match fault {
            AgentFault::ResetStorm => {
                into.touched.doors.extend(0..self.rig.doors.len());
                self.rig.doors.iter().for_each(Proxy::reset);
            }
            AgentFault::Clones => {
                let clones = vec![start(CLONES, &here)?, start(CLONES, &there)?];
                into.tasks.spawn(keep(clones, None));
            }
            AgentFault::Crowd => {
                let begin = |index| start(NEWCOMERS + index, &here);
                let newcomers = (0..NEWCOMERS_COUNT).map(begin).collect::<Result<Vec<_>, _>>()?;
                into.tasks.spawn(keep(newcomers, None));
            }
            AgentFault::HalfOpen => self.half_open(into, number).await?,
            AgentFault::Flood => {
                into.tasks.spawn(flood(here));
            }
            AgentFault::CrashLoop => {
                into.tasks.spawn(crash(here));
            }
            AgentFault::Garbage => {
                into.tasks.spawn(babble(here));
            }
        }
        Ok(())
    }

    /// Agents behind a network that vanishes once they are there.
    async fn half_open(&self, into: &mut Injected, gateway: usize) -> anyhow::Result<()> {
        let door = &self.rig.cluster.gateways[gateway].opamp;
        let authority = door.as_deref().and_then(|url| url.split('/').nth(2)).context("a door")?;
        let proxy = Proxy::start(authority.parse()?).await?;
        let url = format!("ws://{}/v1/opamp", proxy.address());
        let begin = |index| start(HALF_OPEN + index, &url);
        let agents = (0..HALF_OPEN_COUNT).map(begin).collect::<Result<Vec<_>, _>>()?;
        for agent in &agents {
            agent.until(PATIENCE, |agent| agent.ledger.received > 0).await;
        }
        for direction in Direction::BOTH {
            proxy.set(direction, Toxics { blackhole: true, ..Toxics::default() });
        }
        drop(agents);
        into.tasks.spawn(keep(Vec::new(), Some(proxy)));
        Ok(())
    }
}

fn start(number: usize, url: &str) -> Result<Handle, agent::Error> {
    agent::start(swarm::settings(number), url)
}

/// Keeps them until the fault is over.
async fn keep(_agents: Vec<Handle>, _proxy: Option<Proxy>) {
    std::future::pending::<()>().await;
}

/// Says something new without pause, and hears nothing.
async fn flood(url: String) {
    let Ok(endpoint) = Endpoint::parse(&url) else { return };
    let mut mind = agent::Agent::new(swarm::settings(FLOODING));
    let mut said = 0_u64;
    loop {
        if let Ok(mut socket) = WebSocket::connect(&endpoint, &[]).await {
            mind.connected();
            while let Some(message) = mind.next_message(said) {
                if socket.send(&message).await.is_err() {
                    break;
                }
                said += 1;
                mind.set_health(true, &said.to_string(), "");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Connects, says who it is, and dies.
async fn crash(url: String) {
    let Ok(endpoint) = Endpoint::parse(&url) else { return };
    loop {
        let mut mind = agent::Agent::new(swarm::settings(CRASHING));
        if let Ok(mut socket) = WebSocket::connect(&endpoint, &[]).await {
            mind.connected();
            if let Some(message) = mind.next_message(0) {
                let _ = socket.send(&message).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends what is no HTTP, no WebSocket, and no OpAMP.
async fn babble(url: String) {
    let Ok(endpoint) = Endpoint::parse(&url) else { return };
    loop {
        if let Ok(mut stream) = TcpStream::connect(&endpoint.authority).await {
            let _ = stream.write_all(&[0xff; 4096]).await;
        }
        if let Ok(mut socket) = WebSocket::connect(&endpoint, &[]).await {
            let _ = socket.send_raw(&[0xff; 64]).await;
        }
        if let Ok(mut socket) = WebSocket::connect(&endpoint, &[]).await {
            let _ = socket.send_binary(&[0xff; 64]).await;
            let _ = socket.receive(PATIENCE).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
