//! An agent's message as far as the gateway needs to understand it. Pure but for the budget.

use bytes::Bytes;
use opamp::v1::{AgentToServer, AgentToServerFlags};
use opamp::{InstanceUid, Message as _};

use crate::budget::Charge;
use crate::{Limits, bounds, reply};

/// A message that was decoded and is within bounds.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Whose session it belongs to. All zero if the agent has no uid and asks for one.
    pub(crate) uid: InstanceUid,
    /// The uid as sent: 16 bytes, or none.
    pub(crate) anonymous: bool,
    pub(crate) sequence_num: u64,
    pub(crate) capabilities: u64,
    /// Nothing in it but uid, number and capabilities.
    pub(crate) bare: bool,
    /// The agent describes itself, as it does in a full report alone.
    pub(crate) describes: bool,
    /// The agent says goodbye.
    pub(crate) disconnects: bool,
    /// The AgentToServer as it came.
    pub(crate) body: Bytes,
    /// Its share of the process's budget.
    pub(crate) _charge: Charge,
}

/// Why a message is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The uid to answer to, if there is one.
    pub(crate) uid: Vec<u8>,
    /// Said to the agent.
    pub(crate) text: String,
    /// The bytes are no AgentToServer at all.
    pub(crate) undecodable: bool,
}

impl Incoming {
    /// Understands an encoded AgentToServer.
    pub(crate) fn read(body: Bytes, charge: Charge, limits: &Limits) -> Result<Self, Refused> {
        let message = AgentToServer::decode(body.clone()).map_err(|error| Refused {
            uid: reply::salvage_uid(&body),
            text: format!("message is not valid protobuf: {error}"),
            undecodable: true,
        })?;
        let refused =
            |text: String| Refused { uid: message.instance_uid.clone(), text, undecodable: false };
        let asks_for_uid = message.flags & AgentToServerFlags::RequestInstanceUid as u64 != 0;
        let anonymous = message.instance_uid.is_empty() && asks_for_uid;
        let uid = if anonymous {
            InstanceUid::from_bytes([0; 16])
        } else {
            InstanceUid::try_from(&message.instance_uid[..])
                .map_err(|error| refused(error.to_string()))?
        };
        bounds::check(&message, limits).map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            uid,
            anonymous,
            sequence_num: message.sequence_num,
            capabilities: message.capabilities,
            bare: body.len() == bare_bytes(&message),
            describes: message.agent_description.is_some(),
            disconnects: message.agent_disconnect.is_some(),
            body,
            _charge: charge,
        })
    }

    /// The uid to answer to.
    pub(crate) fn reply_uid(&self) -> Vec<u8> {
        match self.anonymous {
            true => Vec::new(),
            false => self.uid.as_bytes().to_vec(),
        }
    }
}

/// Encoded size of a message with only uid, number and capabilities. One that has this size has
/// nothing else in it, no unknown field either.
fn bare_bytes(message: &AgentToServer) -> usize {
    let length = |number, value: u64| match value {
        0 => 0,
        value => prost::encoding::uint64::encoded_len(number, &value),
    };
    prost::encoding::bytes::encoded_len(1, &message.instance_uid)
        + length(2, message.sequence_num)
        + length(4, message.capabilities)
}

#[cfg(test)]
mod tests {
    use opamp::v1::AgentDisconnect;

    use super::*;
    use crate::budget::Budget;

    fn read(bytes: Vec<u8>) -> Result<Incoming, Refused> {
        Incoming::read(bytes.into(), Budget::new(1).open(), &Limits::default())
    }

    fn heartbeat() -> AgentToServer {
        AgentToServer {
            instance_uid: vec![1; 16],
            sequence_num: 300,
            capabilities: 0x3007,
            ..Default::default()
        }
    }

    #[test]
    fn only_a_message_with_nothing_else_is_bare() {
        assert!(read(heartbeat().encode_to_vec()).unwrap().bare);
        let mut first = heartbeat();
        first.sequence_num = 0;
        first.capabilities = 0;
        assert!(read(first.encode_to_vec()).unwrap().bare);
        let mut flagged = heartbeat();
        flagged.flags = 1;
        assert!(!read(flagged.encode_to_vec()).unwrap().bare);
        let mut goodbye = heartbeat();
        goodbye.agent_disconnect = Some(AgentDisconnect {});
        let goodbye = read(goodbye.encode_to_vec()).unwrap();
        assert!(!goodbye.bare && goodbye.disconnects);
        let mut unknown = heartbeat().encode_to_vec();
        unknown.extend_from_slice(&[0xf8, 0x7f, 1]);
        assert!(!read(unknown).unwrap().bare);
    }

    #[test]
    fn a_uid_has_16_bytes_unless_it_is_asked_for() {
        for length in [0, 15, 17, 26] {
            let mut message = heartbeat();
            message.instance_uid = vec![1; length];
            let refused = read(message.encode_to_vec()).unwrap_err();
            assert!(!refused.undecodable);
            assert!(refused.text.contains(&length.to_string()));
        }
        let mut asking = heartbeat();
        asking.instance_uid = Vec::new();
        asking.flags = AgentToServerFlags::RequestInstanceUid as u64;
        let asking = read(asking.encode_to_vec()).unwrap();
        assert!(asking.anonymous && asking.reply_uid().is_empty());
    }
}
