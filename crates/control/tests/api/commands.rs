//! Commands: given, stored, carried out, and told of truthfully. The test plays the gateway.

mod life;
mod queue;
mod refused;
mod replies;

use bus::v1::commanded::Outcome;
use bus::v1::{Command as Wire, Commanded, GatewayReply, GatewayRequest};
use bus::v1::{gateway_reply, gateway_request};
use bus::{Inbox, Responder, Subject};
use control::v1::command::{Action, Restart};
use control::v1::commands_client::CommandsClient;
use control::v1::*;
use model::{AgentRecord, GatewayId};
use tonic::transport::Channel;

use crate::rig::{PATIENCE, Rig, connected, until};

/// A gateway by the bus, in the hands of the test.
pub(crate) struct Peer {
    inbox: Inbox<GatewayRequest>,
}

impl Peer {
    pub(crate) async fn new(rig: &Rig, name: &str) -> Self {
        let subject = Subject::Gateway(GatewayId::new(name));
        Self { inbox: rig.bus.subscribe(&subject, 64).await.unwrap() }
    }

    /// The next command that it is asked to send.
    pub(crate) async fn asked(&mut self) -> (Wire, Responder) {
        loop {
            let received = tokio::time::timeout(PATIENCE, self.inbox.next()).await;
            let (request, responder) = received.expect("a request in time").unwrap().split();
            if let Some(gateway_request::Request::Command(command)) = request.request {
                return (command, responder);
            }
        }
    }

    /// Answers the next command alike for all its targets.
    pub(crate) async fn answer(&mut self, outcome: Outcome) -> Wire {
        let (command, responder) = self.asked().await;
        respond(&command, responder, outcome).await;
        command
    }

    /// Whether nothing more is asked of it for a while: two looks of the driver.
    pub(crate) async fn is_left_alone(&mut self) -> bool {
        let while_ = control::Limits::default().command_turn * 2;
        tokio::time::timeout(while_, self.asked()).await.is_err()
    }
}

pub(crate) async fn respond(command: &Wire, responder: Responder, outcome: Outcome) {
    let outcomes = vec![outcome.into(); command.targets.len()];
    let reply = Some(gateway_reply::Reply::Commanded(Commanded { outcomes }));
    responder.send(&GatewayReply { reply }).await;
}

pub(crate) fn client(rig: &Rig) -> CommandsClient<Channel> {
    CommandsClient::new(rig.channel.clone())
}

/// A connected agent that can be restarted.
pub(crate) fn restartable(byte: u8, env: &str) -> AgentRecord {
    let mut record = connected(byte, env);
    record.capabilities |= 0x400;
    record
}

pub(crate) fn uid(byte: u8) -> String {
    opamp::InstanceUid::from_bytes([byte; 16]).to_string()
}

pub(crate) fn restart(agents: &[u8]) -> CreateCommandRequest {
    CreateCommandRequest {
        command: Some(Command { action: Some(Action::Restart(Restart {})), ..Default::default() }),
        agents: agents.iter().map(|byte| format!("agents/{}", uid(*byte))).collect(),
        ..Default::default()
    }
}

pub(crate) fn restart_selected(selector: &str) -> CreateCommandRequest {
    CreateCommandRequest { selector: selector.to_owned(), ..restart(&[]) }
}

/// The same, waiting for agents that cannot be told now.
pub(crate) fn queued(mut request: CreateCommandRequest) -> CreateCommandRequest {
    request.command.as_mut().unwrap().queue = true;
    request
}

pub(crate) async fn give(rig: &Rig, request: CreateCommandRequest) -> Command {
    client(rig).create_command(request).await.unwrap().into_inner().command.unwrap()
}

pub(crate) async fn read(rig: &Rig, name: &str) -> Command {
    let request = GetCommandRequest { name: name.to_owned() };
    client(rig).get_command(request).await.unwrap().into_inner()
}

