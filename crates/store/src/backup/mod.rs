//! The ledger in one file: taken, checked, put back.
//!
//! ```text
//!   "muster backup\n"  ( length, BackupPart )*  SHA-256 of all before
//! ```
//!
//! A length is four bytes, big-endian. Bodies come before the configs that name them, and the
//! assignments last, so that a ledger that is put back half-way offers nothing. What may not enter:
//! file names, and how a store is reached.

mod check;
mod frame;
mod restore;
mod take;
#[cfg(test)]
mod tests;

use model::Timestamp;

pub use check::check;
pub use restore::{Restore, Restored, newest_decision, restore};
pub use take::take;

use crate::Table;

/// Newest format understood.
const FORMAT: u32 = 4;

/// Tables that a backup holds.
const TABLES: [Table; 7] = [
    Table::Configs,
    Table::Settings,
    Table::Packages,
    Table::PackageSets,
    Table::Labels,
    Table::Commands,
    Table::Intent,
];

/// What a backup says of itself, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// When it was taken.
    pub created: Timestamp,
    /// Version of the binary that took it.
    pub version: String,
    /// Whose it is.
    pub fleet: String,
    /// Configs.
    pub configs: u64,
    /// Their revisions.
    pub revisions: u64,
    /// Assignments.
    pub assignments: u64,
    /// Named connection settings, sealed.
    pub settings: u64,
    /// Versions of packages.
    pub packages: u64,
    /// Agents with labels.
    pub labelled: u64,
    /// Commands.
    pub commands: u64,
    /// Number of the decision that made the assignments; 0 if there was none.
    pub decision: u64,
    /// Whether offers were held.
    pub held: bool,
    /// Its size.
    pub bytes: u64,
}

/// Why a backup could not be taken or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The ledger is away, or a value in it cannot be read.
    #[error(transparent)]
    Ledger(#[from] crate::Error),
    /// The file cannot be read or written.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// The file is not what was written: take another one.
    #[error("damaged at byte {at}: {reason}")]
    Damaged {
        /// Where.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A newer binary wrote it.
    #[error("format {0} is unknown, the newest known is {FORMAT}: a newer muster wrote it")]
    Newer(u32),
    /// There is something in the ledger already.
    #[error("the ledger is not empty: {0}")]
    NotEmpty(String),
    /// Somebody else wrote at the same time, or what was written is not there.
    #[error("{0}")]
    Failed(String),
}
