//! Commands on their way through a gateway: told once, and known by what became of them.

use std::time::Duration;

use bus::v1::Command;
use bus::v1::command::{Action, Disconnect, Target};
use bus::v1::commanded::Outcome;
use bus::v1::gateway_reply::Reply;
use bus::v1::gateway_request::Request;
use opamp::Message as _;
use opamp::v1::{AgentIdentification, ServerToAgent, ServerToAgentCommand, ServerToAgentFlags};
use opamp::ws::{Event, Opcode};

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, until};

fn target(number: u8, epoch: u64) -> Target {
    Target { instance_uid: uid(number).into(), epoch, ..Target::default() }
}

fn restart() -> ServerToAgent {
    let command = Some(ServerToAgentCommand::default());
    ServerToAgent { capabilities: 1, command, ..Default::default() }
}

fn command(id: u8, message: &ServerToAgent, targets: Vec<Target>) -> Command {
    Command {
        command_id: vec![id; 16].into(),
        action: Some(Action::Message(message.encode_to_vec().into())),
        // A minute after the field's clock began.
        not_after_unix_ms: 1_800_000_060_000,
        proof_ms: 500,
        targets,
    }
}

async fn tell(field: &Field, command: Command) -> Vec<Outcome> {
    match field.ask(Request::Command(command)).await {
        Reply::Commanded(commanded) => commanded.outcomes().collect(),
        other => panic!("not an answer to a command: {other:?}"),
    }
}

/// Answers the next ping.
async fn answer_ping(agent: &mut Agent) {
    match agent.event().await {
        Some(Event::Ping(payload)) => agent.send_frame(Opcode::Pong, &payload).await,
        other => panic!("no ping: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_stands_alone_and_a_pong_proves_that_it_arrived() {
    let field = Field::naming(&["org.example.talk"]).await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let (outcomes, ()) =
        tokio::join!(tell(&field, command(1, &restart(), vec![target(1, 1)])), async {
            let heard = agent.hear().await;
            let expected = ServerToAgent { instance_uid: uid(1), ..restart() };
            assert_eq!(heard, expected);
            assert!(heard.encode_to_vec().ends_with(&[0x4a, 0]), "the only type is encoded too");
            answer_ping(&mut agent).await;
        });
    assert_eq!(outcomes, [Outcome::Delivered]);
}

#[tokio::test]
async fn without_a_pong_it_is_sent() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let outcomes = tell(&field, command(1, &restart(), vec![target(1, 1)])).await;
    assert_eq!(outcomes, [Outcome::Sent]);
    assert!(agent.hear().await.command.is_some());
}

#[tokio::test]
async fn the_same_command_is_told_once_however_often_it_is_asked_for() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let ask = || tell(&field, command(1, &restart(), vec![target(1, 1)]));
    let (first, again, ()) = tokio::join!(ask(), ask(), async {
        agent.hear().await;
        answer_ping(&mut agent).await;
    });
    assert_eq!((first, again), (vec![Outcome::Delivered], vec![Outcome::Delivered]));
    assert_eq!(ask().await, [Outcome::Delivered]);
    assert_eq!(agent.say(&heartbeat(1, 1)).await.command, None, "nothing else came");
}

#[tokio::test]
async fn strangers_other_epochs_and_late_ones_are_told_nothing() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let mut odd = target(1, 1);
    odd.instance_uid = vec![1; 3].into();
    let strangers = vec![target(1, 2), target(7, 1), odd];
    let outcomes = tell(&field, command(1, &restart(), strangers)).await;
    assert_eq!(outcomes, [Outcome::NotOwner; 3]);
    let late = Command { not_after_unix_ms: 1, ..command(2, &restart(), vec![target(1, 1)]) };
    assert_eq!(tell(&field, late).await, [Outcome::Late]);
    assert_eq!(agent.say(&heartbeat(1, 1)).await.command, None);
    // Surely not sent, it may be tried again.
    let again = tell(&field, command(1, &restart(), vec![target(1, 1)])).await;
    assert_eq!(again, [Outcome::Sent]);
}

#[tokio::test]
async fn a_late_copy_of_what_was_refused_is_refused() {
    let field = Field::start().await;
    let attempt = |attempt| Target { attempt, ..target(1, 1) };
    assert_eq!(tell(&field, command(1, &restart(), vec![attempt(1)])).await, [Outcome::NotOwner]);
    let mut agent = Agent::claimed(field.address, 1).await;
    assert_eq!(tell(&field, command(1, &restart(), vec![attempt(1)])).await, [Outcome::NotOwner]);
    let (outcomes, heard) =
        tokio::join!(tell(&field, command(1, &restart(), vec![attempt(2)])), agent.hear());
    assert_eq!((outcomes, heard.command.is_some()), (vec![Outcome::Sent], true));
}

#[tokio::test]
async fn a_late_copy_of_what_was_told_is_answered_as_the_first_was() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let ask = || command(1, &restart(), vec![target(1, 1)]);
    let (first, ()) = tokio::join!(tell(&field, ask()), async {
        agent.hear().await;
        answer_ping(&mut agent).await;
    });
    let late = tell(&field, Command { not_after_unix_ms: 1, ..ask() }).await;
    assert_eq!((first, late), (vec![Outcome::Delivered], vec![Outcome::Delivered]));
    assert_eq!(agent.say(&heartbeat(1, 1)).await.command, None, "nothing else came");
}

