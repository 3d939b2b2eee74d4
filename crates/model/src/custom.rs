//! Custom messages and capabilities: words between agents and whoever knows them. Muster carries
//! them, and never looks into what they say.

use opamp::v1::CustomMessage;
use sha2::{Digest as _, Sha256};

use crate::Timestamp;
use crate::hash;
use crate::record::CustomMessages;

/// Bytes of one message's data that are kept: it is in the event log with its agent's summary, and
/// both have to fit into one message of the bus (1 MiB). Of longer ones the size is kept.
pub const DATA_BYTES_MAX: usize = 256 << 10;

/// Bytes of data of one agent that are kept in a second in the long run, and at once after a rest:
/// the event log is everybody's, and what fills it pushes others out. Of more the size is kept.
pub const DATA_BYTES_PER_SECOND: u64 = 64 << 10;
/// See [`DATA_BYTES_PER_SECOND`].
pub const DATA_BYTES_AT_ONCE: u64 = 4 << 20;

/// Custom capabilities of an agent that its summary names, and what lists can be asked for.
pub const CAPABILITIES_MAX: usize = 64;
/// Bytes of one of them; longer ones are in the record only.
pub const CAPABILITY_BYTES_MAX: usize = 256;

/// What an agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The capability, as it came.
    pub capability: String,
    /// What kind of message of that capability it is.
    pub kind: String,
    /// Its data; empty if they are more than is kept.
    pub data: Vec<u8>,
    /// How many bytes of data there were.
    pub size: u64,
}

impl From<&CustomMessage> for Received {
    fn from(message: &CustomMessage) -> Self {
        let data = Some(&message.data).filter(|data| data.len() <= DATA_BYTES_MAX);
        Self {
            capability: message.capability.clone(),
            kind: message.r#type.clone(),
            data: data.cloned().unwrap_or_default(),
            size: message.data.len() as u64,
        }
    }
}

impl Received {
    /// What is kept of a message, by what was kept of the agent's messages lately.
    pub(crate) fn kept(
        message: &CustomMessage,
        before: &mut CustomMessages,
        now: Timestamp,
    ) -> Self {
        let mut received = Self::from(message);
        let cost = (received.data.len() as u64) * 1_000 / DATA_BYTES_PER_SECOND;
        let latest = now.0 + DATA_BYTES_AT_ONCE * 1_000 / DATA_BYTES_PER_SECOND;
        // A clock that was ahead for a while must not silence it for as long.
        let spent_until = before.spent_until.0.clamp(now.0, latest) + cost;
        if spent_until > latest {
            received.data = Vec::new();
        } else if cost > 0 {
            before.spent_until = Timestamp(spent_until);
        }
        received
    }

    /// Whether its data were kept.
    pub fn is_whole(&self) -> bool {
        self.size == self.data.len() as u64
    }
}

/// Names a message's content, so that a repeated one is known.
pub(crate) fn digest(message: &CustomMessage) -> u64 {
    let mut hasher = Sha256::new();
    for field in [message.capability.as_bytes(), message.r#type.as_bytes(), &message.data[..]] {
        hash::field(&mut hasher, field);
    }
    let hash = hasher.finalize();
    hash.iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}

/// Checks a name that we announce ourselves (rule CUST-03): a reversed domain name, a dot, a short
/// name, and maybe a slash and a version. Agents' own names are taken as they are.
pub fn check_capability(name: &str) -> Result<(), String> {
    let (path, version) = match name.split_once('/') {
        Some((path, version)) => (path, Some(version)),
        None => (name, None),
    };
    let word = |word: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !word.is_empty() && word.bytes().all(inside)
    };
    let version_is_fine = version.is_none_or(|version| version.split('.').all(word));
    if name.len() > CAPABILITY_BYTES_MAX {
        return Err(format!("a capability's name has at most {CAPABILITY_BYTES_MAX} bytes"));
    }
    match path.split('.').count() >= 3 && path.split('.').all(word) && version_is_fine {
        true => Ok(()),
        false => Err(format!("{name:?} is not like com.example.name or com.example.name/v1")),
    }
}

/// What a summary names of a list of capabilities.
pub(crate) fn summarized(capabilities: &[String]) -> Vec<String> {
    let short = capabilities.iter().filter(|name| name.len() <= CAPABILITY_BYTES_MAX);
    short.take(CAPABILITIES_MAX).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_names_are_reversed_domain_names() {
        for fine in ["io.opentelemetry.echo", "com.x.y/v1", "com.x.y/v1.2", "a.b.c-d_e/2"] {
            assert_eq!(check_capability(fine), Ok(()), "{fine}");
        }
        let long = format!("a.b.{}", "c".repeat(CAPABILITY_BYTES_MAX));
        for bad in
            ["", "x", "a.b", "a..c", ".a.b", "a.b.c/", "a.b.c/v1/2", "a.b. c", "ä.b.c", &long]
        {
            let reason = check_capability(bad).unwrap_err();
            assert!(reason.contains("com.example") || reason.contains("bytes"), "{reason}");
        }
    }

    #[test]
    fn data_are_kept_whole_or_not_at_all() {
        let of = |length| {
            let data = vec![7; length];
            Received::from(&CustomMessage { data, ..Default::default() })
        };
        assert!(of(0).is_whole() && of(DATA_BYTES_MAX).is_whole());
        let long = of(DATA_BYTES_MAX + 1);
        assert!(!long.is_whole());
        assert_eq!((long.data.len(), long.size), (0, DATA_BYTES_MAX as u64 + 1));
    }

    #[test]
    fn an_agent_has_its_share_of_the_log() {
        let message = CustomMessage { data: vec![7; DATA_BYTES_MAX], ..Default::default() };
        let mut before = CustomMessages::default();
        let mut kept = |now| Received::kept(&message, &mut before, Timestamp(now)).is_whole();
        let at_once = (0..100).filter(|_| kept(5_000)).count();
        assert_eq!(at_once as u64, DATA_BYTES_AT_ONCE / DATA_BYTES_MAX as u64);
        let later = (1..=600).filter(|tenth| kept(5_000 + tenth * 100)).count();
        assert_eq!(later as u64, 60 * DATA_BYTES_PER_SECOND / DATA_BYTES_MAX as u64);
        let mut kept = |data: usize| {
            let message = CustomMessage { data: vec![7; data], ..Default::default() };
            Received::kept(&message, &mut before, Timestamp(65_001)).data.len()
        };
        assert_eq!((kept(DATA_BYTES_MAX), kept(60)), (0, 60), "short ones go on");
    }

    #[test]
    fn a_digest_tells_where_one_field_ends() {
        let message = |capability: &str, kind: &str, data: &[u8]| CustomMessage {
            capability: capability.to_owned(),
            r#type: kind.to_owned(),
            data: data.to_vec(),
        };
        let one = digest(&message("ab", "c", b"d"));
        assert_eq!(one, digest(&message("ab", "c", b"d")));
        for other in [message("a", "bc", b"d"), message("ab", "cd", b""), message("ab", "c", b"e")]
        {
            assert_ne!(one, digest(&other));
        }
    }

    #[test]
    fn a_summary_names_so_many() {
        let mut names = vec!["x".repeat(CAPABILITY_BYTES_MAX + 1)];
        names.extend((0..CAPABILITIES_MAX + 5).map(|number| format!("a.b.c{number}")));
        let named = summarized(&names);
        assert_eq!((named.len(), &*named[0]), (CAPABILITIES_MAX, "a.b.c0"));
    }
}
