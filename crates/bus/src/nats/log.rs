//! The event log on JetStream: one stream per fleet, its sequence numbers are the positions.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};
use futures_util::StreamExt as _;
use tokio::sync::{OnceCell, mpsc};

use crate::Error;
use crate::limits::{
    APPEND_WINDOW, LOG_AGE_MAX, LOG_DUPLICATE_WINDOW, LOG_STREAM_BYTES_MAX, LOG_TIMEOUT,
    READER_CAPACITY,
};
use crate::port::{Guard, LogEntry, LogReader, Logged, Position};

/// The log, opened when it is first used: a process that never does needs no JetStream.
pub(super) struct Log {
    context: Context,
    fleet: String,
    replicas: usize,
    stream: OnceCell<Stream>,
}

impl Log {
    pub(super) fn new(client: Client, fleet: &str, replicas: usize) -> Self {
        let context = async_nats::jetstream::new(client);
        Self { context, fleet: fleet.to_owned(), replicas, stream: OnceCell::new() }
    }

    pub(super) async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.stream().await?;
        for window in entries.chunks(APPEND_WINDOW) {
            within(self.append_window(window)).await??;
        }
        Ok(())
    }

    /// Sends all, then waits for all: never one by one.
    async fn append_window(&self, entries: &[LogEntry]) -> Result<(), Error> {
        let mut acks = Vec::with_capacity(entries.len());
        for entry in entries {
            let subject = format!("{}.v1.events.{}", self.fleet, entry.key);
            let message =
                PublishMessage::build().payload(entry.payload.clone()).message_id(&entry.id);
            acks.push(self.context.send_publish(subject, message).await.map_err(unavailable)?);
        }
        for ack in acks {
            ack.await.map_err(unavailable)?;
        }
        Ok(())
    }

    pub(super) async fn tail(&self) -> Result<Position, Error> {
        let info = within(self.stream().await?.get_info()).await?.map_err(unavailable)?;
        Ok(Position(info.state.last_sequence + 1))
    }

    pub(super) async fn read(&self, from: Position) -> Result<LogReader, Error> {
        let stream = self.stream().await?;
        let state = within(stream.get_info()).await?.map_err(unavailable)?.state;
        let oldest = state.first_sequence.max(1);
        if from.0 < oldest || from.0 > state.last_sequence + 1 {
            return Err(Error::OutOfRange { asked: from.0, oldest });
        }
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.0 },
            ..Default::default()
        };
        let consumer = within(stream.create_consumer(config)).await?.map_err(unavailable)?;
        let messages = within(consumer.messages()).await?.map_err(unavailable)?;
        let (sender, receiver) = mpsc::channel(READER_CAPACITY);
        #[expect(clippy::disallowed_methods, reason = "aborted by the reader's guard")]
        let task = tokio::spawn(deliver(messages, from, sender));
        Ok(LogReader::new(receiver, Guard::new(move || task.abort())))
    }

    async fn stream(&self) -> Result<&Stream, Error> {
        let open = async {
            let config = Config {
                name: format!("{}_events_v1", self.fleet),
                subjects: vec![format!("{}.v1.events.*", self.fleet)],
                max_bytes: LOG_STREAM_BYTES_MAX,
                max_age: LOG_AGE_MAX,
                duplicate_window: LOG_DUPLICATE_WINDOW,
                discard: DiscardPolicy::Old,
                num_replicas: self.replicas,
                ..Default::default()
            };
            within(self.context.get_or_create_stream(config)).await?.map_err(unavailable)
        };
        self.stream.get_or_try_init(|| open).await
    }
}

/// Hands entries on until the reader goes or the log has a hole where entries were expected.
async fn deliver(
    mut messages: Ordered,
    from: Position,
    sender: mpsc::Sender<Result<Logged, Error>>,
) {
    let mut expected = from.0;
    while let Some(message) = messages.next().await {
        let item = match message {
            Err(error) => Err(unavailable(error)),
            Ok(message) => match message.info().map(|info| info.stream_sequence) {
                Err(error) => Err(unavailable(error)),
                Ok(found) if found != expected => {
                    Err(Error::OutOfRange { asked: expected, oldest: found })
                }
                Ok(found) => {
                    expected = found + 1;
                    Ok(Logged { position: Position(found), payload: message.payload.clone() })
                }
            },
        };
        let last = item.is_err();
        if sender.send(item).await.is_err() || last {
            return;
        }
    }
}

async fn within<T>(call: impl Future<Output = T>) -> Result<T, Error> {
    let timeout: Duration = LOG_TIMEOUT;
    tokio::time::timeout(timeout, call)
        .await
        .map_err(|_| Error::Unavailable(format!("JetStream did not answer within {timeout:?}")))
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("JetStream: {error}"))
}
