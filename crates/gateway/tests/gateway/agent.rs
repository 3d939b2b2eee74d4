//! An agent's end of a WebSocket, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use opamp::envelope;
use opamp::v1::{AgentToServer, ServerToAgent};
use opamp::ws::{self, Decoder, Event, Opcode, Role};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::field::PATIENCE;

pub(crate) const MASK: [u8; 4] = [1, 2, 3, 4];
pub(crate) const HANDSHAKE: &str = "GET /v1/opamp HTTP/1.1\r\nHost: localhost\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A connection, in the clear or inside TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub(crate) struct Agent {
    stream: Box<dyn Wire>,
    decoder: Decoder,
    unread: Vec<u8>,
}

/// An agent's uid.
pub(crate) fn uid(number: u8) -> Vec<u8> {
    vec![number; 16]
}

/// A message with a number and something to say.
pub(crate) fn report(number: u8, sequence_num: u64) -> AgentToServer {
    AgentToServer {
        remote_config_status: Some(Default::default()),
        ..heartbeat(number, sequence_num)
    }
}

/// A message with nothing to say.
pub(crate) fn heartbeat(number: u8, sequence_num: u64) -> AgentToServer {
    AgentToServer {
        instance_uid: uid(number),
        sequence_num,
        capabilities: 0x3007,
        ..Default::default()
    }
}

impl Agent {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (agent, head) = Self::try_connect(address).await;
        Self::welcomed(&head);
        agent
    }

    /// Checks the answer to a handshake.
    pub(crate) fn welcomed(head: &str) {
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert!(!head.to_lowercase().contains("sec-websocket-protocol"), "{head}");
    }

    /// The answer to a handshake, whatever it is.
    pub(crate) async fn try_connect(address: SocketAddr) -> (Self, String) {
        Self::try_over(TcpStream::connect(address).await.unwrap(), HANDSHAKE).await
    }

    /// The answer to this handshake over this connection.
    pub(crate) async fn try_over(stream: impl Wire + 'static, handshake: &str) -> (Self, String) {
        let mut stream: Box<dyn Wire> = Box::new(stream);
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, stream.read_u8()).await;
            head.push(byte.expect("answers in time").unwrap());
        }
        let agent =
            Self { stream, decoder: Decoder::new(Role::Client, usize::MAX), unread: Vec::new() };
        (agent, String::from_utf8(head).unwrap())
    }

    /// Connected, and its first report answered.
    pub(crate) async fn claimed(address: SocketAddr, number: u8) -> Self {
        let mut agent = Self::connect(address).await;
        let reply = agent.say(&report(number, 0)).await;
        assert_eq!(reply.error_response, None);
        agent
    }

    pub(crate) async fn say(&mut self, message: &AgentToServer) -> ServerToAgent {
        self.send(message).await;
        self.hear().await
    }

    pub(crate) async fn send(&mut self, message: &AgentToServer) {
        self.send_message(&envelope::encode(message)).await;
    }

    /// Sends one binary message as it is.
    pub(crate) async fn send_message(&mut self, message: &[u8]) {
        let mut frame = Vec::new();
        ws::binary(&mut frame, message, Some(MASK));
        self.write(&frame).await;
    }

    /// Sends one frame of another kind.
    pub(crate) async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        ws::frame(&mut frame, opcode, payload, Some(MASK));
        self.write(&frame).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The gateway may have closed already, which the test then sees in what it hears.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("writes in time");
    }

    /// The next message, which must come before anything else.
    pub(crate) async fn hear(&mut self) -> ServerToAgent {
        match self.event().await {
            Some(Event::Binary(message)) => {
                assert_eq!(message[0], 0, "header");
                envelope::decode(&message).unwrap()
            }
            other => panic!("no message: {other:?}"),
        }
    }

    /// The code of the close that comes next, and that the connection ends once answered.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let code = match self.event().await {
            Some(Event::Close(code)) => code,
            other => panic!("no close: {other:?}"),
        };
        self.send_frame(Opcode::Close, &[]).await;
        assert_eq!(self.event().await, None);
        code
    }

    /// What comes next; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        self.event_within(PATIENCE).await.expect("something in time")
    }

    /// `Err` if nothing comes.
    pub(crate) async fn event_within(&mut self, limit: Duration) -> Result<Option<Event>, ()> {
        loop {
            let mut unread = &self.unread[..];
            let event = self.decoder.feed(&mut unread).expect("the gateway keeps to the rules");
            self.unread = unread.to_vec();
            if event.is_some() {
                return Ok(event);
            }
            let mut part = vec![0; 65_536];
            match timeout(limit, self.stream.read(&mut part)).await {
                Ok(Ok(0) | Err(_)) => return Ok(None),
                Ok(Ok(read)) => self.unread.extend_from_slice(&part[..read]),
                Err(_) => return Err(()),
            }
        }
    }
}
