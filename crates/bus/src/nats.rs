//! The bus of a cluster: core NATS for messages, JetStream for the event log.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{
    CLIENT_QUEUE, CONNECT_PAUSE, CONNECT_TIMEOUT, PAYLOAD_MIN, PING_INTERVAL, RECONNECT_PAUSE_MAX,
};
use crate::port::{Bus, Guard, Inbound, LogEntry, LogReader, Position, ReplyTo, Subscription, Way};
use crate::queue::{Entrance, queue};
use crate::traffic::Traffic;
use crate::{Counts, Error};

mod access;
mod link;
mod log;
mod reader;

pub use access::NatsAccess;
use access::Way as WayIn;
use link::{Link, Waiters};
use log::Log;

/// How to reach NATS.
#[derive(Clone)]
pub struct NatsConfig {
    /// `nats://host:port` or `tls://host:port`, several separated by commas. May carry
    /// `user:password@` or `token@`; the first that does counts for all.
    pub url: String,
    /// Who this process is to NATS and which NATS it believes, beside what the URL says.
    pub access: NatsAccess,
    /// Prefix of every subject, and of the event log's stream. Letters, digits, `-` and `_`.
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
///
/// The event log is opened when it is first used: a process that never does needs no JetStream.
/// One that does learns from [`tail`](Bus::tail) at its start whether it is there.
#[derive(Clone)]
pub struct Nats {
    link: Arc<Link>,
    log: Arc<Log>,
    /// Hands answers to those who wait for them.
    _router: Arc<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects. The first connection must succeed within seconds; lost ones are made again by
    /// themselves, for ever.
    pub async fn connect(config: NatsConfig) -> Result<Self, Error> {
        check_fleet(&config.fleet)?;
        let traffic = Arc::<Traffic>::default();
        let waiters = Arc::<Waiters>::default();
        let client = connect(&config, &waiters, &traffic).await?;
        let max = client.max_payload();
        if max < PAYLOAD_MIN {
            let reason =
                format!("NATS takes messages of {max} bytes, at least {PAYLOAD_MIN} needed");
            return Err(Error::Unavailable(reason));
        }
        let link = Arc::new(Link::new(client, waiters, traffic));
        let answers = link.listen_for_answers().await?;
        #[expect(clippy::disallowed_methods, reason = "owned by the handle")]
        let router = tokio::spawn(link::route(answers, link.waiters()));
        let router = Arc::new(AbortOnDropHandle::new(router));
        link.round_trip().await?;
        let log = Arc::new(Log::new(link.clone(), &config.fleet, config.replicas));
        Ok(Self { link, log, _router: router })
    }
}

#[async_trait]
impl Bus for Nats {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        self.link.publish(subject, payload).await?;
        self.link.traffic().published();
        Ok(())
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let deadline = Instant::now() + timeout;
        let waiter = self.link.ask(subject, payload, deadline).await?;
        self.link.traffic().requested();
        Ok(waiter.answer(subject, deadline).await?.payload)
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        let incoming = self.link.subscribe(subject, group).await?;
        // Only once the server knows of it does "from now on" hold.
        self.link.round_trip().await?;
        let (entrance, waiting) = queue(capacity, self.link.traffic().clone());
        #[expect(clippy::disallowed_methods, reason = "aborted by the subscription's guard")]
        let task = tokio::spawn(receive(incoming, entrance, self.link.clone()));
        Ok(Subscription::new(waiting, Guard::new(move || task.abort())))
    }

    fn payload_max(&self) -> usize {
        self.link.payload_max()
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.log.append(entries).await
    }

    async fn tail(&self) -> Result<Position, Error> {
        self.log.tail().await
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        reader::read(self.log.clone(), from).await
    }

    fn traffic(&self) -> Counts {
        self.link.traffic().counts()
    }
}

/// Hands messages on; what finds the queue full is dropped, as NATS itself would.
async fn receive(mut incoming: async_nats::Subscriber, entrance: Entrance, way: Arc<dyn Way>) {
    while let Some(message) = incoming.next().await {
        let reply = message.reply.map(|subject| ReplyTo::new(subject.to_string(), way.clone()));
        entrance.offer(Inbound { payload: message.payload, reply });
    }
}

/// A subject's first part and a stream's name.
fn check_fleet(fleet: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if fleet.is_empty() || !fleet.bytes().all(fits) {
        return Err(Error::Malformed {
            subject: fleet.to_owned(),
            reason: "a fleet's name holds letters, digits, - and _".to_owned(),
        });
    }
    Ok(())
}

async fn connect(
    config: &NatsConfig,
    waiters: &Arc<Waiters>,
    traffic: &Arc<Traffic>,
) -> Result<Client, Error> {
    let way = WayIn::new(&config.url, &config.access)?;
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        let options = way.take(options(config, waiters, traffic))?;
        let connecting = options.connect(way.servers());
        let error = match tokio::time::timeout_at(deadline, connecting).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => error,
            Err(_) => {
                let reason = format!("no connection to NATS within {CONNECT_TIMEOUT:?}");
                return Err(Error::Unavailable(reason));
            }
        };
        if let Some(reason) = way.refusal(&error) {
            return Err(Error::Refused(reason));
        }
        if Instant::now() + CONNECT_PAUSE > deadline {
            return Err(Error::Unavailable(format!("no connection to NATS: {error}")));
        }
        // NATS and its users are often started together.
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

fn options(config: &NatsConfig, waiters: &Arc<Waiters>, traffic: &Arc<Traffic>) -> ConnectOptions {
    let (waiters, traffic) = (waiters.clone(), traffic.clone());
    ConnectOptions::new()
        .name(&config.name)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(CLIENT_QUEUE)
        .custom_inbox_prefix(format!("{}.v1.inbox", config.fleet))
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            match event {
                Event::Disconnected => waiters.break_off(),
                Event::SlowConsumer(_) => traffic.dropped(),
                _ => {}
            }
            std::future::ready(())
        })
}

/// Doubles up to the longest pause. Half of it is random, so that the processes of a fleet do
/// not come back in step.
fn reconnect_delay(attempts: usize) -> Duration {
    let pause = Duration::from_millis(50 << attempts.min(10)).min(RECONNECT_PAUSE_MAX);
    // Each hasher state is drawn anew, which is random enough for this.
    let drawn = RandomState::new().hash_one(attempts) % 1000;
    pause / 2 + pause.mul_f64(drawn as f64 / 2000.0)
}
