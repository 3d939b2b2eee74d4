//! How scenarios are done to a cluster, and undone.

mod agents;
mod redis;
mod signals;
mod wire;

use std::time::{Duration, Instant};

use anyhow::ensure;
use services::{Edge, Signal};
use tokio::task::JoinSet;

use crate::campaign::Campaign;
use crate::check::Touched;
use crate::draw::Draw;
use crate::limits::{END, LOOK};
use crate::scenario::{Act, NatsFault, RedisFault, Role, Scenario, Which, draw};

/// What was done, and has to be undone.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    pub(crate) touched: Touched,
    /// To whom, in words.
    pub(crate) told: Vec<String>,
    heals: Vec<Heal>,
    /// What goes on while the fault lasts; it ends with it.
    pub(crate) tasks: JoinSet<()>,
}

#[derive(Debug)]
enum Heal {
    Relaunch(Role, usize),
    Continue(Role, usize),
    /// Waits until it has ended, then starts it again.
    Ended(Role, usize),
    Edge(Edge),
    /// The number of the door, and whether what was said there has to be said again.
    Door(usize, bool),
    Redis(Which, RedisFault),
}

impl Campaign {
    /// Does what a scenario says, for so long.
    pub(crate) async fn inject(
        &mut self,
        scenario: &Scenario,
        lots: &mut Draw,
        hold: Duration,
    ) -> anyhow::Result<Injected> {
        let mut injected = Injected::default();
        if scenario.act != Act::Pair {
            self.inject_into(&mut injected, scenario, lots, hold).await?;
            return Ok(injected);
        }
        let others: Vec<Scenario> =
            self.drawn_from.iter().filter(|one| one.act != Act::Pair).cloned().collect();
        for _ in 0..2 {
            let one = draw(&others, lots);
            injected.told.push(one.id.clone());
            self.inject_into(&mut injected, one, lots, hold).await?;
        }
        Ok(injected)
    }

    async fn inject_into(
        &mut self,
        into: &mut Injected,
        scenario: &Scenario,
        lots: &mut Draw,
        hold: Duration,
    ) -> anyhow::Result<()> {
        match scenario.act {
            Act::Signal(fault) => self.send_signals(into, fault, lots),
            Act::Wire(edges, toxic) => {
                self.poison(into, edges, toxic, lots);
                Ok(())
            }
            Act::Redis(which, fault) => self.trouble_redis(into, which, fault, hold),
            Act::Nats(NatsFault::LameDuck) => {
                let number = lots.below(self.rig.count(Role::Nats));
                into.told.push(format!("nats-{number}"));
                into.heals.push(Heal::Relaunch(Role::Nats, number));
                self.rig.signal(Role::Nats, number, Signal::LameDuck)
            }
            Act::Nats(NatsFault::Partition) => {
                self.cut_off(into, lots);
                Ok(())
            }
            Act::Agents(fault) => self.send_agents(into, fault, lots).await,
            Act::Pair => Ok(()),
        }
    }

    /// Undoes it.
    pub(crate) async fn heal(&mut self, mut injected: Injected) -> anyhow::Result<Touched> {
        injected.tasks.abort_all();
        for heal in injected.heals.drain(..) {
            match heal {
                Heal::Relaunch(role, number) => self.relaunch(role, number)?,
                Heal::Continue(role, number) => {
                    // Another fault of a pair may have ended it: its number is somebody else's.
                    if self.rig.is_running(role, number) {
                        self.rig.signal(role, number, Signal::Continue)?;
                    }
                }
                Heal::Ended(role, number) => {
                    let asked = Instant::now();
                    while self.rig.is_running(role, number) {
                        ensure!(asked.elapsed() < END, "{role:?} {number} does not end");
                        tokio::time::sleep(LOOK / 5).await;
                    }
                    self.relaunch(role, number)?;
                }
                Heal::Edge(edge) => self.rig.edges[&edge].heal(),
                Heal::Door(number, again) => {
                    self.rig.doors[number].heal();
                    if again {
                        self.say_again(number);
                    }
                }
                Heal::Redis(which, fault) => self.mend_redis(which, fault).await?,
            }
        }
        Ok(std::mem::take(&mut injected.touched))
    }

    fn relaunch(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        self.started.insert((role, number));
        self.rig.relaunch(role, number)
    }
}
