//! Why an operator's request was not done, by what the operator does next.

use std::time::Duration;

/// A request failed. Nothing was changed unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request makes no sense: mend the field.
    #[error("{field}: {reason}")]
    Invalid {
        /// Path of the field in the request.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such thing: look for it under another name.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Not while it is as it is: change that first.
    #[error("{0}")]
    Precondition(String),
    /// Somebody else changed it meanwhile: read it and decide again.
    #[error("{0} was changed by somebody else at the same time")]
    Aborted(String),
    /// Their token is good no more: get another one.
    #[error("the token is not good any more")]
    Unauthenticated,
    /// What came after the position is not to be had any more: start without one.
    #[error("cannot go on from this position: {0}")]
    OutOfRange(String),
    /// It does not keep up with what it asked for: go on from where it is.
    #[error("too slow: go on from the last position received")]
    TooSlow,
    /// As many as may do this do it already: try again later, or elsewhere.
    #[error("too many: {0}")]
    Exhausted(String),
    /// Something it needs is away: try again later. Whether a write happened is unknown.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// What is stored cannot be read: somebody has to look.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

impl From<model::check::Fault> for Error {
    fn from(fault: model::check::Fault) -> Self {
        Self::Invalid { field: fault.field, reason: fault.reason }
    }
}

/// Waits for a call no longer than a limit.
pub(crate) async fn within<T, E: Into<Error>>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::Unavailable(format!("{what} did not answer within {limit:?}"))),
    }
}

impl Error {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(reason) | store::Error::Refused(reason) => {
                Self::Unavailable(reason)
            }
            store::Error::Corrupt { .. } => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<bus::Error> for Error {
    fn from(error: bus::Error) -> Self {
        match error {
            bus::Error::OutOfRange { .. } => Self::OutOfRange(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}
