//! What can go wrong on the bus, by what the caller does next.

/// A bus operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nobody listens on the subject: the peer is gone. Look up who is in its place.
    #[error("no one answers on {0}")]
    NoResponder(String),
    /// The deadline passed, or the bus broke off meanwhile: whether the peer acted is unknown.
    #[error("no answer on {0} in time")]
    TimedOut(String),
    /// The bus itself is out of reach or full, and nothing was sent. Try again later.
    #[error("bus unavailable: {0}")]
    Unavailable(String),
    /// The bus does not let this process in, or is not the one it was told to trust. Trying again
    /// changes nothing: the settings must.
    #[error("{0}")]
    Refused(String),
    /// What was to be sent or was received is not a message. Do not try again.
    #[error("not a message for {subject}: {reason}")]
    Malformed {
        /// Where it came from or was to go.
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
