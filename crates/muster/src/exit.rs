//! Exit codes, and what a person reads when a command fails. Scripts rely on the codes.

use std::fmt;
use std::process::ExitCode;

/// Why the process ends, as its exit code says it. Put into an error as context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something failed.
    Error = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// The server does not answer.
    Unreachable = 4,
    /// The server does not know who asks.
    NotAllowed = 5,
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) code: Code,
    text: String,
}

impl Failure {
    /// A failure that reads like this.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The answer was printed, and the code says the rest.
    pub(crate) fn silent(code: Code) -> anyhow::Error {
        Self::new(code, "").into()
    }

    /// A mistake in what the operator wrote.
    pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
        Self::new(Code::Usage, text).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Prints the error on one line, causes after colons, unless it is silent, and returns its exit
/// code.
#[expect(clippy::print_stderr, reason = "the command line's own voice")]
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if !error.downcast_ref::<Failure>().is_some_and(|failure| failure.text.is_empty()) {
        eprintln!("error: {error:#}");
    }
    ExitCode::from(code(error) as u8)
}

fn code(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Failure>().map_or(Code::Error, |failure| failure.code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn context_keeps_the_code() {
        let error = Err::<(), _>(Failure::usage("unknown key")).context("reading muster.toml");
        let error = error.unwrap_err();
        assert_eq!(code(&error), Code::Usage);
        assert_eq!(format!("{error:#}"), "reading muster.toml: unknown key");
        assert_eq!(code(&anyhow::anyhow!("other")), Code::Error);
    }
}
