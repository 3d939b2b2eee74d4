//! A gateway that is cut off from the bus while its agents move to another one, and comes back
//! with all it believed to hold: nothing of it may count any more.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use control::v1::{Agent, ConfigStatus, ConnectionStatus};
use proxy::{Direction, Proxy, Toxics};
use services::{Edge, Service, Size};

use crate::api::Api;
use crate::crowd::{Crowd, GROUP, Member, number};
use crate::limits::{LOOK, MOVED, SETTLED_LOOKS};
use crate::rig::Rig;

/// What the rounds came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moves {
    /// Rounds to the end.
    pub rounds: usize,
    /// Agents that moved in each.
    pub agents: usize,
    /// Looks at an agent that showed an older owner, or an older word of it, than one before.
    pub stale: u64,
    /// Offers and applied configs beyond one for each agent and decision.
    pub doubled: u64,
    /// The longest until the loser had closed all of its copies, once it heard the bus again.
    pub slowest_close: Duration,
}

struct Partition {
    crowd: Crowd,
    rig: Rig,
    api: Api,
    /// Owner's epoch and newest word of each agent, as last seen.
    seen: Vec<(u64, u64)>,
    moves: Moves,
}

/// Moves so many agents so many times.
pub async fn partition(
    rounds: usize,
    agents: usize,
    mut say: impl FnMut(String),
) -> anyhow::Result<Moves> {
    let size = Size { gateways: 2, workers: 2, controls: 1, nats: 1 };
    let rig = Rig::start(size).await?;
    let crowd = Crowd::start(&rig, agents, 0, Duration::from_secs(1), true).await?;
    let api = Api::all(&rig)?.pop().context("a control")?;
    let moves = Moves { agents, ..Moves::default() };
    let mut partition = Partition { crowd, rig, api, seen: vec![(0, 0); agents], moves };
    for round in 0..rounds {
        partition.round(round).await.with_context(|| format!("round {round}"))?;
        partition.moves.rounds += 1;
        say(format!("round {round}: {:?}", partition.moves));
    }
    Ok(partition.moves)
}

