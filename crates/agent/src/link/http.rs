//! Polls over plain HTTP, on one connection for as long as it lasts.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use opamp::v1::{AgentToServer, ServerToAgent};
use prost::Message as _;
use tokio::task::JoinSet;

use super::{Endpoint, refused, within};
use crate::Error;
use crate::limits::{MESSAGE_BYTES_MAX, REPLY_TIMEOUT};

const PROTOBUF: &str = "application/x-protobuf";

/// A client that polls one server.
#[derive(Debug)]
pub struct Poller {
    endpoint: Endpoint,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driving: JoinSet<()>,
}

/// An answer as it came, its body inflated.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Poller {
    /// A client that is not connected yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None }
    }

    /// Sends a message and returns the server's.
    pub async fn exchange(&mut self, message: &AgentToServer) -> Result<ServerToAgent, Error> {
        let uid = opamp::InstanceUid::try_from(&message.instance_uid[..])
            .map_or(String::new(), |uid| uid.to_string());
        let headers = [
            (header::CONTENT_TYPE.as_str(), PROTOBUF),
            (header::ACCEPT_ENCODING.as_str(), "gzip"),
            ("OpAMP-Instance-UID", uid.as_str()),
        ];
        let request = Request::post(&self.endpoint.path);
        let answer = self.send(request, &headers, message.encode_to_vec().into()).await?;
        if answer.status != StatusCode::OK {
            let mut parts = http::Response::new(()).into_parts().0;
            (parts.status, parts.headers) = (answer.status, answer.headers);
            return Err(refused(&parts));
        }
        ServerToAgent::decode(answer.body).map_err(|error| Error::Protocol(error.to_string()))
    }

    /// Posts any body with these headers.
    pub async fn post(&mut self, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, Error> {
        self.send(Request::post(&self.endpoint.path), headers, body).await
    }

    /// Reads what is there, as no agent does but tools do.
    pub async fn get(&mut self) -> Result<Answer, Error> {
        self.send(Request::get(&self.endpoint.path), &[], Bytes::new()).await
    }

    /// Sends any request with these headers.
    pub async fn send(
        &mut self,
        mut request: http::request::Builder,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Error> {
        request = self.endpoint.begin(request);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Full::new(body)).map_err(|error| Error::Protocol(error.to_string()))?;
        let exchange = async {
            let response = self.sender().await?.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MESSAGE_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Error::Lost(error.to_string()))?.to_bytes();
            Ok(Answer {
                status: parts.status,
                body: inflate(&parts.headers, body)?,
                headers: parts.headers,
            })
        };
        let answer = within(REPLY_TIMEOUT, exchange).await.and_then(|answer| answer);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Error> {
        let alive = match &mut self.connection {
            Some(connection) => connection.sender.ready().await.is_ok(),
            None => false,
        };
        if !alive {
            let io = self.endpoint.dial().await?;
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            let mut driving = JoinSet::new();
            driving.spawn(async move { drop(connection.await) });
            self.connection = Some(Connection { sender, _driving: driving });
        }
        Ok(&mut self.connection.as_mut().expect("connected just above").sender)
    }
}

fn inflate(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Error> {
    if headers.get(header::CONTENT_ENCODING).is_none_or(|value| value != "gzip") {
        return Ok(body);
    }
    let mut inflated = Vec::new();
    let limit = MESSAGE_BYTES_MAX as u64 + 1;
    let read = GzDecoder::new(&body[..]).take(limit).read_to_end(&mut inflated);
    match read {
        Ok(size) if size <= MESSAGE_BYTES_MAX => Ok(inflated.into()),
        Ok(_) => Err(Error::Protocol("answer inflates beyond the limit".to_owned())),
        Err(error) => Err(Error::Protocol(format!("answer is no gzip: {error}"))),
    }
}
