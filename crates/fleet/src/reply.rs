//! ServerToAgent, put together from a reply and bodies that are encoded once and shared.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use model::ConfigHash;
use model::packages::PackagesHash;
use model::session::Reply;
use opamp::v1::server_error_response::Details;
use opamp::v1::{
    AgentIdentification, ConnectionSettingsOffers, PackageAvailable, PackagesAvailable, RetryInfo,
    ServerErrorResponse, ServerErrorResponseType, ServerToAgent,
};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Field number of `ServerToAgent.remote_config`.
const REMOTE_CONFIG: u32 = 3;
/// Field numbers of `AgentRemoteConfig`.
const CONFIG: u32 = 1;
const CONFIG_HASH: u32 = 2;

/// The encoded field `ServerToAgent.remote_config` for a config whose files are `body`, an
/// encoded AgentConfigMap. Protobuf fields may be concatenated, so the body is never decoded.
pub(crate) fn remote_config(hash: &ConfigHash, body: &Bytes) -> Bytes {
    let inner = field_len(CONFIG, body.len()) + field_len(CONFIG_HASH, hash.0.len());
    let mut out = BytesMut::with_capacity(field_len(REMOTE_CONFIG, inner));
    start_field(&mut out, REMOTE_CONFIG, inner);
    start_field(&mut out, CONFIG, body.len());
    out.put_slice(body);
    start_field(&mut out, CONFIG_HASH, hash.0.len());
    out.put_slice(&hash.0);
    out.freeze()
}

/// The encoded field `ServerToAgent.packages_available` for these packages.
pub(crate) fn packages_available(
    packages: BTreeMap<String, PackageAvailable>,
    hash: &PackagesHash,
) -> Bytes {
    let available = PackagesAvailable { packages, all_packages_hash: hash.0.to_vec() };
    let message = ServerToAgent { packages_available: Some(available), ..Default::default() };
    message.encode_to_vec().into()
}

/// The encoded field `ServerToAgent.connection_settings` with these offers.
pub(crate) fn connection_settings(offers: ConnectionSettingsOffers) -> Bytes {
    let message = ServerToAgent { connection_settings: Some(offers), ..Default::default() };
    message.encode_to_vec().into()
}

/// The encoded ServerToAgent for one agent. `offers` are encoded fields of it.
pub(crate) fn message(instance_uid: &[u8], reply: &Reply, offers: &Bytes) -> Bytes {
    if let Some(command) = &reply.command {
        return commanded(instance_uid, command);
    }
    let message = ServerToAgent {
        instance_uid: instance_uid.to_vec(),
        flags: reply.flags,
        capabilities: opamp::capability::SERVER,
        agent_identification: reply
            .new_instance_uid
            .map(|uid| AgentIdentification { new_instance_uid: uid.as_bytes().to_vec() }),
        ..Default::default()
    };
    let mut out = BytesMut::with_capacity(message.encoded_len() + offers.len());
    message.encode(&mut out).expect("a buffer of the encoded length takes the message");
    out.put_slice(offers);
    out.freeze()
}

/// A command for one agent, which is told nothing else with it.
fn commanded(instance_uid: &[u8], command: &[u8]) -> Bytes {
    let to = ServerToAgent { instance_uid: instance_uid.to_vec(), ..Default::default() };
    let mut out = BytesMut::with_capacity(to.encoded_len() + command.len());
    to.encode(&mut out).expect("a buffer of the encoded length takes the message");
    out.put_slice(command);
    out.freeze()
}

/// The agent's message was not worked on, and will not be for so long.
pub(crate) fn put_off(instance_uid: &[u8], pause: Duration) -> Bytes {
    let nanoseconds = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
    let retry = RetryInfo { retry_after_nanoseconds: nanoseconds };
    let message = ServerToAgent {
        instance_uid: instance_uid.to_vec(),
        error_response: Some(ServerErrorResponse {
            r#type: ServerErrorResponseType::Unavailable.into(),
            error_message: "the server cannot work on this agent's messages now".to_owned(),
            details: Some(Details::RetryInfo(retry)),
        }),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

/// The agent is not heard, and why.
pub(crate) fn refused(instance_uid: &[u8], reason: &str) -> Bytes {
    let message = ServerToAgent {
        instance_uid: instance_uid.to_vec(),
        error_response: Some(ServerErrorResponse {
            r#type: ServerErrorResponseType::BadRequest.into(),
            error_message: reason.to_owned(),
            details: None,
        }),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

/// Offers to push, for any agent: the gateway adds each one's uid.
pub(crate) fn push(offers: &Bytes) -> Bytes {
    message(&[], &Reply::default(), offers)
}

fn start_field(out: &mut BytesMut, number: u32, length: usize) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn field_len(number: u32, length: usize) -> usize {
    key_len(number) + encoded_len_varint(length as u64) + length
}

#[cfg(test)]
mod tests {
    use opamp::v1::{AgentConfigFile, AgentConfigMap};

    use super::*;

    #[test]
    fn a_shared_offer_decodes_as_if_written_in_place() {
        let file = AgentConfigFile { body: vec![7; 300].into(), ..Default::default() };
        let config = AgentConfigMap { config_map: [(String::new(), file)].into() };
        let hash = ConfigHash::of(&config.config_map);
        let offer = remote_config(&hash, &config.encode_to_vec().into());
        let reply = Reply { flags: 1, ..Default::default() };
        let decoded = ServerToAgent::decode(message(&[1; 16], &reply, &offer)).unwrap();
        assert_eq!(decoded.instance_uid, [1; 16]);
        assert_eq!(decoded.flags, 1);
        let remote = decoded.remote_config.unwrap();
        assert_eq!(remote.config, Some(config));
        assert_eq!(remote.config_hash, hash.0);
        assert!(ServerToAgent::decode(push(&offer)).unwrap().instance_uid.is_empty());
    }
}
