//! What is asked of gateways and workers: one request for all targets of a command at a gateway,
//! one for each that waits in its record.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::v1::{self as wire, command};
use bytes::Bytes;
use model::command::{ANSWER_MS, Action, CommandId, Order, PROOF_MS, SEND_MS, Way};
use model::{GatewayId, Timestamp};
use opamp::InstanceUid;
use opamp::v1::{
    AgentIdentification, CustomMessage, ServerToAgent, ServerToAgentCommand, ServerToAgentFlags,
};
use prost::Message as _;

/// What agents are told, without their uid; none if it is done to them. A restart stands alone:
/// agents read nothing else of such a message.
pub(super) fn message(action: &Action) -> Option<Bytes> {
    let message = match action {
        Action::Restart => {
            ServerToAgent { command: Some(ServerToAgentCommand::default()), ..Default::default() }
        }
        Action::Refresh => ServerToAgent {
            flags: ServerToAgentFlags::ReportFullState as u64,
            ..Default::default()
        },
        Action::Disconnect => return None,
        Action::Reidentify { uid } => ServerToAgent {
            agent_identification: Some(AgentIdentification {
                new_instance_uid: uid.as_bytes().to_vec(),
            }),
            ..Default::default()
        },
        Action::Custom(custom) => ServerToAgent {
            custom_message: Some(CustomMessage {
                capability: custom.capability.clone(),
                r#type: custom.kind.clone(),
                data: custom.data.clone(),
            }),
            ..Default::default()
        },
    };
    Some(message.encode_to_vec().into())
}

/// Room for requests that are under way at once.
#[derive(Debug)]
pub(super) struct Room {
    free: usize,
    per_request: usize,
    /// Targets in the request for a command at a gateway.
    groups: BTreeMap<(CommandId, GatewayId), usize>,
}

impl Room {
    pub(super) fn new(free: usize, per_request: usize) -> Self {
        Self { free, per_request, groups: BTreeMap::new() }
    }

    /// Whether another target of a command can go this way.
    pub(super) fn has(&self, command: &CommandId, way: &Way) -> bool {
        self.joins(command, way) || self.free > 0
    }

    pub(super) fn take(&mut self, command: &CommandId, way: &Way) {
        if !self.joins(command, way) {
            self.free = self.free.saturating_sub(1);
        }
        if let Way::Session { gateway, .. } = way {
            *self.groups.entry((*command, gateway.clone())).or_default() += 1;
        }
    }

    fn joins(&self, command: &CommandId, way: &Way) -> bool {
        let Way::Session { gateway, .. } = way else { return false };
        let there = self.groups.get(&(*command, gateway.clone())).copied().unwrap_or(0);
        !there.is_multiple_of(self.per_request)
    }
}

/// A request to be sent.
#[derive(Debug)]
pub(super) enum Ask {
    Gateway {
        gateway: GatewayId,
        targets: Vec<Asked>,
        request: wire::GatewayRequest,
        wait: Duration,
    },
    Record {
        target: Asked,
        request: wire::Handover,
    },
}

/// A target that is to be asked for now.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) uid: InstanceUid,
    pub(super) attempt: u32,
    pub(super) way: Way,
    /// When this attempt began.
    pub(super) routed: Timestamp,
}

/// A target in a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) uid: InstanceUid,
    pub(super) attempt: u32,
    epoch: u64,
}

/// The requests for these targets of a command.
pub(super) fn asks(
    order: &Order,
    message: Option<&Bytes>,
    sending: Vec<Sending>,
    per_request: usize,
    now: Timestamp,
) -> Vec<Ask> {
    let mut groups: BTreeMap<GatewayId, Vec<Asked>> = BTreeMap::new();
    let mut asks = Vec::new();
    for Sending { uid, attempt, way, routed } in sending {
        match way {
            Way::Session { gateway, epoch } => {
                groups.entry(gateway).or_default().push(Asked { uid, attempt, epoch });
            }
            Way::Record | Way::None => {
                let target = Asked { uid, attempt, epoch: 0 };
                let since_unix_ms = routed.0;
                let request = wire::Handover { since_unix_ms, ..handover(order, message, &uid) };
                asks.push(Ask::Record { target, request });
            }
        }
    }
    let not_after = order.not_after(now);
    let wait = not_after.millis_since(now) + ANSWER_MS - SEND_MS;
    for (gateway, group) in groups {
        for targets in group.chunks(per_request) {
            asks.push(Ask::Gateway {
                gateway: gateway.clone(),
                targets: targets.to_vec(),
                request: request(order, message, targets, not_after),
                wait: Duration::from_millis(wait),
            });
        }
    }
    asks
}

/// Asks a record to give a command back.
pub(super) fn withdrawal(order: &Order, uid: InstanceUid, attempt: u32) -> Ask {
    let target = Asked { uid, attempt, epoch: 0 };
    let request = wire::Handover { withdraw: true, ..handover(order, None, &uid) };
    Ask::Record { target, request }
}

fn request(
    order: &Order,
    message: Option<&Bytes>,
    targets: &[Asked],
    not_after: Timestamp,
) -> wire::GatewayRequest {
    let action = match message {
        Some(message) => command::Action::Message(message.clone()),
        None => command::Action::Disconnect(command::Disconnect {}),
    };
    let target = |asked: &Asked| command::Target {
        instance_uid: asked.uid.as_bytes().to_vec().into(),
        epoch: asked.epoch,
        attempt: asked.attempt,
        ..Default::default()
    };
    let command = wire::Command {
        command_id: order.id.0.to_vec().into(),
        action: Some(action),
        not_after_unix_ms: not_after.0,
        proof_ms: u32::try_from(PROOF_MS).unwrap_or(u32::MAX),
        targets: targets.iter().map(target).collect(),
    };
    wire::GatewayRequest { request: Some(wire::gateway_request::Request::Command(command)) }
}

fn handover(order: &Order, message: Option<&Bytes>, uid: &InstanceUid) -> wire::Handover {
    wire::Handover {
        instance_uid: uid.as_bytes().to_vec().into(),
        command_id: order.id.0.to_vec().into(),
        message: message.cloned().unwrap_or_default(),
        not_after_unix_ms: order.expires.0,
        ..Default::default()
    }
}
