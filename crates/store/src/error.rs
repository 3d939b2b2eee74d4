//! What can go wrong in the store, by what the caller does next. A lost race is no error: see
//! [`Outcome`](crate::Outcome).

/// A store operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store is out of reach or refuses writes for now. Nothing, or an unknown part, of a
    /// commit was done: load again before deciding.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The server does not let this process in, or is not the one it was told to trust. Trying
    /// again changes nothing: the settings must.
    #[error("{0}")]
    Refused(String),
    /// A stored value cannot be read. Quarantine it; the rest of the store is fine.
    #[error("{key} cannot be read: {reason}")]
    Corrupt {
        /// Which value.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}
