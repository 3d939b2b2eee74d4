//! What can go wrong on the bus, by what the caller does next.

/// A bus operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nobody listens on the subject: the peer is gone. Look up who is in its place.
    #[error("no one answers on {0}")]
    NoResponder(String),
    /// The deadline passed: whether the peer acted is unknown.
    #[error("no answer on {0} before the deadline")]
    TimedOut(String),
    /// The bus itself is out of reach. Try again later.
    #[error("bus unavailable: {0}")]
    Unavailable(String),
    /// The peer sent what cannot be understood. Do not try again.
    #[error("unreadable message on {subject}: {reason}")]
    Malformed {
        /// Where it came from.
        subject: String,
        /// What was wrong.
        reason: String,
    },
    /// The message exceeds what this bus carries, chunks included.
    #[error("message of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The log no longer holds the position: take a new snapshot and start there.
    #[error("position {asked} is gone, the log starts at {oldest}")]
    OutOfRange {
        /// Position asked for.
        asked: u64,
        /// Oldest position held.
        oldest: u64,
    },
}
