//! The 16 bytes that name an agent instance.

use std::fmt;
use std::str::FromStr;

/// Identity of one running agent instance: 16 opaque bytes, whatever UUID version or none
/// (specification, "AgentToServer.instance_uid"). Shown as canonical UUID text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceUid([u8; 16]);

/// The bytes or the text are no instance uid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUid {
    /// Wrong number of bytes.
    #[error("instance_uid must be 16 bytes, got {0}")]
    Length(usize),
    /// Not a UUID in text form.
    #[error("not a UUID: {0:?}")]
    Text(String),
}

impl InstanceUid {
    /// The uid made of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they travel.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A UUIDv7 made of a time and randomness the caller supplies.
    pub fn v7(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().into_bytes())
    }
}

impl TryFrom<&[u8]> for InstanceUid {
    type Error = InvalidUid;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidUid> {
        bytes.try_into().map(Self).map_err(|_| InvalidUid::Length(bytes.len()))
    }
}

impl FromStr for InstanceUid {
    type Err = InvalidUid;

    fn from_str(text: &str) -> Result<Self, InvalidUid> {
        uuid::Uuid::try_parse(text)
            .map(|uuid| Self(uuid.into_bytes()))
            .map_err(|_| InvalidUid::Text(text.chars().take(64).collect()))
    }
}

impl fmt::Display for InstanceUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for InstanceUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let uid = InstanceUid::v7(1_700_000_000_000, [7; 10]);
        assert_eq!(uid.to_string().parse(), Ok(uid));
        assert_eq!(InstanceUid::try_from(&uid.as_bytes()[..]), Ok(uid));
        assert_eq!(uid.as_bytes()[6] >> 4, 7, "version nibble");
        assert_eq!(uid.as_bytes()[8] >> 6, 0b10, "variant bits");
    }

    #[test]
    fn other_lengths_are_named() {
        for length in [0, 15, 17, 26] {
            let bytes = vec![1; length];
            assert_eq!(InstanceUid::try_from(&bytes[..]), Err(InvalidUid::Length(length)));
        }
        assert!("not-a-uuid".parse::<InstanceUid>().is_err());
    }
}
