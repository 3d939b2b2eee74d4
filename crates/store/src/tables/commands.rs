//! Table `commands`: command and number of the part → the part. The first part has the order.

use bytes::Bytes;
use model::command::{Action, CommandId, Custom, Expected, Order, Reply, Signs, State, Target};
use model::{GatewayId, Timestamp};
use opamp::InstanceUid;

use super::{Loaded, corrupt, read, write};
use crate::v1::command as wire;
use crate::v1::command::order::Action as WireAction;
use crate::{Error, Key, Table, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.Command`.
const FIELDS: u32 = 6;

/// Targets in one part at most.
pub const PART_TARGETS_MAX: usize = 256;

/// A part of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which command.
    pub id: CommandId,
    /// Which part of it.
    pub number: u16,
    /// When the command was given.
    pub created: Timestamp,
    /// In the first part.
    pub order: Option<Order>,
    /// Some of its targets.
    pub targets: Vec<Target>,
}

impl Part {
    /// Its key.
    pub fn key(&self) -> Key {
        key(&self.id, self.number)
    }
}

/// The key of a part.
pub fn key(id: &CommandId, part: u16) -> Key {
    let id = [&id.0[..], &part.to_be_bytes()].concat();
    Key { table: Table::Commands, id: id.into() }
}

/// The bytes of a part.
pub fn encode(part: &Part, unknown: &Bytes) -> Bytes {
    let message = v1::Command {
        format: FORMAT,
        command_id: part.id.0.to_vec(),
        part: part.number.into(),
        created_unix_ms: part.created.0,
        order: part.order.as_ref().map(order_to_wire),
        targets: part.targets.iter().map(target_to_wire).collect(),
    };
    write(&message, unknown)
}

/// The part in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<Part>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::Command| m.format, FORMAT)?;
    let part = part(message).map_err(|reason| corrupt(key, &reason))?;
    Ok(Loaded { value: part, unknown })
}

fn part(message: v1::Command) -> Result<Part, String> {
    let id = CommandId::from_slice(&message.command_id).ok_or("an id is 16 bytes")?;
    let created = Timestamp(message.created_unix_ms);
    Ok(Part {
        id,
        number: u16::try_from(message.part).map_err(|_| "there are not so many parts")?,
        created,
        order: message.order.map(|found| order(id, created, found)).transpose()?,
        targets: message.targets.into_iter().map(target).collect::<Result<_, _>>()?,
    })
}

fn order_to_wire(order: &Order) -> wire::Order {
    wire::Order {
        action: Some(action_to_wire(&order.action)),
        actor: order.actor.clone(),
        expires_unix_ms: order.expires.0,
        queue: order.queue,
        selector: order.selector.clone(),
        max_per_second: order.max_per_second,
        confirm_ms: order.confirm_ms,
        digest: order.digest.to_vec(),
        driver: order.driver.clone(),
        targets: order.targets,
    }
}

fn order(id: CommandId, created: Timestamp, message: wire::Order) -> Result<Order, String> {
    Ok(Order {
        id,
        action: action(message.action)?,
        actor: message.actor,
        created,
        expires: Timestamp(message.expires_unix_ms),
        queue: message.queue,
        selector: message.selector,
        max_per_second: message.max_per_second,
        confirm_ms: message.confirm_ms,
        digest: message.digest.try_into().map_err(|_| "a digest is 32 bytes")?,
        driver: message.driver,
        targets: message.targets,
    })
}

fn action_to_wire(action: &Action) -> WireAction {
    match action {
        Action::Restart => WireAction::Restart(wire::Restart {}),
        Action::Refresh => WireAction::Refresh(wire::Refresh {}),
        Action::Disconnect => WireAction::Disconnect(wire::Disconnect {}),
        Action::Reidentify { uid } => {
            let instance_uid = uid.as_bytes().to_vec();
            WireAction::Reidentify(wire::Reidentify { instance_uid })
        }
        Action::Custom(custom) => WireAction::CustomMessage(wire::CustomMessage {
            capability: custom.capability.clone(),
            r#type: custom.kind.clone(),
            data: custom.data.clone(),
            wants_reply: custom.reply.is_some(),
            reply: custom
                .reply
                .as_ref()
                .map(|reply| wire::Expected { r#type: reply.kind.clone(), key: reply.key.clone() }),
        }),
    }
}

/// An action that a newer binary knows is not guessed at.
fn action(message: Option<WireAction>) -> Result<Action, String> {
    Ok(match message.ok_or("its action is unknown")? {
        WireAction::Restart(_) => Action::Restart,
        WireAction::Refresh(_) => Action::Refresh,
        WireAction::Disconnect(_) => Action::Disconnect,
        WireAction::Reidentify(found) => Action::Reidentify { uid: uid(&found.instance_uid)? },
        WireAction::CustomMessage(found) => Action::Custom(Custom {
            capability: found.capability,
            kind: found.r#type,
            data: found.data,
            // The first version said only that one is.
            reply: found
                .reply
                .or_else(|| found.wants_reply.then(wire::Expected::default))
                .map(|reply| Expected { kind: reply.r#type, key: reply.key }),
        }),
    })
}

fn target_to_wire(target: &Target) -> wire::Target {
    wire::Target {
        instance_uid: target.uid.as_bytes().to_vec(),
        state: state_to_wire(target.state).into(),
        gateway_id: target.gateway.as_ref().map_or_else(String::new, ToString::to_string),
        epoch: target.epoch,
        attempts: target.attempts,
        reason: target.reason.clone(),
        restarts: target.before.restarts,
        full_reports: target.before.full_reports,
        routed_unix_ms: target.routed.0,
        changed_unix_ms: target.changed.0,
        again_unix_ms: target.again.0,
        version: target.before.version,
        reply: target.reply.as_ref().map(|reply| wire::Reply {
            data: reply.data.clone(),
            size: reply.size,
            at_unix_ms: reply.at.0,
            version: reply.version,
        }),
    }
}

fn target(message: wire::Target) -> Result<Target, String> {
    let gateway = &message.gateway_id;
    Ok(Target {
        uid: uid(&message.instance_uid)?,
        state: state(message.state)?,
        gateway: (!gateway.is_empty()).then(|| GatewayId::new(gateway)),
        epoch: message.epoch,
        attempts: message.attempts,
        reason: message.reason,
        before: Signs {
            restarts: message.restarts,
            full_reports: message.full_reports,
            version: message.version,
            ..Signs::default()
        },
        routed: Timestamp(message.routed_unix_ms),
        changed: Timestamp(message.changed_unix_ms),
        again: Timestamp(message.again_unix_ms),
        reply: message.reply.map(|reply| Reply {
            data: reply.data,
            size: reply.size,
            at: Timestamp(reply.at_unix_ms),
            version: reply.version,
        }),
    })
}

const fn state_to_wire(state: State) -> wire::State {
    match state {
        State::Queued => wire::State::Queued,
        State::Routed => wire::State::Routed,
        State::Sent => wire::State::Sent,
        State::Delivered => wire::State::Delivered,
        State::Confirmed => wire::State::Confirmed,
        State::Refused => wire::State::Refused,
        State::Expired => wire::State::Expired,
        State::Unknown => wire::State::Unknown,
        State::Cancelled => wire::State::Cancelled,
    }
}

/// A state that a newer binary knows is not guessed at: it might be sent again.
fn state(number: i32) -> Result<State, String> {
    let known = State::ALL.into_iter().find(|state| i32::from(state_to_wire(*state)) == number);
    known.ok_or_else(|| format!("state {number} is unknown"))
}

fn uid(bytes: &[u8]) -> Result<InstanceUid, String> {
    InstanceUid::try_from(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(state: State) -> Target {
        Target {
            uid: InstanceUid::from_bytes([7; 16]),
            state,
            gateway: (state != State::Queued).then(|| GatewayId::new("g1")),
            epoch: 3,
            attempts: 2,
            reason: "why".to_owned(),
            before: Signs { restarts: 4, full_reports: 5, version: 6, ..Signs::default() },
            routed: Timestamp(6),
            changed: Timestamp(7),
            again: Timestamp(8),
            reply: (state == State::Confirmed).then(|| Reply {
                data: vec![1],
                size: 9,
                at: Timestamp(10),
                version: 11,
            }),
        }
    }

    fn order(action: Action) -> Order {
        Order {
            id: CommandId([1; 16]),
            action,
            actor: "alice".to_owned(),
            created: Timestamp(5),
            expires: Timestamp(9),
            queue: true,
            selector: "env=prod".to_owned(),
            max_per_second: 50,
            confirm_ms: 30_000,
            digest: [8; 32],
            driver: "c1".to_owned(),
            targets: 300,
        }
    }

    #[test]
    fn what_is_written_is_read_and_nonsense_is_corrupt() {
        let uid = InstanceUid::from_bytes([9; 16]);
        let custom = Custom {
            capability: "com.example".to_owned(),
            kind: "go".to_owned(),
            data: vec![1, 2],
            reply: Some(Expected { kind: "done".to_owned(), key: "id".to_owned() }),
        };
        let actions = [
            Action::Restart,
            Action::Refresh,
            Action::Disconnect,
            Action::Reidentify { uid },
            Action::Custom(custom),
        ];
        for action in actions {
            let part = Part {
                id: CommandId([1; 16]),
                number: 0,
                created: Timestamp(5),
                order: Some(order(action)),
                targets: State::ALL.map(target).to_vec(),
            };
            let loaded = decode(&part.key(), &encode(&part, &Bytes::new())).unwrap();
            assert_eq!(loaded.value, part);
        }
        let unknown = wire::Target { state: 99, instance_uid: vec![7; 16], ..Default::default() };
        let broken = v1::Command {
            format: FORMAT,
            command_id: vec![1; 16],
            targets: vec![unknown],
            ..Default::default()
        };
        let key = key(&CommandId([1; 16]), 0);
        assert!(decode(&key, &write(&broken, &Bytes::new())).is_err());
    }

    #[test]
    fn parts_have_keys_of_their_own() {
        let id = CommandId([1; 16]);
        assert_eq!(&key(&id, 258).id[..], [&[1; 16][..], &[1, 2]].concat());
    }
}