/// Waits until the only target of a command is in a state, and returns it.
pub(crate) async fn becomes(rig: &Rig, name: &str, state: CommandState) -> CommandTarget {
    let mut last = CommandTarget::default();
    let reached = async {
        loop {
            last = read(rig, name).await.target.unwrap();
            if last.state() == state {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "waited in vain for {state:?}: {last:?}");
    last
}

/// A rig over these records, with a gateway that holds them.
pub(crate) async fn rig(records: &[AgentRecord]) -> (Rig, Peer) {
    let store = crate::rig::Watched::default();
    for record in records {
        crate::rig::put(&store, record).await;
    }
    let rig = Rig::with(store).await;
    let gateway = Peer::new(&rig, "gw").await;
    (rig, gateway)
}

pub(crate) async fn count(rig: &Rig) -> i64 {
    let all = client(rig).list_commands(ListCommandsRequest::default()).await.unwrap();
    all.into_inner().total_size
}

#[tokio::test]
async fn a_restart_is_durable_before_its_gateway_is_asked() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let given = give(&rig, restart(&[1])).await;
    let target = given.target.clone().unwrap();
    assert_eq!((target.state(), target.gateway_id.as_str()), (CommandState::Routed, "gw"));
    let (asked, responder) = gateway.asked().await;
    assert_eq!(asked.targets[0].instance_uid, vec![1; 16]);
    assert_eq!(asked.targets[0].epoch, 1);
    let stored = read(&rig, &given.name).await.target.unwrap();
    assert_eq!(stored.state(), CommandState::Routed, "in the ledger");
    respond(&asked, responder, Outcome::Delivered).await;
    let target = becomes(&rig, &given.name, CommandState::Delivered).await;
    assert!(!target.settled, "its effect is waited for");
    assert!(gateway.is_left_alone().await);
}

#[tokio::test]
async fn what_a_restart_says_is_the_restart_alone() {
    use prost::Message as _;
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    give(&rig, restart(&[1])).await;
    let asked = gateway.answer(Outcome::Delivered).await;
    let Some(bus::v1::command::Action::Message(bytes)) = asked.action else {
        panic!("a message: {asked:?}");
    };
    assert_eq!(&bytes[..], [0x4a, 0x00], "field 9, empty: its presence is the command");
    let message = opamp::v1::ServerToAgent::decode(&bytes[..]).unwrap();
    assert!(message.command.is_some());
}

#[tokio::test]
async fn one_request_to_a_gateway_for_all_its_agents() {
    let records: Vec<AgentRecord> = (1..=20).map(|byte| restartable(byte, "prod")).collect();
    let (rig, mut gateway) = rig(&records).await;
    let given = give(&rig, restart_selected("env=prod")).await;
    let before = rig.raw_traffic();
    let asked = gateway.answer(Outcome::Delivered).await;
    assert_eq!(asked.targets.len(), 20);
    until("all are delivered", async || {
        let counts = read(&rig, &given.name).await.counts;
        counts.len() == 1 && counts[0].state() == CommandState::Delivered
    })
    .await;
    assert!(rig.raw_traffic() - before <= 1, "the answer is the last of two messages");
}

#[tokio::test]
async fn a_command_for_many_is_in_parts_and_reaches_each_once() {
    const MANY: u16 = 600;
    let numbered = |number: u16| {
        let mut record = restartable(1, "prod");
        let mut bytes = [7; 16];
        bytes[14..].copy_from_slice(&number.to_be_bytes());
        record.instance_uid = opamp::InstanceUid::from_bytes(bytes);
        record
    };
    let records: Vec<AgentRecord> = (0..MANY).map(numbered).collect();
    let (rig, mut gateway) = rig(&records).await;
    let mut request = restart_selected("*");
    request.command.as_mut().unwrap().max_per_second = 10_000;
    request.request_id = "many".to_owned();
    let given = give(&rig, request.clone()).await;
    let mut told = std::collections::BTreeSet::new();
    while told.len() < usize::from(MANY) {
        let asked = gateway.answer(Outcome::Delivered).await;
        assert!(asked.targets.len() <= 256);
        for target in asked.targets {
            assert!(told.insert(target.instance_uid), "told twice");
        }
    }
    until("all are delivered", async || {
        let counts = read(&rig, &given.name).await.counts;
        counts.len() == 1 && counts[0].targets == i64::from(MANY)
    })
    .await;
    let parent = given.name.clone();
    let request_page = ListCommandTargetsRequest { parent, page_size: 1000, ..Default::default() };
    let page = client(&rig).list_command_targets(request_page).await.unwrap().into_inner();
    assert_eq!(page.targets.len(), usize::from(MANY));
    assert_eq!(give(&rig, request).await.name, given.name, "the same one");
    assert!(gateway.is_left_alone().await);
}

#[tokio::test]
async fn a_command_costs_two_messages_however_many_gateways_there_are() {
    for gateways in [1_u8, 4] {
        let at = |byte: u8| {
            let mut record = restartable(byte, "prod");
            record.owner.as_mut().unwrap().gateway = GatewayId::new(&format!("gw{byte}"));
            record
        };
        let records: Vec<AgentRecord> = (1..=gateways).map(at).collect();
        let (rig, _) = rig(&records).await;
        let mut peers = Vec::new();
        for byte in 1..=gateways {
            peers.push(Peer::new(&rig, &format!("gw{byte}")).await);
        }
        let before = rig.raw_traffic();
        let given = give(&rig, restart(&[1])).await;
        peers[0].answer(Outcome::Delivered).await;
        becomes(&rig, &given.name, CommandState::Delivered).await;
        assert_eq!(rig.raw_traffic() - before, 2, "{gateways} gateways");
        for peer in &mut peers[1..] {
            assert!(peer.is_left_alone().await, "{gateways} gateways");
        }
    }
}

#[tokio::test]
async fn so_many_in_a_second_are_told() {
    let records: Vec<AgentRecord> = (1..=9).map(|byte| restartable(byte, "prod")).collect();
    let (rig, mut gateway) = rig(&records).await;
    let mut request = restart_selected("*");
    request.command.as_mut().unwrap().max_per_second = 4;
    give(&rig, request).await;
    let first = gateway.answer(Outcome::Delivered).await;
    assert_eq!(first.targets.len(), 4);
    rig.clock.pass(std::time::Duration::from_millis(500));
    let second = gateway.answer(Outcome::Delivered).await;
    assert_eq!(second.targets.len(), 2, "half a second's worth");
}

#[tokio::test]
async fn commands_for_one_agent_go_one_after_the_other() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod")]).await;
    let first = give(&rig, restart(&[1])).await;
    let second = give(&rig, restart(&[1])).await;
    let (asked, responder) = gateway.asked().await;
    assert!(gateway.is_left_alone().await, "the second waits for the first");
    assert_eq!(read(&rig, &second.name).await.target.unwrap().state(), CommandState::Queued);
    respond(&asked, responder, Outcome::Sent).await;
    becomes(&rig, &first.name, CommandState::Sent).await;
    gateway.answer(Outcome::Delivered).await;
    becomes(&rig, &second.name, CommandState::Delivered).await;
}

