//! The two keys of the opening handshake (RFC 6455, section 1.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server answers in `Sec-WebSocket-Accept` to a client's `Sec-WebSocket-Key`.
pub fn accept_key(request_key: &str) -> String {
    let digest = Sha1::new().chain_update(request_key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// Whether this is a `Sec-WebSocket-Key`: 16 bytes in base64.
pub fn is_request_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 16)
}

/// What a client sends in `Sec-WebSocket-Key`, made of randomness the caller supplies.
pub fn request_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_key_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_key_is_24_characters() {
        assert_eq!(request_key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }
}
