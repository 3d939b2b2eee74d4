//! The WebSocket message format: a varint header that is 0, then protobuf (specification,
//! "WebSocket Message Format").

use bytes::BufMut as _;
use prost::Message;

/// Why a WebSocket message is not an OpAMP message. All of these are the peer's fault.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The header is missing or its varint does not end within 10 bytes.
    #[error("message header is not a complete varint")]
    Header,
    /// The header is a number other than 0.
    #[error("message header must be 0, got {0}")]
    UnknownHeader(u64),
    /// The rest is not the expected protobuf message.
    #[error("message is not valid protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
}

/// Strips the header off a WebSocket message. Any varint spelling of 0 is taken.
pub fn body(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut rest = message;
    let header = prost::encoding::decode_varint(&mut rest).map_err(|_| Malformed::Header)?;
    if header != 0 {
        return Err(Malformed::UnknownHeader(header));
    }
    Ok(rest)
}

/// Decodes a WebSocket message.
pub fn decode<M: Message + Default>(message: &[u8]) -> Result<M, Malformed> {
    Ok(M::decode(body(message)?)?)
}

/// Encodes a WebSocket message, header included.
pub fn encode(message: &impl Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + message.encoded_len());
    out.put_u8(0);
    message.encode(&mut out).expect("a Vec grows to what the message needs");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::AgentToServer;

    #[test]
    fn header_is_one_zero_byte_and_other_zeros_are_read() {
        let message = AgentToServer { sequence_num: 7, ..Default::default() };
        let bytes = encode(&message);
        assert_eq!(bytes[0], 0);
        assert_eq!(decode(&bytes), Ok(message.clone()));
        let two_byte_zero = [&[0x80, 0x00], &bytes[1..]].concat();
        assert_eq!(decode(&two_byte_zero), Ok(message));
    }

    #[test]
    fn a_bare_header_is_an_empty_message() {
        assert_eq!(decode(&[0]), Ok(AgentToServer::default()));
    }

    #[test]
    fn other_headers_are_malformed() {
        assert_eq!(body(&[1, 8, 1]), Err(Malformed::UnknownHeader(1)));
        assert_eq!(body(&[]), Err(Malformed::Header));
        assert_eq!(body(&[0x80; 10]), Err(Malformed::Header));
        assert!(matches!(decode::<AgentToServer>(&[0, 0x0a, 0x10]), Err(Malformed::Protobuf(_))));
    }
}
