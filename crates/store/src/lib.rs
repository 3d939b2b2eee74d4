//! What is remembered: the [`Store`] port, its backends, and the codec of every table.
//!
//! The only transaction is compare-and-set on one key. Records and ledger are both stores; a
//! cluster keeps them apart. What may not enter: what a record means, and any bus.

pub mod backup;
mod counted;
mod error;
mod layout;
mod limits;
mod memory;
mod port;
pub mod quarantine;
mod redb;
mod redis;
pub mod tables;

/// Messages of `muster.state.v1`, generated from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod v1 {
    include!("gen/muster.state.v1.rs");
}

pub use self::redb::Redb;
pub use self::redis::{Durability, Redis, RedisAccess, RedisConfig};
pub use counted::{Counted, Counts, Op};
pub use error::Error;
pub use memory::Memory;
pub use port::{
    Cursor, Generation, Generations, Key, Outcome, POLLS, Page, Presence, SHARDS, Store, Stored,
    Table, Version, Write,
};