#[tokio::test]
async fn commands_arrive_in_the_order_in_which_they_come_and_none_replaces_another() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let message = |number: u64| ServerToAgent { capabilities: number, ..restart() };
    for number in 1..=20 {
        let id = u8::try_from(number).unwrap();
        let ask = Command { proof_ms: 0, ..command(id, &message(number), vec![target(1, 1)]) };
        assert_eq!(tell(&field, ask).await, [Outcome::Sent]);
    }
    for number in 1..=20 {
        assert_eq!(agent.hear().await.capabilities, number);
        assert!(matches!(agent.event().await, Some(Event::Ping(_))));
    }
}

#[tokio::test]
async fn many_agents_are_told_at_once_each_its_own() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    let own = ServerToAgent {
        agent_identification: Some(AgentIdentification { new_instance_uid: vec![9; 16] }),
        ..Default::default()
    };
    let special = Target { message: own.encode_to_vec().into(), ..target(2, 1) };
    let ask = command(1, &restart(), vec![target(1, 1), special, target(3, 1)]);
    let (outcomes, ()) = tokio::join!(tell(&field, ask), async {
        let first = proxy.hear().await;
        assert!(first.instance_uid == uid(1) && first.command.is_some());
        answer_ping(&mut proxy).await;
        let second = proxy.hear().await;
        assert_eq!((second.instance_uid, second.command), (uid(2), None));
        assert!(second.agent_identification.is_some());
        answer_ping(&mut proxy).await;
    });
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered, Outcome::NotOwner]);
}

#[tokio::test]
async fn a_socket_that_takes_nothing_gets_its_command_taken_back() {
    let soon = Duration::from_millis(300);
    let field = Field::with(|limits| limits.command_send_max = soon).await;
    let _deaf = Agent::claimed(field.address, 1).await;
    let large = ServerToAgent {
        agent_identification: Some(AgentIdentification { new_instance_uid: vec![0; 20_000] }),
        ..Default::default()
    };
    let mut outcomes = Vec::new();
    for id in 1..=250 {
        let ask = Command { proof_ms: 0, ..command(id, &large, vec![target(1, 1)]) };
        outcomes.extend(tell(&field, ask).await);
        if outcomes.last() != Some(&Outcome::Sent) {
            break;
        }
    }
    // The one that was half-way when the buffers were full cannot be taken back.
    let ends = [Outcome::Busy, Outcome::Broken];
    assert!(outcomes.len() > 1 && ends.contains(outcomes.last().unwrap()), "{outcomes:?}");
    let behind = tell(&field, command(251, &restart(), vec![target(1, 1)])).await;
    assert_eq!(behind, [Outcome::Busy]);
}

#[tokio::test]
async fn a_connection_is_closed_on_command_and_its_end_told() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let action = Some(Action::Disconnect(Disconnect {}));
    let ask = Command { action, ..command(1, &restart(), vec![target(1, 1)]) };
    let (outcomes, code) = tokio::join!(tell(&field, ask), agent.closed());
    assert_eq!((outcomes, code), (vec![Outcome::Delivered], Some(1001)));
    assert_eq!(field.seen.closes().len(), 1);
    // One that does not answer the close is cut.
    let _mute = Agent::claimed(field.address, 2).await;
    let action = Some(Action::Disconnect(Disconnect {}));
    let ask = Command { action, ..command(2, &restart(), vec![target(2, 1)]) };
    assert_eq!(tell(&field, ask).await, [Outcome::Delivered]);
    until("the end is told", || field.seen.closes().len() == 2).await;
}

/// What an agent reports because an operator wants it follows no number, so that the worker counts
/// it as what was asked for.
#[tokio::test]
async fn a_full_report_that_an_operator_asked_for_is_marked_as_such() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let flags = ServerToAgentFlags::ReportFullState as u64;
    let refresh = ServerToAgent { flags, capabilities: 1, ..Default::default() };
    let ask = Command { proof_ms: 0, ..command(1, &refresh, vec![target(1, 1)]) };
    assert_eq!(tell(&field, ask).await, [Outcome::Sent]);
    assert_eq!(agent.hear().await.flags, flags);
    assert!(matches!(agent.event().await, Some(Event::Ping(_))));
    let mut full = report(1, 1);
    full.agent_description = Some(Default::default());
    agent.send(&full).await;
    until("it is reported", || field.seen.reports().len() == 2).await;
    let (asked, _) = field.seen.reports().remove(1);
    assert_eq!(asked.answered_sequence_num, None);
    tokio::time::timeout(Duration::from_secs(5), agent.hear()).await.unwrap();
}

/// Two sessions on one socket would both be taken for agents.
#[tokio::test]
async fn an_agent_that_goes_by_another_uid_is_held_under_that_alone() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let identification = AgentIdentification { new_instance_uid: uid(9) };
    let message =
        ServerToAgent { agent_identification: Some(identification), ..Default::default() };
    let ask = Command { proof_ms: 0, ..command(1, &message, vec![target(1, 1)]) };
    assert_eq!(tell(&field, ask).await, [Outcome::Sent]);
    assert!(agent.hear().await.agent_identification.is_some());
    assert!(matches!(agent.event().await, Some(Event::Ping(_))));
    agent.say(&report(9, 0)).await;
    until("the old one ended", || field.seen.closes().len() == 1).await;
    assert_eq!(field.seen.closes()[0].instance_uid, uid(1));
    let outcomes = tell(&field, command(2, &restart(), vec![target(1, 1), target(9, 1)])).await;
    assert_eq!(outcomes, [Outcome::NotOwner, Outcome::Sent]);
}
