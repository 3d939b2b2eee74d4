//! An agent that polls over plain HTTP, each time on a connection of its own.

use std::time::Duration;

use opamp::v1::ServerToAgent;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use super::{End, PATIENCE, SimAgent};

/// An answer's head, and what came behind it.
pub(super) struct Head {
    pub(super) text: String,
    pub(super) rest: Vec<u8>,
}

impl Head {
    fn header(&self, name: &str) -> Option<u64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    /// When to come back, as the server says.
    pub(super) fn retry_after(&self) -> Duration {
        Duration::from_secs(self.header("retry-after:").unwrap_or(0))
    }
}

/// Reads up to the end of an answer's head; `None` if the stream ends before.
pub(super) async fn head(stream: &mut DuplexStream) -> Option<Head> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = bytes.split_off(end + 4);
            return Some(Head { text: String::from_utf8_lossy(&bytes).to_lowercase_http(), rest });
        }
    }
}

/// Header names in lower case, the status line as it is.
trait Lower {
    fn to_lowercase_http(&self) -> String;
}

impl Lower for std::borrow::Cow<'_, str> {
    fn to_lowercase_http(&self) -> String {
        let mut lines = self.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        lines.fold(first, |text, line| text + "\n" + &line.to_lowercase())
    }
}

impl SimAgent {
    /// One poll, then the wait for the next.
    pub(super) async fn poll(&self, mut stream: DuplexStream) -> End {
        self.live_on();
        let message = {
            let now = self.now_ms();
            let mut mind = self.mind();
            mind.core.poll_message(now)
        };
        self.sent(&message);
        let end = match timeout(PATIENCE, exchange(&mut stream, &message.encode_to_vec())).await {
            Ok(Ok(reply)) => self.hear(&reply),
            Ok(Err(pause)) => {
                self.mind().core.lost(&message);
                Some(pause)
            }
            Err(_) => {
                self.mind().core.lost(&message);
                None
            }
        };
        drop(stream);
        if self.restarts() {
            return End::Again(Duration::ZERO);
        }
        match end {
            Some(pause) if !pause.is_zero() => End::Again(pause),
            _ => {
                self.until_due().await;
                End::Again(Duration::from_millis(1))
            }
        }
    }
}

/// The answer to a message, or when to come back.
async fn exchange(stream: &mut DuplexStream, body: &[u8]) -> Result<ServerToAgent, Duration> {
    let head_text = format!(
        "POST /v1/opamp HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let soon = Duration::from_millis(700);
    let request = [head_text.as_bytes(), body].concat();
    stream.write_all(&request).await.map_err(|_| soon)?;
    let Some(mut answer) = head(stream).await else { return Err(soon) };
    if !answer.text.starts_with("HTTP/1.1 200") {
        return Err(answer.retry_after().max(soon));
    }
    let length = answer.header("content-length:").unwrap_or(0);
    let mut buffer = [0; 2048];
    while (answer.rest.len() as u64) < length {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => answer.rest.extend_from_slice(&buffer[..count]),
            _ => return Err(soon),
        }
    }
    ServerToAgent::decode(&answer.rest[..]).map_err(|_| soon)
}
