//! Table `labels`: instance uid → the labels operators gave it. Their version orders them.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::Timestamp;

use super::{Loaded, read, write};
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.AgentLabels`.
const FIELDS: u32 = 3;

/// An agent's labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentLabels {
    /// Values by key.
    pub labels: BTreeMap<String, String>,
    /// When they were last changed.
    pub updated: Timestamp,
}

/// The bytes of an agent's labels.
pub fn encode(labels: &AgentLabels, unknown: &Bytes) -> Bytes {
    let message = v1::AgentLabels {
        format: FORMAT,
        labels: labels.labels.clone(),
        updated_unix_ms: labels.updated.0,
    };
    write(&message, unknown)
}

/// The labels in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<AgentLabels>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::AgentLabels| m.format, FORMAT)?;
    let updated = Timestamp(message.updated_unix_ms);
    Ok(Loaded { value: AgentLabels { labels: message.labels, updated }, unknown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let labels = [("env".to_owned(), "prod".to_owned())].into();
        let value = AgentLabels { labels, updated: Timestamp(5) };
        let key = Key { table: crate::Table::Labels, id: Bytes::from_static(&[1; 16]) };
        let loaded = decode(&key, &encode(&value, &Bytes::new())).unwrap();
        assert_eq!(loaded.value, value);
        assert!(decode(&key, &Bytes::from_static(b"nonsense")).is_err());
    }
}
