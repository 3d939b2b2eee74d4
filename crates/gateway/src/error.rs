//! Why a gateway cannot serve, by what its process does next.

/// Serving failed. The process is of no use without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus could not be spoken to at the start. Try again later.
    #[error("bus is out of reach")]
    Bus(#[from] bus::Error),
    /// The bus ended the gateway's subscription for good: start anew.
    #[error("bus ended the subscription")]
    BusEnded,
    /// One of the gateway's own tasks ended, which only a bug makes it do.
    #[error("task {0} ended")]
    TaskEnded(String),
}
