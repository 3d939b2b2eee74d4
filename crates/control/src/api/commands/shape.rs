//! Commands as the API says them.

use model::Timestamp;
use model::command::{Action, Order, State, Target};
use prost_types::Duration as WireDuration;

use crate::api::{convert, names};
use crate::ledger::Filed;
use crate::v1::{self, CommandState, CommandTarget, command as wire};

/// A command as it stands now.
pub(crate) fn command(filed: &Filed, now: Timestamp) -> v1::Command {
    let order = &filed.order;
    let count = |state: &State| {
        let targets = filed.targets().filter(|target| target.state == *state).count();
        wire::Count { state: state_out(*state).into(), targets: convert::count(targets) }
    };
    let only = filed.targets().next().filter(|_| order.targets == 1);
    v1::Command {
        name: format!("commands/{}", order.id),
        action: Some(action(&order.action)),
        selector: order.selector.clone(),
        create_time: Some(convert::time(order.created)),
        expire_time: Some(convert::time(order.expires)),
        queue: order.queue,
        max_per_second: i32::try_from(order.max_per_second).unwrap_or(i32::MAX),
        confirm_window: Some(duration(order.confirm_ms)),
        actor: order.actor.clone(),
        driver: order.driver.clone(),
        settled: filed.is_settled(now),
        counts: State::ALL.iter().map(count).filter(|count| count.targets > 0).collect(),
        target: only.map(|found| target(found, order, now)),
    }
}

/// A target as it stands now.
pub(crate) fn target(target: &Target, order: &Order, now: Timestamp) -> CommandTarget {
    CommandTarget {
        agent: names::agent(&target.uid),
        state: state_out(target.state).into(),
        gateway_id: target.gateway.as_ref().map_or_else(String::new, ToString::to_string),
        epoch: target.epoch,
        attempts: i32::try_from(target.attempts).unwrap_or(i32::MAX),
        reason: target.reason.clone(),
        route_time: (target.attempts > 0).then(|| convert::time(target.routed)),
        update_time: Some(convert::time(target.changed)),
        settled: target.is_settled(order, now),
        reply: target.reply.as_ref().map(|reply| v1::CommandReply {
            data: reply.data.clone(),
            size_bytes: i64::try_from(reply.size).unwrap_or(i64::MAX),
            receive_time: Some(convert::time(reply.at)),
        }),
    }
}

fn action(action: &Action) -> wire::Action {
    match action {
        Action::Restart => wire::Action::Restart(wire::Restart {}),
        Action::Refresh => wire::Action::Refresh(wire::Refresh {}),
        Action::Disconnect => wire::Action::Disconnect(wire::Disconnect {}),
        Action::Reidentify { uid } => {
            wire::Action::Reidentify(wire::Reidentify { instance_uid: uid.to_string() })
        }
        Action::Custom(custom) => wire::Action::CustomMessage(wire::CustomMessage {
            capability: custom.capability.clone(),
            r#type: custom.kind.clone(),
            data: custom.data.clone(),
            reply: custom
                .reply
                .as_ref()
                .map(|reply| wire::Reply { r#type: reply.kind.clone(), key: reply.key.clone() }),
        }),
    }
}

pub(crate) const fn state_out(state: State) -> CommandState {
    match state {
        State::Queued => CommandState::Queued,
        State::Routed => CommandState::Routed,
        State::Sent => CommandState::Sent,
        State::Delivered => CommandState::Delivered,
        State::Confirmed => CommandState::Confirmed,
        State::Refused => CommandState::Refused,
        State::Expired => CommandState::Expired,
        State::Unknown => CommandState::Unknown,
        State::Cancelled => CommandState::Cancelled,
    }
}

fn duration(ms: u64) -> WireDuration {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
    WireDuration { seconds, nanos }
}
