//! Names of keys. Stored: never changed under the same layout number.

use model::ConfigHash;

use crate::{Error, Table};

/// The keys of one fleet.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    fleet: String,
}

impl Keys {
    /// Keys under this prefix, which must not upset the hash tag.
    pub(super) fn new(fleet: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if fleet.is_empty() || !fleet.chars().all(allowed) {
            return Err(Error::Unavailable(format!(
                "fleet name {fleet:?}: only letters, digits, '-', '_' and '.' make a key"
            )));
        }
        Ok(Self { fleet: fleet.to_owned() })
    }

    /// Hash of values: id → version and value.
    pub(super) fn values(&self, table: Table, shard: u8) -> String {
        format!("{{{}:{shard:02}}}:v1:{}", self.fleet, table.name())
    }

    /// Hash of what is not settled: id → version and events.
    pub(super) fn outbox(&self, table: Table, shard: u8) -> String {
        format!("{}:outbox", self.values(table, shard))
    }

    /// Hash of what is known of a shard as a whole.
    pub(super) fn generation(&self, shard: u8) -> String {
        format!("{{{}:{shard:02}}}:v1:generation", self.fleet)
    }

    /// A body.
    pub(super) fn blob(&self, hash: &ConfigHash) -> String {
        format!("{}:v1:blob:{hash}", self.fleet)
    }

    /// Hash of what a holder saw: uid → presence.
    pub(super) fn presence(&self, holder: &str) -> String {
        format!("{}:v1:presence:{holder}", self.fleet)
    }

    /// Written to see whether writing works.
    pub(super) fn probe(&self) -> String {
        format!("{}:v1:probe", self.fleet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_shares_one_hash_tag() {
        let keys = Keys::new("prod").unwrap();
        assert_eq!(keys.values(Table::Agents, 7), "{prod:07}:v1:agents");
        assert_eq!(keys.outbox(Table::Agents, 7), "{prod:07}:v1:agents:outbox");
        assert!(Keys::new("a}b").is_err() && Keys::new("").is_err());
    }
}
