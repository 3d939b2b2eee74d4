//! What can stop a worker from doing its part, by what the caller does next.

/// A worker could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store is away. Nothing was acknowledged; ask again later.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The bus is away, or what came over it makes no sense.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Nobody waits for it any more.
    #[error("the report of {0} took longer than its gateway waits")]
    TooLate(opamp::InstanceUid),
    /// A bug of ours, met by this message and by no other. It may be told again, later.
    #[error("a message of {0} cannot be worked on")]
    Panicked(opamp::InstanceUid),
    /// The record kept changing under the worker. Ask again.
    #[error("{0} changed too often while it was being written")]
    Contended(opamp::InstanceUid),
}
