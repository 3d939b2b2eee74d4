//! The ways to a server: a WebSocket, or polls over plain HTTP. Low enough for tests that send
//! what no agent would.

mod http;
mod trust;
mod websocket;

use std::time::Duration;

use ::http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;
use crate::limits::CONNECT_TIMEOUT;

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
        Ok(Self { polls, tls, authority, path, trust: Trust::default() })
    }

    /// The same with somebody to trust.
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// A request that shows what is to be shown here.
    fn begin(&self, request: ::http::request::Builder) -> ::http::request::Builder {
        let request = request.header(::http::header::HOST, &self.authority);
        match self.trust.authorization() {
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
