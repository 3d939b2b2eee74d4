//! Commands over real processes: in a cluster and in one process, to agents that hold a WebSocket
//! and to agents that poll, while gateways and controls are killed.

use std::time::{Duration, Instant};

use agent::swarm::Swarm;
use control::v1::command::{Action, Disconnect, Refresh, Reidentify, Restart};
use control::v1::commands_client::CommandsClient;
use control::v1::*;
use services::{Muster, Size};
use tonic::transport::Channel;

use crate::{Cluster, Handle, PATIENCE, connected, list, until};

fn for_agents(action: Action, agents: &[Handle]) -> CreateCommandRequest {
    let name = |agent: &Handle| format!("agents/{}", agent.see(agent::Agent::uid));
    CreateCommandRequest {
        command: Some(Command { action: Some(action), ..Default::default() }),
        agents: agents.iter().map(name).collect(),
        ..Default::default()
    }
}

fn restart() -> Action {
    Action::Restart(Restart {})
}

async fn give(channel: &Channel, request: CreateCommandRequest) -> Command {
    let given = CommandsClient::new(channel.clone()).create_command(request).await;
    given.unwrap().into_inner().command.unwrap()
}

/// Follows a command until it is settled, and returns its targets as they ended.
async fn settled(channel: &Channel, name: &str) -> Vec<CommandTarget> {
    let request = WatchCommandRequest { name: name.to_owned() };
    let watch = CommandsClient::new(channel.clone()).watch_command(request).await;
    let mut watch = watch.unwrap().into_inner();
    let mut targets = std::collections::BTreeMap::new();
    let following = async {
        while let Some(update) = watch.message().await.unwrap() {
            for target in update.changed {
                targets.insert(target.agent.clone(), target);
            }
        }
    };
    tokio::time::timeout(PATIENCE, following).await.expect("an end in time");
    targets.into_values().collect()
}

/// Gives a command and waits until it had its effect at every agent.
async fn done(channel: &Channel, request: CreateCommandRequest) -> Vec<CommandTarget> {
    let given = give(channel, request).await;
    let targets = settled(channel, &given.name).await;
    for target in &targets {
        assert_eq!(target.state(), CommandState::Confirmed, "{target:?}");
    }
    targets
}

fn restarts(agent: &Handle) -> u64 {
    agent.see(|agent| agent.ledger.restarts)
}

fn swarm(url: &str, agents: usize) -> Vec<Handle> {
    let swarm = Swarm {
        components: false,
        agents,
        first: 0,
        urls: vec![url.to_owned()],
        heartbeat: Duration::from_millis(300),
        connects_per_second: 0,
        custom_capabilities: Vec::new(),
        keeps_entries: false,
        trust: Default::default(),
    };
    swarm.start().unwrap()
}

