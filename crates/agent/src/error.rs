//! What can go wrong between an agent and its server, by what the agent does next.

use std::time::Duration;

/// A connection or exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used. Trying again is of no use.
    #[error("cannot use {url:?}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Certificates or keys cannot be used. Trying again is of no use.
    #[error("{0}")]
    Trust(String),
    /// The server refused with an HTTP status. Try again, not before it said.
    #[error("server answered {status}")]
    Refused {
        /// The status.
        status: u16,
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The connection broke or was closed. Connect again.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The server did not answer in time. Connect again.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server sent what is no OpAMP. Connect again.
    #[error("server broke the protocol: {0}")]
    Protocol(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        Self::Lost(error.to_string())
    }
}
