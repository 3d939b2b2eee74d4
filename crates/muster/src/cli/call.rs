//! Reaching the server: one channel, one deadline for the whole command, and gRPC's codes in
//! words and exit codes.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code as Grpc, Status};

use super::Client;
use crate::exit::{Code, Failure};
use crate::limits;

impl Client {
    /// Runs a command against the server, within its deadline.
    pub(super) async fn call<T, F>(&self, command: impl FnOnce(Channel) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        let limit = Duration::from_secs(self.timeout);
        let answered = async { command(self.connect(limit).await?).await };
        match tokio::time::timeout(limit, answered).await {
            Ok(answer) => answer.map_err(explain),
            Err(_) => Err(self.unreachable(&format!("no answer within {} s", self.timeout))),
        }
    }

    async fn connect(&self, limit: Duration) -> anyhow::Result<Channel> {
        let endpoint = self.endpoint()?.connect_timeout(limits::CONNECT).timeout(limit);
        let channel = endpoint.connect().await;
        channel.map_err(|error| self.unreachable(&root(&error)))
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        if self.server.starts_with("https://") {
            return Err(Failure::usage("--server: the control API has no TLS yet, use http://"));
        }
        let url = match self.server.split_once("://") {
            Some(_) => self.server.clone(),
            None => format!("http://{}", self.server),
        };
        Endpoint::from_shared(url)
            .map_err(|error| Failure::usage(format!("--server {:?}: {error}", self.server)))
    }

    fn unreachable(&self, why: &str) -> anyhow::Error {
        let text = format!("server {} unreachable: {why}", self.server);
        Failure::new(Code::Unreachable, text).into()
    }
}

/// The message of an answer.
pub(super) fn answer<T>(answer: Result<tonic::Response<T>, Status>) -> anyhow::Result<T> {
    Ok(answer?.into_inner())
}

/// A gRPC status as a person reads it.
pub(super) fn explain(error: anyhow::Error) -> anyhow::Error {
    let Some(status) = error.downcast_ref::<Status>() else {
        return error;
    };
    let code = match status.code() {
        Grpc::NotFound => Code::NotFound,
        Grpc::InvalidArgument | Grpc::OutOfRange => Code::Usage,
        Grpc::Unavailable | Grpc::DeadlineExceeded => Code::Unreachable,
        _ => Code::Error,
    };
    let text = match (status.code(), status.message()) {
        (code, "") => code.description().to_owned(),
        (Grpc::Unavailable, message) => format!("server unavailable: {message}"),
        (_, message) => message.to_owned(),
    };
    Failure::new(code, text).into()
}

/// The first cause: a transport error's own text says nothing.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().to_lowercase()
}

/// Reads what the server must have filled in.
pub(super) fn required<T>(field: Option<T>, name: &str) -> anyhow::Result<T> {
    field.with_context(|| format!("the server's answer lacks {name}: it may be of another version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_exit_codes() {
        for (status, code, text) in [
            (Status::not_found("no agent x"), Code::NotFound, "no agent x"),
            (
                Status::unavailable("store away"),
                Code::Unreachable,
                "server unavailable: store away",
            ),
            (Status::invalid_argument("bad selector"), Code::Usage, "bad selector"),
            (Status::aborted("changed"), Code::Error, "changed"),
        ] {
            let error = explain(status.into());
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!((failure.code, failure.to_string().as_str()), (code, text));
        }
    }
}