/// Every action, each seen to have its effect, once.
async fn every_action(channel: &Channel, agents: &[Handle]) {
    done(channel, for_agents(restart(), &agents[..1])).await;
    assert_eq!(restarts(&agents[0]), 1);
    let asked = agents[1].see(|agent| agent.ledger.full_state_requests);
    done(channel, for_agents(Action::Refresh(Refresh {}), &agents[1..2])).await;
    assert_eq!(agents[1].see(|agent| agent.ledger.full_state_requests), asked + 1);
    let connections = agents[2].see(|agent| agent.ledger.connections);
    done(channel, for_agents(Action::Disconnect(Disconnect {}), &agents[2..3])).await;
    let again = |agent: &agent::Agent| agent.ledger.connections > connections;
    assert!(agents[2].until(PATIENCE, again).await);
    let before = agents[3].see(agent::Agent::uid);
    let request = for_agents(Action::Reidentify(Reidentify::default()), &agents[3..4]);
    let given = give(channel, request).await;
    let Some(Action::Reidentify(Reidentify { instance_uid })) = given.action else { panic!() };
    let targets = settled(channel, &given.name).await;
    assert_eq!(targets[0].state(), CommandState::Confirmed, "{targets:?}");
    let now = agents[3].see(agent::Agent::uid);
    assert_eq!((now.to_string(), now != before), (instance_uid, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_has_its_effect_in_one_process() {
    let data = tempfile::tempdir().unwrap();
    let muster = Muster::serve(&["--data-dir", data.path().to_str().unwrap()]).unwrap();
    let url = muster.control.clone().unwrap();
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    let agents = swarm(muster.opamp.as_ref().unwrap(), 4);
    until("all are there", async || connected(&list(&channel).await) == 4).await;
    every_action(&channel, &agents).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_has_its_effect_in_a_cluster() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.swarm(8, &[0, 1], Duration::from_millis(300)).await;
    until("all are there", async || connected(&cluster.list().await) == 8).await;
    every_action(&cluster.channel, &agents).await;
    let labels = LabelAgentsRequest {
        selector: "*".to_owned(),
        set: [("ring".to_owned(), "1".to_owned())].into(),
        ..Default::default()
    };
    let mut client = agents_client::AgentsClient::new(cluster.channel.clone());
    client.label_agents(labels).await.unwrap();
    let request = for_agents(restart(), &agents);
    until("all are back", async || connected(&cluster.list().await) >= 8).await;
    let before: Vec<u64> = agents.iter().map(restarts).collect();
    done(&cluster.channel, request).await;
    for (agent, before) in agents.iter().zip(before) {
        assert_eq!(restarts(agent), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_polls_restarts_once_however_often_it_polls() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = swarm(&cluster.url(0).replacen("ws", "http", 1), 1);
    let channel = &cluster.channel;
    until("it is there", async || connected(&cluster.list().await) == 1).await;
    let refused =
        CommandsClient::new(channel.clone()).create_command(for_agents(restart(), &agents)).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::FailedPrecondition);
    let mut request = for_agents(restart(), &agents);
    request.command.as_mut().unwrap().queue = true;
    done(channel, request).await;
    let sent = agents[0].see(|agent| agent.ledger.sent);
    assert!(agents[0].until(PATIENCE, |agent| agent.ledger.sent > sent + 3).await);
    assert_eq!(restarts(&agents[0]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_away_is_told_when_it_is_back_by_whichever_way() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut agents = cluster.swarm(1, &[0], Duration::from_millis(300)).await;
    until("it is there", async || connected(&cluster.list().await) == 1).await;
    let agent = agents.remove(0);
    let mut request = for_agents(restart(), std::slice::from_ref(&agent));
    request.command.as_mut().unwrap().queue = true;
    agent.stop().await;
    until("it is away", async || connected(&cluster.list().await) == 0).await;
    let given = give(&cluster.channel, request).await;
    assert_eq!(given.target.unwrap().state(), CommandState::Queued);
    let agents = swarm(&cluster.url(1).replacen("ws", "http", 1), 1);
    let targets = settled(&cluster.channel, &given.name).await;
    assert_eq!(targets[0].state(), CommandState::Confirmed, "{targets:?}");
    assert_eq!(restarts(&agents[0]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_at_that_moment_doubles_nothing_and_loses_nothing() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agents = cluster.swarm(12, &[0], Duration::from_millis(300)).await;
    until("all are there", async || connected(&cluster.list().await) == 12).await;
    let other = cluster.url(1);
    for agent in &agents {
        agent.fall_back_to(std::slice::from_ref(&other)).unwrap();
    }
    let channel = cluster.channel.clone();
    let giving = give(&channel, for_agents(restart(), &agents));
    let killed = async {
        tokio::task::yield_now().await;
        cluster.real.gateways[0].kill().unwrap();
    };
    let (given, ()) = tokio::join!(giving, killed);
    let targets = decided(&cluster.channel, &given.name).await;
    for target in &targets {
        let named =
            |agent: &&Handle| target.agent == format!("agents/{}", agent.see(agent::Agent::uid));
        let told = restarts(agents.iter().find(named).unwrap());
        assert!(told <= 1, "doubled");
        match target.state() {
            CommandState::Confirmed => assert_eq!(told, 1, "{target:?}"),
            CommandState::Unknown => {
                assert!(target.reason.contains("gateway"), "{target:?}");
            }
            CommandState::Expired | CommandState::Refused => assert_eq!(told, 0, "{target:?}"),
            _ => panic!("{target:?}"),
        }
    }
}

/// Waits until no target waits or is on its way, and returns them in the order of their uids.
async fn decided(channel: &Channel, name: &str) -> Vec<CommandTarget> {
    let open = [CommandState::Queued, CommandState::Routed, CommandState::Sent];
    let mut targets = Vec::new();
    let deadline = Instant::now() + PATIENCE * 2;
    while Instant::now() < deadline {
        let request = ListCommandTargetsRequest { parent: name.to_owned(), ..Default::default() };
        let page = CommandsClient::new(channel.clone()).list_command_targets(request).await;
        targets = page.unwrap().into_inner().targets;
        let waits = |target: &CommandTarget| {
            open.contains(&target.state()) || target.state() == CommandState::Delivered
        };
        if !targets.iter().any(waits) {
            return targets;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    targets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_that_is_killed_leaves_one_command_that_another_one_finishes() {
    let size = Size { controls: 2, ..Size::default() };
    let Some(mut cluster) = Cluster::of(size).await else { return };
    let agents = cluster.swarm(1, &[0], Duration::from_millis(300)).await;
    let url = cluster.real.controls[1].control.clone().unwrap();
    let other = Channel::from_shared(url).unwrap().connect().await.unwrap();
    until("both see it", async || {
        connected(&cluster.list().await) == 1 && connected(&list(&other).await) == 1
    })
    .await;
    let mut request = for_agents(restart(), &agents);
    request.request_id = "once".to_owned();
    let channel = cluster.channel.clone();
    let first = request.clone();
    let mut client = CommandsClient::new(channel);
    let giving = client.create_command(first);
    let killing = async { cluster.real.controls[0].kill().unwrap() };
    // Whether it was answered or not, it is the same command.
    drop(tokio::join!(giving, killing));
    let given = give(&other, request).await;
    let targets = decided(&other, &given.name).await;
    let target = &targets[0];
    match target.state() {
        CommandState::Confirmed => {}
        CommandState::Unknown => assert!(target.reason.contains("control"), "{target:?}"),
        _ => panic!("{target:?}"),
    }
    assert!(restarts(&agents[0]) <= 1, "told twice");
    let all = ListCommandsRequest::default();
    let all = CommandsClient::new(other).list_commands(all).await.unwrap().into_inner();
    assert_eq!(all.total_size, 1);
}
