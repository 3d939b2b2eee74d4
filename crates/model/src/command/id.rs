//! Names of commands.

use std::fmt;
use std::str::FromStr;

use opamp::InstanceUid;
use sha2::{Digest as _, Sha256};

/// Names a command: a UUID. Made of the caller's own id for the request where there is one, so that
/// whoever repeats a request finds the command that it made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub [u8; 16]);

/// SHA-256 over a request: whether a repeated one is the same.
pub fn digest(request: &[u8]) -> [u8; 32] {
    Sha256::digest(request).into()
}

impl CommandId {
    /// The id that belongs to a request's id: a UUIDv8 of its SHA-256.
    pub fn of_request(request_id: &str) -> Self {
        let hash = Sha256::digest(request_id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// A fresh one.
    pub fn fresh(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(*InstanceUid::v7(unix_ms, random).as_bytes())
    }

    /// The id in these bytes, if there are 16.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        InstanceUid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CommandId {
    type Err = opamp::InvalidUid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<InstanceUid>().map(|uid| Self(*uid.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_command_and_ids_are_read_back() {
        let id = CommandId::of_request("a");
        assert_eq!(id, CommandId::of_request("a"));
        assert_ne!(id, CommandId::of_request("b"));
        let text = id.to_string();
        assert_eq!((text.as_bytes()[14], text.parse()), (b'8', Ok(id)), "{text}");
        let fresh = CommandId::fresh(1_700_000_000_000, [3; 10]);
        assert_eq!(fresh.to_string().as_bytes()[14], b'7');
        assert_eq!(CommandId::from_slice(&fresh.0), Some(fresh));
        assert_eq!(CommandId::from_slice(&[1; 15]), None);
    }
}
