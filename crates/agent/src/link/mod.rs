//! The ways to a server: a WebSocket, or polls over plain HTTP. Low enough for tests that send
//! what no agent would.

mod download;
mod http;
mod trust;
mod websocket;

use std::time::Duration;

use ::http::Uri;
use hyper_util::rt::TokioIo;
use opamp::v1::{Header, OpAmpConnectionSettings};
use tokio::net::TcpStream;

use crate::Error;
use crate::limits::CONNECT_TIMEOUT;

pub(crate) use download::fetch;
pub use http::{Answer, Poller};
use trust::Io;
pub use trust::Trust;
pub use websocket::WebSocket;
pub(crate) use websocket::decode;

/// Where a server is, and how to speak to it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Polls over plain HTTP, instead of a WebSocket.
    pub polls: bool,
    /// Inside TLS.
    pub tls: bool,
    /// `host:port`.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Whom to trust there, and what to show.
    pub trust: Trust,
    /// Headers that a server wants to see with every request.
    pub headers: Headers,
}

/// Names and values. They are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Endpoint {
    /// Reads a `ws://`, `wss://`, `http://` or `https://` URL. Inside TLS nobody is trusted yet.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|_| refuse("not a URL"))?;
        let (polls, tls) = match uri.scheme_str() {
            Some("ws") => (false, false),
            Some("wss") => (false, true),
            Some("http") => (true, false),
            Some("https") => (true, true),
            _ => return Err(refuse("expected ws://, wss://, http:// or https://")),
        };
        let host = uri.host().ok_or_else(|| refuse("no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(4320));
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let (trust, headers) = Default::default();
        Ok(Self { polls, tls, authority, path, trust, headers })
    }

    /// The same with somebody to trust.
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Where settings of the agent's own connection lead, seen from here: what they do not say
    /// stays, but for a certificate.
    pub fn told(&self, settings: &OpAmpConnectionSettings) -> Result<Self, Error> {
        if settings.proxy.is_some() {
            return Err(Error::Trust("this agent knows no proxies".to_owned()));
        }
        let trust = self.trust.told(settings.tls.as_ref(), settings.certificate.as_ref())?;
        let mut next = Self::parse(&settings.destination_endpoint)?.trusting(trust);
        next.headers = match &settings.headers {
            None => self.headers.clone(),
            Some(told) => {
                let pair = |it: &Header| (it.key.clone(), it.value.clone());
                Headers(told.headers.iter().map(pair).collect())
            }
        };
        Ok(next)
    }

    /// Whether it is the same place, and the same is shown there.
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |it: &Self| (it.polls, it.tls, it.authority.clone(), it.path.clone());
        place(self) == place(other)
            && self.headers == other.headers
            && self.trust.is_same(&other.trust)
    }

    /// A request that shows what is to be shown here.
    fn begin(&self, request: ::http::request::Builder) -> ::http::request::Builder {
        let mut request = request.header(::http::header::HOST, &self.authority);
        for (name, value) in &self.headers.0 {
            request = request.header(name, value);
        }
        let told = |(name, _): &(String, String)| name.eq_ignore_ascii_case("authorization");
        match self.trust.authorization().filter(|_| !self.headers.0.iter().any(told)) {
            Some(value) => request.header(::http::header::AUTHORIZATION, value),
            None => request,
        }
    }

    async fn dial(&self) -> Result<TokioIo<Box<dyn Io>>, Error> {
        let stream = within(CONNECT_TIMEOUT, TcpStream::connect(&self.authority)).await??;
        stream.set_nodelay(true)?;
        if !self.tls {
            return Ok(TokioIo::new(Box::new(stream)));
        }
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        let secured = within(CONNECT_TIMEOUT, self.trust.secure(stream, host)).await??;
        Ok(TokioIo::new(secured))
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(limit, call).await.map_err(|_| Error::TimedOut(limit))
}

/// What a refusal says about coming back.
fn refused(response: &::http::response::Parts) -> Error {
    let header = response.headers.get(::http::header::RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    Error::Refused {
        status: response.status.as_u16(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_how_and_where() {
        let endpoint = Endpoint::parse("ws://127.0.0.1/v1/opamp?x=1").unwrap();
        assert!(!endpoint.polls);
        assert_eq!(
            (endpoint.authority.as_str(), endpoint.path.as_str()),
            ("127.0.0.1:4320", "/v1/opamp?x=1")
        );
        assert!(Endpoint::parse("http://h:1/").unwrap().polls);
        assert!(Endpoint::parse("https://h/").unwrap().tls);
        assert!(Endpoint::parse("wss://h/").unwrap().tls);
        for bad in ["h:1", "ftp://h/", "::"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
