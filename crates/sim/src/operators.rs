//! The operators: they change configs and assignments through control's own services, one order
//! after the other, and note what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::v1::agents_server::Agents;
use control::v1::assignments_server::Assignments;
use control::v1::commands_server::Commands;
use control::v1::configs_server::Configs;
use control::v1::{
    Agent, ApplyConfigRequest, Assignment, CancelCommandRequest, DeleteAssignmentRequest,
    HoldOffersRequest, LabelAgentsRequest, ListAgentsRequest, ResumeOffersRequest,
    SetAssignmentRequest,
};
use opamp::v1::AgentConfigFile;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::history::{Order, Wish};
use crate::world::World;

mod commands;

pub(crate) use commands::{Commander, id as command_id};

/// A call of a control's services.
pub(crate) enum Call {
    /// Answered with how long it took, from when somebody was there to take it.
    Order(Wish, oneshot::Sender<(Result<(), Status>, Duration)>),
    List(oneshot::Sender<Result<Vec<Agent>, Status>>),
}

/// How long an operator waits for an answer: longer than control may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names of configs.
const CONFIGS: [&str; 2] = ["blue", "green"];

/// Answers calls for one control. Each is a task, as with gRPC.
pub(crate) async fn answer<A>(api: A, mut calls: mpsc::Receiver<Call>, world: Arc<World>)
where
    A: Agents + Assignments + Commands + Configs + Clone + Send + Sync + 'static,
{
    while let Some(call) = calls.recv().await {
        let api = api.clone();
        world.tasks.spawn(async move {
            // Who asked may have given up.
            match call {
                Call::Order(wish, answer) => {
                    let since = Instant::now();
                    let done = obey(&api, wish).await;
                    drop(answer.send((done, since.elapsed())));
                }
                Call::List(answer) => {
                    let list = api.list_agents(Request::new(ListAgentsRequest::default())).await;
                    drop(answer.send(list.map(|list| list.into_inner().agents)));
                }
            }
        });
    }
}

async fn obey<A>(api: &A, wish: Wish) -> Result<(), Status>
where
    A: Agents + Assignments + Commands + Configs,
{
    match wish {
        Wish::Config { name, text } => {
            let file = AgentConfigFile { body: text.into(), ..Default::default() };
            let files = BTreeMap::from([(String::new(), file)]);
            let name = format!("configs/{name}");
            let request = ApplyConfigRequest { name, files, ..Default::default() };
            api.apply_config(Request::new(request)).await.map(drop)
        }
        Wish::Assign { name, selector, priority, config } => {
            let assignment = Assignment {
                name: format!("assignments/{name}"),
                selector,
                priority,
                config_revision: format!("configs/{config}"),
                ..Default::default()
            };
            let assignment = Some(assignment);
            let request = SetAssignmentRequest { assignment, ..Default::default() };
            api.set_assignment(Request::new(request)).await.map(drop)
        }
        Wish::Unassign { name } => {
            let request = DeleteAssignmentRequest { name: format!("assignments/{name}") };
            api.delete_assignment(Request::new(request)).await.map(drop)
        }
        Wish::Hold => {
            let request = HoldOffersRequest { reason: "to be sure".to_owned() };
            api.hold_offers(Request::new(request)).await.map(drop)
        }
        Wish::Resume => api.resume_offers(Request::new(ResumeOffersRequest {})).await.map(drop),
        Wish::Label { agent, value } => {
            let set = BTreeMap::from([("ring".to_owned(), value)]);
            let name = format!("agents/{agent}");
            let request = LabelAgentsRequest { name, set, ..Default::default() };
            api.label_agents(Request::new(request)).await.map(drop)
        }
        Wish::Tell(tell) => {
            api.create_command(Request::new(commands::request(&tell))).await.map(drop)
        }
        Wish::Recall { number } => {
            let request = CancelCommandRequest { name: commands::name(number) };
            api.cancel_command(Request::new(request)).await.map(drop)
        }
    }
}

/// One operator at work.
pub(crate) struct Operator {
    pub(crate) world: Arc<World>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) dice: Dice,
    pub(crate) calm: CancellationToken,
}

impl Operator {
    /// Another one in the same world.
    pub(crate) fn namesake(&self, name: &str) -> Self {
        let (world, cluster, calm) = (self.world.clone(), self.cluster.clone(), self.calm.clone());
        Self { dice: world.dice(name), world, cluster, calm }
    }

    /// Gives orders until there is calm, and then sees to it that offers are not held.
    pub(crate) async fn work(self) {
        let mut edition = 0;
        while !self.calm.is_cancelled() {
            let wait = Duration::from_millis(self.dice.between(300, 6_000));
            if self.calm.run_until_cancelled(sleep(wait)).await.is_none() {
                break;
            }
            let wish = self.wish(&mut edition);
            self.order(wish).await;
        }
        while self.order(Wish::Resume).await != Some(true) {
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn wish(&self, edition: &mut u64) -> Wish {
        let config = (*self.dice.pick(&CONFIGS).unwrap_or(&CONFIGS[0])).to_owned();
        let assign = |name: &str, selector: &str, priority| Wish::Assign {
            name: name.to_owned(),
            selector: selector.to_owned(),
            priority,
            config: config.clone(),
        };
        match self.dice.below(if *edition < 2 { 4 } else { 14 }) {
            0..=4 => {
                *edition += 1;
                Wish::Config { name: config, text: format!("edition: {}\n", self.dice.below(6)) }
            }
            5..=7 => assign("everybody", "", 1),
            8 | 9 => assign("production", "env=prod", 2),
            10 => assign("ring", "ring=canary", 3),
            11 => Wish::Unassign { name: "production".to_owned() },
            12 => match self.dice.chance(500) {
                true => Wish::Hold,
                false => Wish::Resume,
            },
            _ => {
                let agents = self.cluster.uids();
                let agent = self.dice.pick(&agents).map(ToString::to_string);
                let value = if self.dice.chance(600) { "canary" } else { "wide" };
                Wish::Label { agent: agent.unwrap_or_default(), value: value.to_owned() }
            }
        }
    }

    /// Gives an order to any control; whether it was done, if that is known.
    async fn order(&self, wish: Wish) -> Option<bool> {
        let Some(control) = self.cluster.any_control(&self.dice) else {
            sleep(Duration::from_millis(500)).await;
            return Some(false);
        };
        let (answer, answered) = oneshot::channel();
        // One that is gone does not answer.
        let _ = control.try_send(Call::Order(wish.clone(), answer));
        let answered = timeout(PATIENCE, answered).await.ok().and_then(Result::ok);
        let took = answered.as_ref().map_or(PATIENCE, |(_, took)| *took);
        let done = match answered {
            Some((Ok(()), _)) => Some(true),
            Some((Err(status), _)) => match status.code() {
                Code::InvalidArgument
                | Code::NotFound
                | Code::FailedPrecondition
                | Code::AlreadyExists => Some(false),
                _ => None,
            },
            None => None,
        };
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let at = self.world.now_ms();
        self.world.note(format_args!("order {wish:?} {done:?}"));
        self.world.history().orders.push(Order { at, took_ms, wish, done });
        done
    }
}
