//! Commands as JSON.

use control::v1::command::{Action, Count};
use control::v1::{Command, CommandState, CommandTarget};
use serde_json::{Map, Value, json};

use super::{payload, text, time};
use crate::cli::names::short;

/// A command.
pub(in crate::cli) fn command(command: &Command) -> Value {
    let count = |count: &Count| (command_state(count.state).to_owned(), json!(count.targets));
    let mut value = json!({
        "id": short(&command.name),
        "action": action(command),
        "selector": text(&command.selector),
        "create_time": time(command.create_time.as_ref()),
        "expire_time": time(command.expire_time.as_ref()),
        "queue": command.queue,
        "max_per_second": command.max_per_second,
        "actor": text(&command.actor),
        "driver": text(&command.driver),
        "settled": command.settled,
        "states": command.counts.iter().map(count).collect::<Map<_, _>>(),
    });
    if let Some(target) = &command.target {
        value["target"] = command_target(target);
    }
    match &command.action {
        Some(Action::Reidentify(found)) => {
            value["new_instance_uid"] = json!(found.instance_uid);
        }
        Some(Action::CustomMessage(found)) => {
            value["capability"] = json!(found.capability);
            value["type"] = json!(found.r#type);
        }
        _ => {}
    }
    value
}

/// An agent of a command.
pub(in crate::cli) fn command_target(target: &CommandTarget) -> Value {
    let mut value = json!({
        "instance_uid": short(&target.agent),
        "state": command_state(target.state),
        "gateway": text(&target.gateway_id),
        "epoch": target.epoch,
        "attempts": target.attempts,
        "reason": text(&target.reason),
        "route_time": time(target.route_time.as_ref()),
        "update_time": time(target.update_time.as_ref()),
        "settled": target.settled,
    });
    if let Some(reply) = &target.reply {
        let mut said = json!({
            "size_bytes": reply.size_bytes,
            "receive_time": time(reply.receive_time.as_ref()),
        });
        payload(&mut said, &reply.data, reply.size_bytes);
        value["reply"] = said;
    }
    value
}

/// What it does, in a word.
pub(in crate::cli) fn action(command: &Command) -> &'static str {
    match &command.action {
        Some(Action::Restart(_)) => "restart",
        Some(Action::Refresh(_)) => "refresh",
        Some(Action::Disconnect(_)) => "disconnect",
        Some(Action::Reidentify(_)) => "reidentify",
        Some(Action::CustomMessage(_)) => "custom message",
        None => "unknown",
    }
}

/// Whether one can see that it was done.
pub(in crate::cli) fn has_effect(command: &Command) -> bool {
    !matches!(&command.action, Some(Action::CustomMessage(message)) if message.reply.is_none())
}

/// The state's name.
pub(in crate::cli) fn command_state(state: i32) -> &'static str {
    CommandState::try_from(state).map_or("UNKNOWN_TO_THIS_VERSION", |state| state.as_str_name())
}
