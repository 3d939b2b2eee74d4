//! Custom messages over everything that may die between an agent and who listens.

use std::collections::BTreeMap;
use std::time::Instant;

use agent::core::{ECHO, PING, PONG};
use control::v1::command::{Action, CustomMessage, Reply};
use control::v1::commands_client::CommandsClient;
use control::v1::custom_messages_client::CustomMessagesClient;
use services::Size;
use tonic::{Code, Streaming};

use crate::*;

const CAPABILITY: &str = "org.example.counting";
/// Words of each agent.
const WORDS: usize = 60;

/// Somebody who listens, and goes on where a stream broke off.
#[derive(Default)]
struct Listener {
    position: String,
    /// Words of each agent, without those that came twice in a row: who is not answered says the
    /// same again.
    heard: BTreeMap<String, Vec<usize>>,
    /// Versions of the records that took them.
    versions: BTreeMap<String, u64>,
}

impl Listener {
    async fn open(&self, cluster: &Cluster) -> Streaming<WatchCustomMessagesResponse> {
        let request = WatchCustomMessagesRequest {
            capability: CAPABILITY.to_owned(),
            position: self.position.clone(),
            ..Default::default()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = CustomMessagesClient::new(cluster.channel.clone());
            match client.watch_custom_messages(request.clone()).await {
                Ok(stream) => return stream.into_inner(),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    assert!(Instant::now() < deadline, "{status}");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, message: WatchCustomMessagesResponse) {
        self.position = message.position;
        let Some(said) = message.message else { return };
        let before = self.versions.insert(said.agent.clone(), said.version);
        assert!(before < Some(said.version), "{} after {before:?}", said.version);
        let word = std::str::from_utf8(&said.data).unwrap().parse().unwrap();
        let heard = self.heard.entry(said.agent).or_default();
        if heard.last() != Some(&word) {
            heard.push(word);
        }
    }

    fn number(&self) -> usize {
        self.heard.values().map(Vec::len).sum()
    }

    /// Listens until it has heard so many words, on another stream where one ends.
    async fn hear(&mut self, cluster: &Cluster, number: usize) {
        let mut stream = self.open(cluster).await;
        while self.number() < number {
            let next = tokio::time::timeout(PATIENCE, stream.message()).await;
            let next = next.unwrap_or_else(|_| panic!("{} of {number}", self.number()));
            match next {
                Ok(Some(message)) => self.take(message),
                Ok(None) | Err(_) => stream = self.open(cluster).await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_word_is_heard_in_order_whoever_dies_on_its_way() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let mut agents = cluster.agents(&[0, 1]).await;
    for (number, agent) in (0..).zip(&mut agents) {
        if number % 4 == 0 {
            let url = cluster.url(number % 2).replacen("ws", "http", 1);
            agent.redirect(&url).await.unwrap();
        }
    }
    let mut listener = Listener::default();
    let mut stream = listener.open(&cluster).await;
    listener.take(stream.message().await.unwrap().unwrap());
    drop(stream);
    agents.iter().for_each(count);
    let all = AGENTS * WORDS;
    listener.hear(&cluster, all / 8).await;
    cluster.real.workers[0].kill().unwrap();
    listener.hear(&cluster, all / 4).await;
    cluster.real.controls[0].restart().unwrap();
    listener.hear(&cluster, all / 3).await;
    cluster.real.workers[0].restart().unwrap();
    cluster.real.gateways[1].restart().unwrap();
    let rest = listener.hear(&cluster, all);
    tokio::time::timeout(PATIENCE * 4, rest).await.expect("all of it in time");
    let expected: Vec<usize> = (0..WORDS).collect();
    assert_eq!(listener.heard.len(), AGENTS);
    for (agent, heard) in listener.heard {
        assert_eq!(heard, expected, "{agent}");
    }
}

fn count(agent: &Handle) {
    agent.change(|agent| {
        for word in 0..WORDS {
            agent.say(CAPABILITY, "word", word.to_string().into_bytes());
        }
    });
}

/// Sends pings in turn through one control and reads their answers at the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_in_order_by_either_way_and_seen_at_either_control() {
    let size = Size { controls: 2, ..Size::default() };
    let Some(cluster) = Cluster::of(size).await else { return };
    let mut agents = cluster.swarm(8, &[0, 1], Duration::from_millis(200)).await;
    for (number, agent) in (0..).zip(&mut agents) {
        if number % 2 == 1 {
            let url = cluster.url(number % 2).replacen("ws", "http", 1);
            agent.redirect(&url).await.unwrap();
        }
    }
    let capable = ListAgentsRequest {
        custom_capability: ECHO.to_owned(),
        status: ConnectionStatus::Connected.into(),
        ..Default::default()
    };
    let transports = async || {
        let mut client = AgentsClient::new(cluster.channel.clone());
        let found = client.list_agents(capable.clone()).await.unwrap().into_inner().agents;
        found.iter().filter(|agent| agent.transport == "http").count()
    };
    until("half of them poll", async || transports().await == 4).await;
    let other = cluster.real.controls[1].control.clone().unwrap();
    let other = Channel::from_shared(other).unwrap().connect().await.unwrap();

    let mut given = Vec::new();
    for id in 0..10 {
        for agent in &agents {
            let uid = agent.see(agent::Agent::uid);
            given.push((id, ping(&cluster.channel, &uid.to_string(), id).await));
        }
    }
    for (id, name) in given {
        let target = confirmed(&other, &name).await;
        let reply = target.reply.unwrap_or_default();
        assert_eq!(reply.data, data(id), "the answer to {name}");
    }
    let expected: Vec<Vec<u8>> = (0..10).map(data).collect();
    for agent in &agents {
        let told =
            agent.see(|agent| agent.ledger.told(PING).map(<[u8]>::to_vec).collect::<Vec<_>>());
        assert_eq!(told, expected, "in order, and once");
    }
}

fn data(id: u32) -> Vec<u8> {
    format!(r#"{{"id": {id}}}"#).into_bytes()
}

async fn ping(channel: &Channel, uid: &str, id: u32) -> String {
    let action = Action::CustomMessage(CustomMessage {
        capability: ECHO.to_owned(),
        r#type: PING.to_owned(),
        data: data(id),
        reply: Some(Reply { r#type: PONG.to_owned(), key: "id".to_owned() }),
    });
    let command = Some(Command { action: Some(action), queue: true, ..Default::default() });
    let agents = vec![format!("agents/{uid}")];
    let request = CreateCommandRequest { command, agents, ..Default::default() };
    let given = CommandsClient::new(channel.clone()).create_command(request).await.unwrap();
    given.into_inner().command.unwrap().name
}

async fn confirmed(channel: &Channel, name: &str) -> CommandTarget {
    let mut target = CommandTarget::default();
    until("it is answered", async || {
        let request = GetCommandRequest { name: name.to_owned() };
        let got = CommandsClient::new(channel.clone()).get_command(request).await.unwrap();
        target = got.into_inner().target.unwrap();
        target.state() == CommandState::Confirmed
    })
    .await;
    target
}
