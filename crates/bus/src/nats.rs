//! The bus of a cluster: core NATS for messages, JetStream for the event log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, RequestErrorKind, ServerAddr};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Error;
use crate::limits::{CONNECT_TIMEOUT, REPLIES_MAX, SEND_TIMEOUT};
use crate::port::{Bus, Guard, Inbound, LogEntry, LogReader, Position, ReplyTo, Subscription};

mod log;

use log::Log;

/// How to reach NATS.
#[derive(Clone)]
pub struct NatsConfig {
    /// `nats://host:port`, several separated by commas. May carry credentials.
    pub url: String,
    /// Prefix of every subject, and of the event log's stream.
    pub fleet: String,
    /// Name shown on the server for this process.
    pub name: String,
    /// Copies of the event log on different servers: 1 on one server, 3 on a cluster.
    pub replicas: usize,
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("NatsConfig").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

/// A connection to NATS that is kept up for ever. Cheap to clone; clones are the same one.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    log: Arc<Log>,
    replies: mpsc::Sender<(String, Bytes)>,
    _writer: Arc<Writer>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("state", &self.client.connection_state()).finish()
    }
}

/// The task that sends answers.
struct Writer(JoinHandle<()>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Nats {
    /// Connects. The first connection must succeed; lost ones are made again by themselves.
    pub async fn connect(config: NatsConfig) -> Result<Self, Error> {
        let unavailable = |error: String| Error::Unavailable(error);
        let servers: Result<Vec<ServerAddr>, _> = config.url.split(',').map(str::parse).collect();
        let servers = servers.map_err(|_| unavailable("the bus URL is not valid".to_owned()))?;
        let connecting = ConnectOptions::new()
            .name(&config.name)
            .connection_timeout(CONNECT_TIMEOUT)
            .reconnect_delay_callback(reconnect_delay)
            .connect(servers);
        let client = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| unavailable(format!("no connection within {CONNECT_TIMEOUT:?}")))?
            .map_err(|error| unavailable(error.to_string()))?;
        let (replies, outbox) = mpsc::channel(REPLIES_MAX);
        #[expect(clippy::disallowed_methods, reason = "owned and aborted by Writer")]
        let writer = tokio::spawn(write_replies(client.clone(), outbox));
        let log = Arc::new(Log::new(client.clone(), &config.fleet, config.replicas));
        Ok(Self { client, log, replies, _writer: Arc::new(Writer(writer)) })
    }

    /// While the connection is down the client would queue; callers are told instead.
    fn check(&self) -> Result<(), Error> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => {
                Err(Error::Unavailable("not connected to NATS".to_owned()))
            }
        }
    }
}

#[async_trait]
impl Bus for Nats {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        self.check()?;
        let sending = self.client.publish(subject.to_owned(), payload);
        within(sending).await?.map_err(|error| Error::Unavailable(error.to_string()))
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        self.check()?;
        let request = async_nats::Request::new().payload(payload).timeout(Some(timeout));
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => Error::NoResponder(subject.to_owned()),
                RequestErrorKind::TimedOut => Error::TimedOut(subject.to_owned()),
                _ => Error::Unavailable(error.to_string()),
            }),
        }
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        self.check()?;
        let subscribed = match group {
            Some(group) => self.client.queue_subscribe(subject.to_owned(), group.to_owned()).await,
            None => self.client.subscribe(subject.to_owned()).await,
        };
        let incoming = subscribed.map_err(|error| Error::Unavailable(error.to_string()))?;
        // Only once the server knows of it does "from now on" hold.
        within(self.client.flush())
            .await?
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let (sender, receiver) = mpsc::channel(capacity);
        #[expect(clippy::disallowed_methods, reason = "aborted by the subscription's guard")]
        let task = tokio::spawn(receive(incoming, sender, self.replies.clone()));
        Ok(Subscription::new(receiver, Guard::new(move || task.abort())))
    }

    fn payload_max(&self) -> usize {
        self.client.max_payload()
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.check()?;
        self.log.append(entries).await
    }

    async fn tail(&self) -> Result<Position, Error> {
        self.check()?;
        self.log.tail().await
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        self.check()?;
        self.log.read(from).await
    }
}

/// Hands messages on; what finds the queue full is dropped, as NATS itself would.
async fn receive(
    mut incoming: async_nats::Subscriber,
    sender: mpsc::Sender<Inbound>,
    replies: mpsc::Sender<(String, Bytes)>,
) {
    while let Some(message) = incoming.next().await {
        let reply = message.reply.map(|subject| ReplyTo::Remote {
            subject: subject.to_string(),
            outbox: replies.clone(),
        });
        let inbound = Inbound { payload: message.payload, reply };
        if sender.try_send(inbound).is_err() {
            metrics::counter!("muster_bus_dropped_total").increment(1);
        }
    }
}

async fn write_replies(client: Client, mut outbox: mpsc::Receiver<(String, Bytes)>) {
    while let Some((subject, payload)) = outbox.recv().await {
        // An answer that cannot be sent now is late anyway: its asker has a deadline.
        let _ = within(client.publish(subject, payload)).await;
    }
}

/// Grows to two seconds, spread by the attempt itself so that processes do not march in step.
fn reconnect_delay(attempts: usize) -> Duration {
    let base = 50_u64.saturating_mul(1 << attempts.min(5));
    let spread = u64::from(std::process::id()).wrapping_mul(attempts as u64 + 7) % (base / 2 + 1);
    Duration::from_millis((base + spread).min(2000))
}

async fn within<T>(call: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(SEND_TIMEOUT, call)
        .await
        .map_err(|_| Error::Unavailable(format!("NATS took no message within {SEND_TIMEOUT:?}")))
}
