//! Following a command until nothing more is waited for, over lost connections.

use std::collections::BTreeMap;

use control::v1::{
    Command, CommandReply, CommandState, CommandTarget, WatchCommandRequest, WatchCommandResponse,
};
use serde_json::json;
use tokio::time::sleep;
use tonic::{Code as Grpc, Status, Streaming};

use super::{client, counts};
use crate::cli::output::{Format, data, json as to_json, note, note_if_terminal, print, printable};
use crate::cli::{Client, call, json as shape, names};
use crate::exit::{Code, Failure};
use crate::limits;

/// Agents named of those that did not do it.
const FAILED_SHOWN: usize = 10;

/// How a command stands, as far as it was heard.
#[derive(Debug, Default)]
struct Followed {
    command: Command,
    targets: BTreeMap<String, CommandTarget>,
}

/// Follows a command until it is settled, and ends as it did.
pub(super) async fn until_settled(connection: &Client, name: &str) -> anyhow::Result<()> {
    let mut followed = Followed::default();
    let mut pause = limits::WATCH_RETRY_MIN;
    while !followed.command.settled {
        match watch(connection, name, &mut followed).await {
            Ok(()) => {}
            Err(status) if status.code() == Grpc::Unavailable && !followed.targets.is_empty() => {
                note(&format!("watch broke off, reconnecting: {}", status.message()));
                sleep(pause).await;
                pause = (pause * 2).min(limits::WATCH_RETRY_MAX);
            }
            Err(status) => return Err(call::explain(status.into())),
        }
    }
    report(connection.output, &followed)
}

/// One watch, to its end.
async fn watch(connection: &Client, name: &str, followed: &mut Followed) -> Result<(), Status> {
    let mut stream = open(connection, name).await?;
    while let Some(update) = stream.message().await? {
        for target in update.changed {
            followed.targets.insert(target.agent.clone(), target);
        }
        followed.command = update.command.unwrap_or_default();
        note_if_terminal(&counts(&followed.command));
    }
    Ok(())
}

async fn open(connection: &Client, name: &str) -> Result<Streaming<WatchCommandResponse>, Status> {
    let request = WatchCommandRequest { name: name.to_owned() };
    let opened = connection.call(|channel| async move {
        let answer = client(channel).watch_command(request).await;
        Ok(answer.map(tonic::Response::into_inner))
    });
    match opened.await {
        Ok(opened) => opened,
        Err(error) => Err(Status::unavailable(error.to_string())),
    }
}

/// Says how it ended, and ends with 1 if some agent did not do it.
fn report(format: Format, followed: &Followed) -> anyhow::Result<()> {
    let failed: Vec<&CommandTarget> =
        followed.targets.values().filter(|target| !is_done(target, &followed.command)).collect();
    print(match format {
        Format::Json => {
            let targets: Vec<_> = followed.targets.values().map(shape::command_target).collect();
            let command = shape::command(&followed.command);
            to_json(&json!({ "command": command, "targets": targets }))?
        }
        _ => text(followed, &failed),
    })?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::silent(Code::Error)) }
}

fn text(followed: &Followed, failed: &[&CommandTarget]) -> String {
    let command = &followed.command;
    let mut text = format!("command {}: {}\n", names::short(&command.name), counts(command));
    for target in failed.iter().take(FAILED_SHOWN) {
        let (agent, state) = (names::short(&target.agent), shape::command_state(target.state));
        let reason = match (target.reason.as_str(), target.state()) {
            ("", CommandState::Sent | CommandState::Delivered) => "no effect was seen in time",
            (reason, _) => reason,
        };
        text += &format!("{agent}: {state}: {reason}\n");
    }
    if failed.len() > FAILED_SHOWN {
        text += &format!("and {} more\n", failed.len() - FAILED_SHOWN);
    }
    text + &replies(followed)
}

/// What agents answered, a line each.
fn replies(followed: &Followed) -> String {
    let answered =
        followed.targets.values().filter_map(|target| Some((target, target.reply.as_ref()?)));
    let line = |(target, reply): (&CommandTarget, &CommandReply)| {
        let said = data(&reply.data, reply.size_bytes);
        format!("{}: {}\n", names::short(&target.agent), printable(&said))
    };
    answered.map(line).collect()
}

/// Whether the agent did it, as far as anybody can see.
fn is_done(target: &CommandTarget, command: &Command) -> bool {
    match target.state() {
        CommandState::Confirmed => true,
        CommandState::Delivered => !shape::has_effect(command),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use control::v1::command::{Action, CustomMessage, Restart};

    use super::*;

    fn target(agent: &str, state: CommandState, reason: &str) -> (String, CommandTarget) {
        let (agent, reason) = (format!("agents/{agent}"), reason.to_owned());
        (agent.clone(), CommandTarget { agent, state: state.into(), reason, ..Default::default() })
    }

    #[test]
    fn delivered_is_done_where_there_is_nothing_to_see() {
        let restart = Command { action: Some(Action::Restart(Restart {})), ..Default::default() };
        let message = Action::CustomMessage(CustomMessage::default());
        let message = Command { action: Some(message), ..Default::default() };
        let (_, delivered) = target("a", CommandState::Delivered, "");
        assert!(!is_done(&delivered, &restart) && is_done(&delivered, &message));
    }

    #[test]
    fn those_that_did_not_are_named_with_the_reason() {
        let targets = [
            target("a", CommandState::Confirmed, ""),
            target("b", CommandState::Unknown, "gateway g did not answer"),
            target("c", CommandState::Delivered, ""),
        ];
        let command = Command { action: Some(Action::Restart(Restart {})), ..Default::default() };
        let followed = Followed { command, targets: targets.into() };
        let failed: Vec<&CommandTarget> = followed
            .targets
            .values()
            .filter(|target| !is_done(target, &followed.command))
            .collect();
        let text = text(&followed, &failed);
        assert!(text.contains("b: UNKNOWN: gateway g did not answer"), "{text}");
        assert!(text.contains("c: DELIVERED: no effect was seen in time"), "{text}");
        assert!(!text.contains("a:"), "{text}");
    }
}
