//! The event log on JetStream: one stream per fleet, its sequence numbers are the positions.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{
    Context, ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};

use super::link::Link;
use crate::Error;
use crate::limits::{
    APPEND_WINDOW, LOG_AGE_MAX, LOG_DUPLICATE_WINDOW, LOG_STREAM_BYTES_MAX, LOG_TIMEOUT,
};
use crate::port::{LogEntry, Position, check_key};

pub(super) struct Log {
    link: Arc<Link>,
    context: Context,
    fleet: String,
    replicas: usize,
    /// The stream was there when last heard of.
    known: AtomicBool,
}

impl Log {
    pub(super) fn new(link: Arc<Link>, fleet: &str, replicas: usize) -> Self {
        let context = ContextBuilder::new().timeout(LOG_TIMEOUT).build(link.client().clone());
        let known = AtomicBool::new(false);
        Self { link, context, fleet: fleet.to_owned(), replicas, known }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        for entry in &entries {
            check_key(&entry.key)?;
        }
        if !self.known.load(Ordering::Relaxed) {
            self.stream().await?;
        }
        for window in entries.chunks(APPEND_WINDOW) {
            let appended = within(self.append_window(window)).await.flatten();
            if let Err(Error::Unavailable(_)) = appended {
                // It may have been deleted. The next append makes it anew.
                self.known.store(false, Ordering::Relaxed);
            }
            appended?;
        }
        Ok(())
    }

    /// Sends all, then waits for all: never one by one, and always in order.
    async fn append_window(&self, entries: &[LogEntry]) -> Result<(), Error> {
        self.link.check()?;
        let mut acks = Vec::with_capacity(entries.len());
        for entry in entries {
            let subject = format!("{}.v1.events.{}", self.fleet, entry.key);
            let message =
                PublishMessage::build().payload(entry.payload.clone()).message_id(&entry.id);
            let sent = self.context.send_publish(subject, message).await;
            acks.push(sent.map_err(|error| match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => {
                    Error::TooLarge { size: entry.payload.len(), limit: self.link.payload_max() }
                }
                _ => unavailable(error),
            })?);
        }
        self.link.traffic().appended(entries.len());
        for ack in acks {
            ack.await.map_err(unavailable)?;
        }
        Ok(())
    }

    pub(super) async fn tail(&self) -> Result<Position, Error> {
        Ok(Position(self.stream().await?.cached_info().state.last_sequence + 1))
    }

    /// The stream as it is now, made if it is not there.
    pub(super) async fn stream(&self) -> Result<Stream, Error> {
        self.link.check()?;
        let (name, subjects) = (self.name(), format!("{}.v1.events.*", self.fleet));
        let config = Config {
            name: name.clone(),
            subjects: vec![subjects.clone()],
            max_bytes: LOG_STREAM_BYTES_MAX,
            max_age: LOG_AGE_MAX,
            duplicate_window: LOG_DUPLICATE_WINDOW,
            discard: DiscardPolicy::Old,
            num_replicas: self.replicas,
            deny_delete: true,
            ..Default::default()
        };
        let opening = self.context.get_or_create_stream(config);
        let stream = within(opening).await?.map_err(|error| match error.kind() {
            CreateStreamErrorKind::JetStreamUnavailable => {
                unavailable("JetStream is not enabled on the server, or has no leader")
            }
            _ => unavailable(format!("stream {name}: {error}")),
        })?;
        if !stream.cached_info().config.subjects.contains(&subjects) {
            return Err(unavailable(format!("stream {name} does not take {subjects}")));
        }
        self.known.store(true, Ordering::Relaxed);
        Ok(stream)
    }

    /// The stream as it is now, if it is there.
    pub(super) async fn existing_stream(&self) -> Result<Option<Stream>, Error> {
        self.link.check()?;
        match within(self.context.get_stream(self.name())).await? {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(unavailable(error)),
            },
        }
    }

    fn name(&self) -> String {
        format!("{}_events_v1", self.fleet)
    }
}

pub(super) async fn within<T>(call: impl Future<Output = T>) -> Result<T, Error> {
    let timeout: Duration = LOG_TIMEOUT;
    tokio::time::timeout(timeout, call)
        .await
        .map_err(|_| unavailable(format!("no answer within {timeout:?}")))
}

pub(super) fn unavailable(error: impl Display) -> Error {
    Error::Unavailable(format!("event log: {error}"))
}