impl Partition {
    async fn round(&mut self, round: usize) -> anyhow::Result<()> {
        let (from, to) = (round % 2, (round + 1) % 2);
        self.send_all(from).await?;
        let first = self.decide(round * 2).await?;
        self.until("all run the first decision", |agent| runs(agent, &first), from).await?;

        self.cut_off(from, true);
        self.send_all(to).await?;
        self.crowd.members.iter().for_each(Member::change);
        // Whoever reports just when it is decided may be told in the reply and beside it.
        let word = self.crowd.members[0].said();
        self.until("all have said something new", |agent| says(agent) == word, to).await?;
        let before = self.counts();
        let second = self.decide(round * 2 + 1).await?;
        self.until("all run the second decision", |agent| runs(agent, &second), to).await?;

        // The loser hears the bus again, and believes that it holds everybody.
        let held = self.held(from)?;
        ensure!(
            held >= self.moves.agents as f64,
            "the loser holds {held} copies before it hears of it"
        );
        self.cut_off(from, false);
        let healed = Instant::now();
        self.until("the loser has closed its copies", |agent| runs(agent, &second), to).await?;
        while self.held(from)? > 0.0 {
            self.look(to).await?;
            if healed.elapsed() > MOVED {
                bail!("the loser still holds copies after {MOVED:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        self.moves.slowest_close = self.moves.slowest_close.max(healed.elapsed());
        // Its agents' network comes back too: what it sent them, and what they sent it.
        self.rig.doors[from].heal();
        for _ in 0..SETTLED_LOOKS {
            self.look(to).await?;
            tokio::time::sleep(LOOK).await;
        }
        self.until("all are still there", |agent| runs(agent, &second), to).await?;
        let (offers, repeated) = self.counts();
        let agents = self.moves.agents as u64;
        self.moves.doubled += (offers - before.0).abs_diff(agents) + (repeated - before.1);
        Ok(())
    }

    /// Connections that a gateway believes to hold.
    fn held(&self, gateway: usize) -> anyhow::Result<f64> {
        Ok(self.rig.cluster.gateways[gateway].metrics()?.sum("muster_gateway_connections"))
    }

    /// Offers, and how many of them were of what the agent had already.
    fn counts(&self) -> (u64, u64) {
        let counts = self.crowd.members.iter().map(|member| {
            member.handle.see(|agent| (agent.ledger.offers, agent.ledger.repeated_offers))
        });
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Cuts a gateway off from the bus and from its agents; or lets it hear the bus again.
    fn cut_off(&self, gateway: usize, cut: bool) {
        let edge = Edge { from: format!("gateway-{gateway}"), to: Service::Nats(0) };
        let bus = &self.rig.edges[&edge];
        match cut {
            true => [bus, &self.rig.doors[gateway]].into_iter().for_each(swallow),
            false => bus.heal(),
        }
    }

    /// Everybody goes to a gateway and is answered there.
    async fn send_all(&self, gateway: usize) -> anyhow::Result<()> {
        let url = self.rig.door(gateway);
        let heard = |member: &Member| member.handle.see(|agent| agent.ledger.received);
        let before: Vec<u64> = self.crowd.members.iter().map(heard).collect();
        for member in self.crowd.members.iter() {
            member.handle.redirect(&url).await?;
        }
        for (member, heard) in self.crowd.members.iter().zip(before) {
            if !member.handle.until(MOVED, |agent| agent.ledger.received > heard + 1).await {
                bail!("{} gets no answer at gateway {gateway}", member.name);
            }
        }
        Ok(())
    }

    async fn decide(&self, serial: usize) -> anyhow::Result<Vec<u8>> {
        let revision = self.api.apply("all", &format!("decision: {serial}\n")).await.outcome?;
        let most = i32::try_from(self.moves.agents)?;
        self.api.assign("all", GROUP, &revision.name, most).await.outcome?;
        Ok(revision.hash)
    }

    /// Waits until something holds of every agent, at this gateway.
    async fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&Agent) -> bool,
        gateway: usize,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let fleet = self.look(gateway).await?;
            let right = |one: &Option<Agent>| one.as_ref().is_some_and(&holds);
            let left = fleet.iter().filter(|one| !right(one)).count();
            if left == 0 {
                return Ok(());
            }
            if start.elapsed() > MOVED {
                bail!("{left} agents wrong, waited {MOVED:?} in vain: {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every agent that is connected at this gateway; and nobody's owner or word goes back.
    async fn look(&mut self, gateway: usize) -> anyhow::Result<Vec<Option<Agent>>> {
        let gateways = self.api.gateways().await.outcome?.gateways;
        let here = |one: &Agent| {
            let found = gateways.iter().find(|found| found.gateway_id == one.gateway_id);
            found.and_then(|found| self.rig.gateway_at(&found.address)) == Some(gateway)
        };
        let fleet = self.api.fleet().await?;
        let mut all = Vec::new();
        for (member, seen) in self.crowd.members.iter().zip(&mut self.seen) {
            let agent = fleet.iter().find(|agent| agent.name == member.name);
            if let Some(agent) = agent {
                let word = says(agent);
                self.moves.stale += u64::from(agent.epoch < seen.0 || word < seen.1);
                *seen = (agent.epoch, word);
            }
            let is_there =
                |agent: &&Agent| agent.status() == ConnectionStatus::Connected && here(agent);
            all.push(agent.filter(is_there).cloned());
        }
        Ok(all)
    }
}

fn swallow(proxy: &Proxy) {
    for direction in Direction::BOTH {
        proxy.set(direction, Toxics { blackhole: true, ..Toxics::default() });
    }
}

fn says(agent: &Agent) -> u64 {
    agent.health.as_ref().map_or(0, |health| number(&health.status))
}

fn runs(agent: &Agent, hash: &[u8]) -> bool {
    let Some(config) = &agent.config else { return false };
    config.status() == ConfigStatus::Applied && config.reported_hash == hash
}
