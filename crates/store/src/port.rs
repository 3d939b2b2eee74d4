//! The port: versioned values under keys, with an outbox beside them. Backends implement it and
//! one contract suite holds them to it. [`Memory`](crate::Memory) is the executable specification.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use model::components::ListHash;
use model::{ConfigHash, Timestamp};
use opamp::InstanceUid;

use crate::Error;

/// Shards every table is spread over. Fixed for ever: keys carry it.
pub const SHARDS: u8 = 64;

/// Compare-and-set on single keys, many at a time; blobs by hash; presence.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads values, in the order asked. One round trip.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error>;

    /// Writes values, in the order given, each only if its key still has the version expected.
    /// Each write is atomic with its events; the batch is not. One round trip and one flush to
    /// disk for all. When it returns, what it reports written is as durable as the backend is.
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error>;

    /// Forgets the events of keys that still have these versions, and the keys themselves if they
    /// were deleted: the log has them.
    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error>;

    /// Keys of a shard whose events are not settled, with their versions.
    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error>;

    /// Reads a shard of a table page by page, in any order; what is written meanwhile may or may
    /// not be seen, what stays is seen at least once. Deleted keys are left out.
    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error>;

    /// Keeps a body under its hash, for ever.
    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error>;

    /// The body of a hash.
    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error>;

    /// Notes agents that spoke, under the name of who says so. One command for all.
    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error>;

    /// What holders last said of agents, in the order asked.
    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error>;

    /// Forgets what holders said of agents.
    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error>;

    /// Whether the store answers and takes writes. Finds out, too, what became of its shards.
    async fn ready(&self) -> Result<(), Error>;

    /// The generation of each shard, as far as is known here. A commit that meets another one
    /// conflicts and writes nothing; from then on the new one is known.
    fn generations(&self) -> Generations;
}

/// When a shard's values began, in milliseconds since the Unix epoch. A younger generation than
/// the one known means that the shard was emptied or set back: what was read or written before
/// may be gone. Each is younger than the one before, whatever the clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// One that begins now.
    #[expect(clippy::disallowed_methods, reason = "a backend's own matter: no seam reaches here")]
    pub(crate) fn of_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The generation of every shard.
pub type Generations = [Generation; SHARDS as usize];

/// What kind of value a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Agent records by instance uid.
    Agents,
    /// Configs by name.
    Configs,
    /// The assignments, one value.
    Intent,
    /// Operators' labels by instance uid.
    Labels,
    /// Who does what one process at a time should do, by name.
    Leases,
    /// Values that could not be read, for somebody to look at.
    Quarantine,
    /// Commands by id and part.
    Commands,
    /// Lists of components, and what agents call them.
    Components,
    /// Connection settings by name, and their sealed content.
    Settings,
    /// Tokens that enroll agents, by name.
    EnrollmentTokens,
    /// What was issued to agents, by instance uid.
    Credentials,
    /// What of that is good no more, by instance uid.
    Revocations,
    /// What the fleet signs with.
    Authority,
    /// Versions of packages, by package and version.
    Packages,
    /// Sets of packages, by name.
    PackageSets,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 15] = [
        Table::Agents,
        Table::Configs,
        Table::Intent,
        Table::Labels,
        Table::Leases,
        Table::Quarantine,
        Table::Commands,
        Table::Components,
        Table::Settings,
        Table::EnrollmentTokens,
        Table::Credentials,
        Table::Revocations,
        Table::Authority,
        Table::Packages,
        Table::PackageSets,
    ];

    /// Its name in keys. Stored: never changed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Configs => "configs",
            Self::Intent => "intent",
            Self::Labels => "labels",
            Self::Leases => "leases",
            Self::Quarantine => "quarantine",
            Self::Commands => "commands",
            Self::Components => "components",
            Self::Settings => "settings",
            Self::EnrollmentTokens => "enrollment_tokens",
            Self::Credentials => "credentials",
            Self::Revocations => "revocations",
            Self::Authority => "authority",
            Self::Packages => "packages",
            Self::PackageSets => "package_sets",
        }
    }
}

/// Names one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What kind of value.
    pub table: Table,
    /// Which one.
    pub id: Bytes,
}

