//! Reaching the server: one channel, one deadline for the whole command, and gRPC's codes in
//! words and exit codes.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code as Grpc, Request, Status, transport};

use super::Client;
use super::target::Resolved;
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
            Err(_) => {
                let server = self.target.resolve()?.server;
                Err(unreachable(&server, &format!("no answer within {} s", self.timeout)))
            }
        }
    }

    async fn connect(&self, limit: Duration) -> anyhow::Result<Channel> {
        let Resolved { server, endpoint, token } = self.target.resolve()?;
        let bearer = Bearer::new(token.as_deref())?;
        let endpoint = endpoint.connect_timeout(limits::CONNECT).timeout(limit);
        match endpoint.connect().await {
            Ok(channel) => Ok(Channel::new(channel, bearer)),
            Err(error) => Err(unreachable(&server, &root(&error))),
        }
    }
}

/// All items of a list, page by page: `page` asks for the one with this token.
pub(super) async fn pages<T>(
    mut page: impl AsyncFnMut(String) -> anyhow::Result<(Vec<T>, String)>,
) -> anyhow::Result<Vec<T>> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let (items, next) = page(page_token).await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        page_token = next;
    }
}

/// A connection that shows who asks.
pub(super) type Channel = InterceptedService<transport::Channel, Bearer>;

/// Shows a token with every request.
#[derive(Debug, Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: Option<&str>) -> anyhow::Result<Self> {
        let value = token.map(|token| format!("Bearer {token}").parse()).transpose();
        let mut value: Option<MetadataValue<Ascii>> =
            value.map_err(|_| Failure::usage("the token is no plain text"))?;
        if let Some(value) = &mut value {
            // Neither logs nor compression tables get to see it.
            value.set_sensitive(true);
        }
        Ok(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn unreachable(server: &str, why: &str) -> anyhow::Error {
    let hint = match why {
        why if why.contains("unknownissuer") => "; --ca-file names the authority it is of",
        _ => "",
    };
    Failure::new(Code::Unreachable, format!("server {server} unreachable: {why}{hint}")).into()
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
        Grpc::Unauthenticated | Grpc::PermissionDenied => Code::NotAllowed,
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
