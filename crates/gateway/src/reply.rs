//! What the gateway itself says to agents: acknowledgements and errors. Each carries the uid the
//! agent sent, byte for byte, and an error carries nothing else.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use opamp::InstanceUid;
use opamp::v1::server_error_response::Details;
use opamp::v1::{
    CustomCapabilities, RetryInfo, ServerErrorResponse, ServerErrorResponseType, ServerToAgent,
    ServerToAgentFlags,
};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::ws::{Kind, Parts};

/// What follows the uid in the answer to a heartbeat.
pub(crate) fn heartbeat_tail() -> Bytes {
    acknowledgement(Vec::new(), 0)
}

/// The answer to a heartbeat that is not answered by the connection's own task.
pub(crate) fn heartbeat(uid: Vec<u8>) -> Bytes {
    acknowledgement(uid, 0)
}

/// The agent is to report everything.
pub(crate) fn full_state_wanted(uid: &InstanceUid) -> Bytes {
    acknowledgement(uid.as_bytes().to_vec(), ServerToAgentFlags::ReportFullState as u64)
}

/// The agent's message makes no sense.
pub(crate) fn bad_request(uid: Vec<u8>, text: String) -> Bytes {
    error(uid, ServerErrorResponseType::BadRequest, text, None)
}

/// The message could not be stored; the agent is to come back after this long.
pub(crate) fn unavailable(uid: Vec<u8>, retry_after: Duration) -> Bytes {
    let nanoseconds = u64::try_from(retry_after.as_nanos()).unwrap_or(u64::MAX);
    let details = Details::RetryInfo(RetryInfo { retry_after_nanoseconds: nanoseconds });
    let text = "the server cannot store the message now".to_owned();
    error(uid, ServerErrorResponseType::Unavailable, text, Some(details))
}

/// The encoded field `ServerToAgent.custom_capabilities`; empty where there are none to name.
pub(crate) fn announcement(capabilities: &[String]) -> Bytes {
    let capabilities = capabilities.to_vec();
    let named = (!capabilities.is_empty()).then_some(CustomCapabilities { capabilities });
    ServerToAgent { custom_capabilities: named, ..Default::default() }.encode_to_vec().into()
}

/// A worker's reply with our custom capabilities in it. Errors and commands stand alone.
pub(crate) fn announcing(reply: Bytes, announcement: &Bytes) -> Bytes {
    /// Numbers in `ServerToAgent` of `error_response` and `command`.
    const ALONE: [u32; 2] = [2, 9];
    if announcement.is_empty() || has_any(&reply, &ALONE) {
        return reply;
    }
    // Protobuf fields may be concatenated.
    [&reply[..], announcement].concat().into()
}

/// Whether one of these fields is in a message, or it cannot be told.
fn has_any(mut message: &[u8], fields: &[u32]) -> bool {
    while !message.is_empty() {
        match decode_key(&mut message) {
            Ok((number, wire)) if !fields.contains(&number) => {
                if !skipped(number, wire, &mut message) {
                    return true;
                }
            }
            Ok(_) | Err(_) => return true,
        }
    }
    false
}

/// What is sent in place of a reply that exceeds the send limit: who it is for and its flags.
pub(crate) fn instead_of(oversize: &Bytes) -> Bytes {
    let whole = ServerToAgent::decode(oversize.clone()).unwrap_or_default();
    acknowledgement(whole.instance_uid, whole.flags)
}

fn acknowledgement(instance_uid: Vec<u8>, flags: u64) -> Bytes {
    let message = ServerToAgent {
        instance_uid,
        flags,
        capabilities: opamp::capability::SERVER,
        ..Default::default()
    };
    message.encode_to_vec().into()
}

