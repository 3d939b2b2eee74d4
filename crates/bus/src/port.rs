//! The port: what every bus can do, in bytes. Backends implement it, one contract suite holds
//! them to it, and nothing outside this crate calls it but through [`Client`](crate::Client).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::queue::Exit;
use crate::{Counts, Error};

/// A message bus with an event log beside it.
///
/// Publish and request are at most once: a message may vanish, and is never repeated by the bus.
/// Only the log is durable (as far as its backend is), ordered, and deduplicated by entry id.
#[async_trait]
pub trait Bus: Send + Sync + fmt::Debug {
    /// Sends to every subscription on the subject and to one member of each group. Returns once
    /// the bus has taken it, not once somebody has it.
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error>;

    /// Sends and waits for one answer. `NoResponder` is told apart from silence.
    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error>;

    /// Receives what is sent on the subject from now on. Members of one group share the
    /// messages, each going to one of them. `capacity` bounds the messages waiting here (their
    /// bytes have a bound too); beyond it new ones are dropped and counted
    /// (`muster_bus_dropped_total`).
    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error>;

    /// Largest payload one message may have.
    fn payload_max(&self) -> usize;

    /// Appends entries to the event log in order. Entries whose id the log has seen lately are
    /// accepted and not stored again. Returns once all are as durable as the backend makes them.
    /// After an error some may be stored: append all of them again. Those that were missing then
    /// follow the ones that were not, so readers go by what entries say, not by their order.
    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error>;

    /// Position after the newest entry: reading from it yields what is appended from now on.
    async fn tail(&self) -> Result<Position, Error>;

    /// Reads the log from a position on, for ever.
    async fn read(&self, from: Position) -> Result<LogReader, Error>;

    /// What was sent through this bus so far. Zeros where nobody counts.
    fn traffic(&self) -> Counts {
        Counts::default()
    }
}

/// A place in the event log. Positions rise with every entry, not always by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// An entry on its way into the log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// What the entry is about; entries of one key keep their order. Letters, digits and `-`.
    pub key: String,
    /// Unique per entry: the same id twice is the same entry.
    pub id: String,
    /// The entry itself.
    pub payload: Bytes,
}

/// An entry read from the log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Where it lies.
    pub position: Position,
    /// The entry itself.
    pub payload: Bytes,
}

/// A message received by a subscription.
#[derive(Debug)]
pub struct Inbound {
    /// The message.
    pub payload: Bytes,
    /// Present if the sender waits for an answer.
    pub reply: Option<ReplyTo>,
}

/// Where an answer goes.
#[derive(Debug)]
pub struct ReplyTo {
    subject: String,
    way: Arc<dyn Way>,
}

/// How answers leave a backend.
#[async_trait]
pub trait Way: Send + Sync + fmt::Debug {
    /// Sends an answer, or drops it where there is no one to take it.
    async fn answer(&self, subject: &str, payload: Bytes);
}

impl ReplyTo {
    /// The way back to an asker, which the backend knows by this subject.
    pub fn new(subject: String, way: Arc<dyn Way>) -> Self {
        Self { subject, way }
    }

    /// Answers. The asker may be gone; that is its own business.
    pub async fn send(self, payload: Bytes) {
        self.way.answer(&self.subject, payload).await;
    }
}

/// Messages of one subscription. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    waiting: Exit,
    _guard: Guard,
}

/// Entries of the log from some position on. Dropping it ends the reading.
#[derive(Debug)]
pub struct LogReader {
    log: u64,
    receiver: mpsc::Receiver<Result<Logged, Error>>,
    _guard: Guard,
}

/// Runs the backend's clean-up when a subscription or reader is dropped.
pub struct Guard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Guard {
    /// One that runs this.
    pub fn new(on_drop: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(on_drop)))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(on_drop) = self.0.take() {
            on_drop();
        }
    }
}

impl Subscription {
    /// A subscription to what enters this queue.
    pub fn new(waiting: Exit, guard: Guard) -> Self {
        Self { waiting, _guard: guard }
    }

    /// The next message; `None` once the bus is gone for good.
    pub async fn next(&mut self) -> Option<Inbound> {
        self.waiting.next().await
    }

    /// The next message if one is already here.
    pub fn try_next(&mut self) -> Option<Inbound> {
        self.waiting.try_next()
    }
}

impl LogReader {
    /// A reader of the log of this name, as its backend hands out the entries.
    pub fn new(log: u64, receiver: mpsc::Receiver<Result<Logged, Error>>, guard: Guard) -> Self {
        Self { log, receiver, _guard: guard }
    }

    /// Which log it reads. One that was lost and made anew is another: positions of the old one
    /// mean nothing in it.
    pub fn log(&self) -> u64 {
        self.log
    }

    /// The next entry. After an error the reader is done: read again from the last position
    /// seen, or after `OutOfRange` from a new snapshot.
    pub async fn next(&mut self) -> Option<Result<Logged, Error>> {
        self.receiver.recv().await
    }
}

/// Entries' keys are one part of a subject on every backend.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Error::Malformed {
            subject: "the event log".to_owned(),
            reason: "a key holds letters, digits and -".to_owned(),
        });
    }
    Ok(())
}