#[tokio::test]
async fn lists_are_newest_first_page_by_page_and_filtered() {
    let (rig, mut gateway) = rig(&[restartable(1, "prod"), restartable(2, "prod")]).await;
    let mut names = Vec::new();
    for byte in [1, 2, 1, 2, 1] {
        let given = give(&rig, restart(&[byte])).await;
        gateway.answer(Outcome::Delivered).await;
        becomes(&rig, &given.name, CommandState::Delivered).await;
        names.insert(0, given.name);
    }
    let mut client = client(&rig);
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListCommandsRequest { page_size: 2, page_token, ..Default::default() };
        let page = client.list_commands(request).await.unwrap().into_inner();
        assert_eq!(page.total_size, 5);
        seen.extend(page.commands.into_iter().map(|command| command.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, names);
    let request = |agent: &str, state: CommandState| ListCommandsRequest {
        agent: agent.to_owned(),
        state: state.into(),
        ..Default::default()
    };
    let agent = format!("agents/{}", uid(2));
    let of_two = client.list_commands(request(&agent, CommandState::Unspecified)).await.unwrap();
    assert_eq!(of_two.into_inner().total_size, 2);
    let refused = client.list_commands(request("", CommandState::Refused)).await.unwrap();
    assert_eq!(refused.into_inner().total_size, 0);
}