fn error(
    instance_uid: Vec<u8>,
    kind: ServerErrorResponseType,
    text: String,
    details: Option<Details>,
) -> Bytes {
    let message = ServerToAgent {
        instance_uid,
        error_response: Some(ServerErrorResponse {
            r#type: kind.into(),
            error_message: text,
            details,
        }),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

/// What a worker's reply to an agent is, by the fields that are in it.
pub(crate) fn kind(reply: &[u8], uid: InstanceUid) -> Kind {
    /// Numbers in `ServerToAgent` of `instance_uid`, `flags` and `capabilities`.
    const PLAIN: [u32; 3] = [1, 6, 7];
    let (mut rest, mut offers) = (reply, Parts::NONE);
    while !rest.is_empty() {
        match decode_key(&mut rest) {
            Ok((number, wire)) if skipped(number, wire, &mut rest) => match Parts::of_field(number)
            {
                Some(part) => offers = offers.or(part),
                None if PLAIN.contains(&number) => {}
                // Something that may be there only once, or that this version does not know.
                None => return Kind::Unique,
            },
            Ok(_) | Err(_) => return Kind::Unique,
        }
    }
    match offers {
        Parts::NONE => Kind::Acknowledgement(uid),
        parts => Kind::Offering(uid, parts),
    }
}

/// What a message to an agent changes for its session here.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The agent is to report everything.
    pub(crate) wants_full_state: bool,
    /// The uid that it is to go by.
    pub(crate) new_uid: Option<InstanceUid>,
}

/// Reads a message to an agent. One that cannot be read changes nothing here.
pub(crate) fn said(message: &[u8]) -> Said {
    let message = ServerToAgent::decode(message).unwrap_or_default();
    let flag = ServerToAgentFlags::ReportFullState as u64;
    let given = message.agent_identification.unwrap_or_default().new_instance_uid;
    Said {
        wants_full_state: message.flags & flag != 0,
        new_uid: InstanceUid::try_from(&given[..]).ok(),
    }
}

/// What a message that answers nothing is. Nothing may take the place of what is more than offers.
pub(crate) fn pushed_kind(message: &[u8], uid: InstanceUid) -> Kind {
    match kind(message, uid) {
        Kind::Offering(uid, parts) => Kind::Offer(uid, parts),
        _ => Kind::Unique,
    }
}

fn skipped(number: u32, wire: WireType, rest: &mut &[u8]) -> bool {
    skip_field(wire, number, rest, DecodeContext::default()).is_ok()
}

/// The uid in a message that cannot be decoded as a whole, if the bytes up to it can.
pub(crate) fn salvage_uid(mut body: &[u8]) -> Vec<u8> {
    const UID_BYTES: usize = 16;
    while let Ok((number, wire)) = decode_key(&mut body) {
        if (number, wire) == (1, WireType::LengthDelimited) {
            return match decode_varint(&mut body) {
                Ok(16) if body.remaining() >= UID_BYTES => body[..UID_BYTES].to_vec(),
                _ => Vec::new(),
            };
        }
        if !skipped(number, wire, &mut body) {
            break;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use opamp::v1::AgentToServer;

    use super::*;

    #[test]
    fn an_error_carries_the_uid_and_nothing_else() {
        let reply =
            ServerToAgent::decode(unavailable(vec![7; 16], Duration::from_secs(30))).unwrap();
        assert_eq!(reply.instance_uid, [7; 16]);
        assert_eq!((reply.capabilities, reply.flags), (0, 0));
        let error = reply.error_response.unwrap();
        assert_eq!(error.r#type, 2);
        assert_eq!(
            error.details,
            Some(Details::RetryInfo(RetryInfo { retry_after_nanoseconds: 30_000_000_000 }))
        );
    }

    #[test]
    fn a_uid_is_found_before_the_damage() {
        let message =
            AgentToServer { instance_uid: vec![9; 16], sequence_num: 5, ..Default::default() };
        let mut bytes = message.encode_to_vec();
        bytes.extend_from_slice(&[0x1a, 0x7f]);
        assert!(AgentToServer::decode(&bytes[..]).is_err());
        assert_eq!(salvage_uid(&bytes), [9; 16]);
        assert_eq!(salvage_uid(&bytes[..10]), [0; 0]);
        assert_eq!(salvage_uid(&[0xff; 40]), [0; 0]);
    }

    #[test]
    fn an_oversize_reply_keeps_its_uid_and_flags() {
        let whole = ServerToAgent {
            instance_uid: vec![3; 16],
            flags: 1,
            command: Some(Default::default()),
            ..Default::default()
        };
        let small = instead_of(&whole.encode_to_vec().into());
        let small = ServerToAgent::decode(small).unwrap();
        assert_eq!((small.instance_uid, small.flags), (vec![3; 16], 1));
        assert_eq!(small.command, None);
    }

    #[test]
    fn our_capabilities_go_with_any_reply_that_may_hold_them() {
        let named = announcement(&["org.example.a".to_owned(), "org.example.b/v1".to_owned()]);
        let said = |reply: &ServerToAgent| {
            let reply = announcing(reply.encode_to_vec().into(), &named);
            let reply = ServerToAgent::decode(reply).unwrap();
            reply.custom_capabilities.map_or(0, |said| said.capabilities.len())
        };
        let plain = ServerToAgent { instance_uid: vec![3; 16], flags: 1, ..Default::default() };
        assert_eq!((said(&plain), said(&ServerToAgent::default())), (2, 2));
        let command = Some(Default::default());
        assert_eq!(said(&ServerToAgent { command, ..plain.clone() }), 0);
        let error_response = Some(Default::default());
        assert_eq!(said(&ServerToAgent { error_response, ..plain.clone() }), 0);
        let bytes = Bytes::from(plain.encode_to_vec());
        assert_eq!(announcing(bytes.clone(), &announcement(&[])), bytes);
    }

    #[test]
    fn replies_are_told_apart_by_what_is_in_them() {
        let uid = InstanceUid::from_bytes([3; 16]);
        let plain = ServerToAgent {
            instance_uid: vec![3; 16],
            flags: 1,
            capabilities: 7,
            ..Default::default()
        };
        let of = |reply: &ServerToAgent| kind(&reply.encode_to_vec(), uid);
        assert_eq!(of(&plain), Kind::Acknowledgement(uid));
        let remote_config = Some(Default::default());
        let offering = ServerToAgent { remote_config, ..plain.clone() };
        assert_eq!(of(&offering), Kind::Offering(uid, Parts::CONFIG));
        let connection_settings = Some(Default::default());
        let both = ServerToAgent { connection_settings, ..offering.clone() };
        assert_eq!(of(&both), Kind::Offering(uid, Parts::CONFIG.or(Parts::SETTINGS)));
        let command = Some(Default::default());
        assert_eq!(of(&ServerToAgent { command, ..offering }), Kind::Unique);
        let mut unknown = plain.encode_to_vec();
        unknown.extend_from_slice(&[0xf8, 0x7f, 1]);
        assert_eq!(kind(&unknown, uid), Kind::Unique);
        assert_eq!(kind(&[0x1a, 0x7f], uid), Kind::Unique, "broken off");
    }
}
