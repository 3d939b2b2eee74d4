//! The client's end of a WebSocket. It holds no buffer while nothing arrives.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use opamp::envelope;
use opamp::v1::{AgentToServer, ServerToAgent};
use opamp::ws::{self, Decoder, Event, Role};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::task::JoinSet;

use super::{Endpoint, Io, refused, within};
use crate::Error;
use crate::limits::{CLOSE_TIMEOUT, CONNECT_TIMEOUT, MESSAGE_BYTES_MAX};

/// What is read at once, on the stack.
const SCRATCH_BYTES: usize = 4096;

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    io: TokioIo<Upgraded>,
    decoder: Decoder,
    /// Events that arrived together with one that was handed out.
    events: VecDeque<Event>,
}

impl WebSocket {
    /// Connects and shakes hands. `headers` are added to the request.
    pub async fn connect(endpoint: &Endpoint, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let key = ws::request_key(rand::random());
        let mut request = endpoint
            .begin(Request::get(&endpoint.path))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Error::Protocol(error.to_string()))?;
        let io = endpoint.dial().await?;
        within(CONNECT_TIMEOUT, Self::shake_hands(io, request, &key)).await?
    }

    async fn shake_hands(
        io: TokioIo<Box<dyn Io>>,
        request: Request<Empty<Bytes>>,
        key: &str,
    ) -> Result<Self, Error> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let mut driving = JoinSet::new();
        driving.spawn(connection.with_upgrades());
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(&response.into_parts().0));
        }
        let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|value| value.as_bytes() != ws::accept_key(key).as_bytes()) {
            return Err(Error::Protocol("Sec-WebSocket-Accept does not fit".to_owned()));
        }
        let io = TokioIo::new(hyper::upgrade::on(response).await?);
        let decoder = Decoder::new(Role::Client, MESSAGE_BYTES_MAX);
        Ok(Self { io, decoder, events: VecDeque::new() })
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &AgentToServer) -> Result<(), Error> {
        self.send_binary(&envelope::encode(message)).await
    }

    /// Sends a binary message with any content.
    pub async fn send_binary(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut frame = Vec::new();
        ws::binary(&mut frame, payload, Some(rand::random()));
        self.send_raw(&frame).await
    }

    /// Sends bytes as they are: frames that no agent would send.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.io.write_all(bytes).await?;
        Ok(self.io.flush().await?)
    }

    /// The next event. Pings are answered on the way. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            while let Some(event) = self.events.pop_front() {
                match event {
                    Event::Ping(payload) => {
                        let mut frame = Vec::new();
                        ws::pong(&mut frame, &payload, Some(rand::random()));
                        self.send_raw(&frame).await?;
                    }
                    other => return Ok(other),
                }
            }
            std::future::poll_fn(|context| self.poll_read(context)).await?;
        }
    }

    /// The next message of the server.
    pub async fn receive(&mut self, limit: Duration) -> Result<ServerToAgent, Error> {
        within(limit, async {
            loop {
                match self.next().await? {
                    Event::Binary(payload) => return decode(&payload),
                    Event::Close(code) => return Err(Error::Lost(format!("closed with {code:?}"))),
                    Event::Text => return Err(Error::Protocol("text message".to_owned())),
                    Event::Ping(_) | Event::Pong(_) => {}
                }
            }
        })
        .await?
    }

    /// The code the server closes with, whatever it says before.
    pub async fn closed(&mut self, limit: Duration) -> Result<Option<u16>, Error> {
        within(limit, async {
            loop {
                if let Event::Close(code) = self.next().await? {
                    return Ok(code);
                }
            }
        })
        .await?
    }

    /// Says that it is over and waits for the server to say so too.
    pub async fn close(mut self) -> Result<(), Error> {
        let mut frame = Vec::new();
        ws::close(&mut frame, Some(1000), "", Some(rand::random()));
        self.send_raw(&frame).await?;
        self.closed(CLOSE_TIMEOUT).await.map(drop)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut scratch = [0; SCRATCH_BYTES];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
        let mut input = buffer.filled();
        if input.is_empty() {
            return Poll::Ready(Err(Error::Lost("end of stream".to_owned())));
        }
        let broken = |violation: ws::Violation| Error::Protocol(violation.to_string());
        while let Some(event) = self.decoder.feed(&mut input).map_err(broken)? {
            self.events.push_back(event);
        }
        Poll::Ready(Ok(()))
    }
}

/// The message in a WebSocket payload.
pub(crate) fn decode(payload: &[u8]) -> Result<ServerToAgent, Error> {
    envelope::decode(payload).map_err(|error| Error::Protocol(error.to_string()))
}
