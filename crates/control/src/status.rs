//! The one table from this crate's errors to gRPC statuses.

use tonic::{Code, Status};

use crate::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Invalid { .. } => Code::InvalidArgument,
            Error::NotFound(_) => Code::NotFound,
            Error::Precondition(_) => Code::FailedPrecondition,
            Error::Aborted(_) | Error::TooSlow => Code::Aborted,
            Error::Unauthenticated => Code::Unauthenticated,
            Error::OutOfRange(_) => Code::OutOfRange,
            Error::Exhausted(_) => Code::ResourceExhausted,
            Error::Unavailable(_) => Code::Unavailable,
            Error::Corrupt(_) => Code::DataLoss,
        };
        let name = format!("{code:?}");
        metrics::counter!("muster_control_refused_total", "code" => name).increment(1);
        match code {
            Code::DataLoss => tracing::error!(%error, "request failed"),
            Code::Unavailable => tracing::warn!(%error, "request not served"),
            _ => {}
        }
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code_and_keeps_its_text() {
        let corrupt = store::Error::Corrupt { key: "k".to_owned(), reason: "r".to_owned() };
        for (error, code, text) in [
            (Error::invalid("name", "empty"), Code::InvalidArgument, "name: empty"),
            (Error::NotFound("configs/a".to_owned()), Code::NotFound, "configs/a"),
            (Error::Aborted("configs/a".to_owned()), Code::Aborted, "configs/a"),
            (store::Error::Unavailable("gone".to_owned()).into(), Code::Unavailable, "gone"),
            (Error::TooSlow, Code::Aborted, "last position received"),
            (Error::Exhausted("12 watch".to_owned()), Code::ResourceExhausted, "12 watch"),
            (
                bus::Error::OutOfRange { asked: 3, oldest: 7 }.into(),
                Code::OutOfRange,
                "the log starts at 7",
            ),
            (corrupt.into(), Code::DataLoss, "k cannot be read: r"),
            (bus::Error::NoResponder("subject".to_owned()).into(), Code::Unavailable, "subject"),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code);
            assert!(status.message().contains(text), "{status}");
        }
    }
}
