//! The kinds of offers that a ServerToAgent may carry. Each has decisions of its own, so a newer
//! one makes nothing but its own kind out of date.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{DecodeContext, decode_key, skip_field};

/// Numbers in `ServerToAgent` of `remote_config`, `connection_settings` and `packages_available`.
const FIELDS: [u32; Parts::COUNT] = [3, 4, 5];

/// Some of the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parts(u8);

/// The decision behind each part; 0 is no decision, and nothing is known of its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Decisions(pub(crate) [u64; Parts::COUNT]);

impl Parts {
    const COUNT: usize = 3;
    /// Nothing is offered.
    pub(crate) const NONE: Self = Self(0);
    /// A remote config alone.
    #[cfg(test)]
    pub(crate) const CONFIG: Self = Self(1);
    /// Connection settings alone.
    #[cfg(test)]
    pub(crate) const SETTINGS: Self = Self(2);

    /// The kind that this field of ServerToAgent offers.
    pub(crate) fn of_field(number: u32) -> Option<Self> {
        FIELDS.iter().position(|field| *field == number).map(Self::at)
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// A message without these parts. One that cannot be read stays as it is: nobody but us wrote
    /// it.
    pub(crate) fn strip(self, message: &Bytes) -> Bytes {
        let mut kept = BytesMut::with_capacity(message.len());
        let mut rest = &message[..];
        while !rest.is_empty() {
            let field = rest;
            let Ok((number, wire)) = decode_key(&mut rest) else { return message.clone() };
            if skip_field(wire, number, &mut rest, DecodeContext::default()).is_err() {
                return message.clone();
            }
            if Self::of_field(number).is_none_or(|part| part.and(self).is_empty()) {
                kept.put_slice(&field[..field.len() - rest.len()]);
            }
        }
        kept.freeze()
    }

    fn at(index: usize) -> Self {
        Self(1 << index)
    }
}

impl Decisions {
    /// Those of `parts` whose decision is older than the one noted here. The others are noted.
    pub(crate) fn outdate(&mut self, parts: Parts, offered: Self) -> Parts {
        let mut outdated = Parts::NONE;
        for (index, (noted, offered)) in self.0.iter_mut().zip(offered.0).enumerate() {
            let part = Parts::at(index).and(parts);
            if part.is_empty() || offered == 0 {
                continue;
            }
            if offered < *noted {
                outdated = outdated.or(part);
            }
            *noted = offered.max(*noted);
        }
        outdated
    }
}

#[cfg(test)]
mod tests {
    use opamp::Message as _;
    use opamp::v1::{AgentRemoteConfig, ConnectionSettingsOffers, ServerToAgent};

    use super::*;

    #[test]
    fn a_part_is_taken_out_and_the_rest_stays() {
        let whole = ServerToAgent {
            flags: 1,
            remote_config: Some(AgentRemoteConfig { config_hash: vec![7; 300], config: None }),
            connection_settings: Some(ConnectionSettingsOffers {
                hash: vec![8; 32],
                ..Default::default()
            }),
            ..Default::default()
        };
        let bytes = Bytes::from(whole.encode_to_vec());
        let stripped = |parts: Parts| ServerToAgent::decode(parts.strip(&bytes)).unwrap();
        assert_eq!(stripped(Parts::CONFIG), ServerToAgent { remote_config: None, ..whole.clone() });
        let neither =
            ServerToAgent { remote_config: None, connection_settings: None, ..whole.clone() };
        assert_eq!(stripped(Parts::CONFIG.or(Parts::SETTINGS)), neither);
        assert_eq!(Parts::NONE.strip(&bytes), bytes);
        let broken = bytes.slice(..bytes.len() - 1);
        assert_eq!(Parts::CONFIG.strip(&broken), broken);
    }

    #[test]
    fn a_decision_outdates_its_own_kind_alone() {
        let (both, mut noted) = (Parts::CONFIG.or(Parts::SETTINGS), Decisions::default());
        assert_eq!(noted.outdate(both, Decisions([5, 9, 0])), Parts::NONE);
        assert_eq!(noted.outdate(both, Decisions([4, 9, 0])), Parts::CONFIG, "9 came again");
        assert_eq!(noted.outdate(both, Decisions([6, 8, 0])), Parts::SETTINGS);
        assert_eq!(noted.outdate(Parts::CONFIG, Decisions([5, 1, 0])), Parts::CONFIG);
        assert_eq!(noted.outdate(both, Decisions([0, 0, 0])), Parts::NONE, "of unknown age");
        assert_eq!(noted, Decisions([6, 9, 0]));
    }
}
