//! An agent on a WebSocket: a handshake in plain bytes, frames by the product's own codec.

use opamp::envelope;
use opamp::v1::ServerToAgent;
use opamp::ws::{self, Decoder, Event, Role};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use super::{End, PATIENCE, SimAgent};

/// Largest message of a server.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

impl SimAgent {
    /// One WebSocket's life.
    pub(super) async fn converse(&self, mut stream: DuplexStream, gateway: &str) -> End {
        let request = "GET /v1/opamp HTTP/1.1\r\nhost: sim\r\nconnection: Upgrade\r\n\
                       upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        if stream.write_all(request.as_bytes()).await.is_err() {
            return End::Again(Duration::ZERO);
        }
        let head = match timeout(PATIENCE, super::poll::head(&mut stream)).await {
            Ok(Some(head)) => head,
            // Not let in is not thrown out.
            Ok(None) | Err(_) => return End::Again(Duration::ZERO),
        };
        if !head.text.starts_with("HTTP/1.1 101") {
            return End::Again(head.retry_after());
        }
        self.mind().core.connected();
        self.world.note(format_args!("agent {} on {gateway}", self.index));
        self.speak(stream, head.rest).await
    }

    async fn speak(&self, mut stream: DuplexStream, mut input: Vec<u8>) -> End {
        let mut decoder = Decoder::new(Role::Client, MESSAGE_BYTES_MAX);
        let mut buffer = vec![0; 4 << 10];
        loop {
            match self.understand(&mut decoder, &input, &mut stream).await {
                Ok(None) => {}
                Ok(Some(pause)) => {
                    let mut frame = Vec::new();
                    ws::close(&mut frame, Some(1000), "", Some([1, 2, 3, 4]));
                    let _ = stream.write_all(&frame).await;
                    return End::Again(pause);
                }
                Err(reason) => return End::Dropped(reason),
            }
            input.clear();
            self.live_on();
            while let Some(message) = self.next_message() {
                let mut frame = Vec::new();
                ws::binary(&mut frame, &envelope::encode(&message), Some([1, 2, 3, 4]));
                if stream.write_all(&frame).await.is_err() {
                    self.mind().core.lost(&message);
                    return End::Dropped("broken".to_owned());
                }
            }
            tokio::select! {
                biased;
                read = stream.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => input.extend_from_slice(&buffer[..count]),
                    _ => return End::Dropped("end of stream".to_owned()),
                },
                () = self.until_due() => {}
            }
        }
    }

    /// Takes what arrived; how long to stay away, if the server says so.
    async fn understand(
        &self,
        decoder: &mut Decoder,
        mut input: &[u8],
        stream: &mut DuplexStream,
    ) -> Result<Option<Duration>, String> {
        while let Some(event) = decoder.feed(&mut input).map_err(|error| error.to_string())? {
            match event {
                Event::Binary(payload) => {
                    let message: ServerToAgent =
                        envelope::decode(&payload).map_err(|error| error.to_string())?;
                    if let Some(pause) = self.hear(&message) {
                        return Ok(Some(pause));
                    }
                    if self.restarts() {
                        return Ok(Some(Duration::ZERO));
                    }
                }
                Event::Ping(payload) => {
                    let mut frame = Vec::new();
                    ws::pong(&mut frame, &payload, Some([1, 2, 3, 4]));
                    let _ = stream.write_all(&frame).await;
                }
                Event::Close(code) => return Err(format!("closed with {code:?}")),
                Event::Text => return Err("text".to_owned()),
                Event::Pong(_) => {}
            }
        }
        Ok(None)
    }
}