impl Key {
    /// The key of an agent's record.
    pub fn agent(uid: &InstanceUid) -> Self {
        Self { table: Table::Agents, id: Bytes::copy_from_slice(uid.as_bytes()) }
    }

    /// The key of a config.
    pub fn config(name: &str) -> Self {
        Self { table: Table::Configs, id: Bytes::copy_from_slice(name.as_bytes()) }
    }

    /// The key of an agent's labels.
    pub fn labels(uid: &InstanceUid) -> Self {
        Self { table: Table::Labels, ..Self::agent(uid) }
    }

    /// The key of a list of components.
    pub fn component_list(list: &ListHash) -> Self {
        Self::components(b'l', &list.0)
    }

    /// The key of what agents of a kind call a list: see `model::components::key`.
    pub fn component_name(key: &[u8; 32]) -> Self {
        Self::components(b'n', key)
    }

    fn components(kind: u8, id: &[u8; 32]) -> Self {
        let id = [&[kind][..], id].concat().into();
        Self { table: Table::Components, id }
    }

    /// The key of the assignments.
    pub fn intent() -> Self {
        Self { table: Table::Intent, id: Bytes::from_static(b"assignments") }
    }

    /// The key of what was issued to an agent.
    pub fn credential(uid: &InstanceUid) -> Self {
        Self { table: Table::Credentials, ..Self::agent(uid) }
    }

    /// The key of what of it is good no more.
    pub fn revocation(uid: &InstanceUid) -> Self {
        Self { table: Table::Revocations, ..Self::agent(uid) }
    }

    /// The key of what the fleet signs credentials with.
    pub fn fleet_key() -> Self {
        Self { table: Table::Authority, id: Bytes::from_static(b"credentials") }
    }

    /// The key of a token that enrolls agents.
    pub fn enrollment_token(name: &str) -> Self {
        Self { table: Table::EnrollmentTokens, id: Bytes::copy_from_slice(name.as_bytes()) }
    }

    /// The key of a lease.
    pub fn lease(name: &str) -> Self {
        Self { table: Table::Leases, id: Bytes::copy_from_slice(name.as_bytes()) }
    }

    /// The shard it lies in: FNV-1a over the id. Stored: never changed.
    pub fn shard(&self) -> u8 {
        let hash = self.id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        u8::try_from(hash % u64::from(SHARDS)).expect("a remainder of 64")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.table.name())?;
        match InstanceUid::try_from(&self.id[..]) {
            Ok(uid) if matches!(self.table, Table::Agents | Table::Labels) => write!(f, "{uid}"),
            _ => write!(f, "{}", self.id.escape_ascii()),
        }
    }
}

/// Rises with every write of a key, mostly by one. Its first is the writer's choice, so that a key
/// that comes back need not start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of a key that is not there.
    pub const ABSENT: Version = Version(0);

    /// The version that a write of this one makes.
    pub const fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// The value; empty if the key was deleted and its events are not settled.
    pub value: Bytes,
    /// Events of this version that the log may not have yet; empty once settled.
    pub events: Bytes,
}

/// One compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What to write.
    pub key: Key,
    /// Version the key must have; [`Version::ABSENT`] if it must not be there.
    pub expected: Version,
    /// Version the key is to have: above the one expected.
    pub version: Version,
    /// The new value; an empty one deletes the key. With events it stays, without a value, until
    /// they are settled.
    pub value: Bytes,
    /// What the log is to be told; empty for nothing. Replaces what was not settled: whoever
    /// loads unsettled events publishes them before it writes.
    pub events: Bytes,
}

impl Write {
    /// A write without events that counts on by one.
    pub fn next(key: Key, expected: Version, value: Bytes) -> Self {
        Self { key, expected, version: expected.next(), value, events: Bytes::new() }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the key has this version now.
    Written(Version),
    /// The key has another version: load again.
    Conflict,
}

/// Where a scan goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(pub Bytes);

/// A part of a scan.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What was found.
    pub entries: Vec<(Key, Stored)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// Holder of what is known of agents that poll: they have no gateway of their own.
pub const POLLS: &str = "polls";

/// An agent spoke without changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Which agent.
    pub instance_uid: InstanceUid,
    /// Epoch of its session; 0 if it polls.
    pub epoch: u64,
    /// Last sequence number answered.
    pub sequence_num: u64,
    /// When.
    pub seen: Timestamp,
}
