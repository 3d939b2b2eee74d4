//! Typed speech over any [`Bus`]: subjects, envelopes, deadlines, trace context, parcels.

use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use prost::Message;

use crate::inbox::Inbox;
use crate::port::{Bus, LogEntry, LogReader, Position};
use crate::post::{Kind, Post};
use crate::v1::{self, AgentEvent};
use crate::{Counts, Error, Subject};

/// A request that has one kind of answer.
pub trait Call: Message {
    /// The answer.
    type Reply: Message + Default;
}

impl Call for v1::Report {
    type Reply = v1::ReportReply;
}
impl Call for v1::Close {
    type Reply = v1::CloseReply;
}
impl Call for v1::Resume {
    type Reply = v1::ResumeReply;
}
impl Call for v1::Reap {
    type Reply = v1::ReapReply;
}
impl Call for v1::IntentChanged {
    type Reply = v1::IntentKnown;
}
impl Call for v1::Reassess {
    type Reply = v1::ReassessReply;
}
impl Call for v1::Forget {
    type Reply = v1::ForgetReply;
}
impl Call for v1::Handover {
    type Reply = v1::HandoverReply;
}
impl Call for v1::RollRequest {
    type Reply = v1::RollReply;
}
impl Call for v1::GatewayRequest {
    type Reply = v1::GatewayReply;
}

/// One process's voice on the bus. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    post: Arc<Post>,
}

impl Client {
    /// Speaks for one process. `name` must be unique on the bus; `fleet` is the prefix of every
    /// subject.
    pub async fn new(
        bus: Arc<dyn Bus>,
        fleet: &str,
        name: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let post = Arc::new(Post::new(bus, fleet, name, clock).await?);
        Ok(Self { post })
    }

    /// Sends to whoever listens.
    pub async fn publish(&self, to: &Subject, message: &impl Message) -> Result<(), Error> {
        let packed = self.post.pack(message, Kind::Publish)?;
        self.post.bus.publish(&to.text(&self.post.fleet), packed.payload.clone()).await?;
        // A published parcel stays until it expires: nobody says when all have fetched it.
        packed.sent();
        Ok(())
    }

    /// Sends and waits for the answer.
    pub async fn request<C: Call>(
        &self,
        to: &Subject,
        call: &C,
        timeout: Duration,
    ) -> Result<C::Reply, Error> {
        let subject = to.text(&self.post.fleet);
        // The parcel, if it is one, goes with this value: with the answer, the deadline, or
        // with an asker that no longer wants to know.
        let packed = self.post.pack(call, Kind::Request(timeout))?;
        let answered = tokio::time::timeout(timeout, async {
            let payload = packed.payload.clone();
            let answer = self.post.bus.request(&subject, payload, timeout).await?;
            self.post.open_answer(&subject, answer).await
        });
        answered.await.unwrap_or_else(|_| Err(Error::TimedOut(subject.clone())))
    }

    /// Listens to what is sent to everybody who listens.
    pub async fn subscribe<M: Message + Default>(
        &self,
        to: &Subject,
        capacity: usize,
    ) -> Result<Inbox<M>, Error> {
        self.listen(to, None, capacity).await
    }

    /// Takes a share of what is sent to a group.
    pub async fn join<M: Message + Default>(
        &self,
        to: &Subject,
        group: &str,
        capacity: usize,
    ) -> Result<Inbox<M>, Error> {
        self.listen(to, Some(group), capacity).await
    }

    async fn listen<M: Message + Default>(
        &self,
        to: &Subject,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Inbox<M>, Error> {
        let subject = to.text(&self.post.fleet);
        let subscription = self.post.bus.subscribe(&subject, group, capacity).await?;
        Ok(Inbox::new(self.post.clone(), subject, subscription))
    }

    /// Appends events to the log, each as it was encoded for the outbox.
    pub async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.post.bus.append(entries).await
    }

    /// Position after the newest event.
    pub async fn tail(&self) -> Result<Position, Error> {
        self.post.bus.tail().await
    }

    /// Reads the log from a position on.
    pub async fn events(&self, from: Position) -> Result<Events, Error> {
        Ok(Events { reader: self.post.bus.read(from).await?, post: self.post.clone() })
    }

    /// What was sent through the bus under this client so far, by anybody who shares it.
    pub fn traffic(&self) -> Counts {
        self.post.bus.traffic()
    }

    /// Messages and events received so far that could not be read, and were skipped.
    pub fn malformed(&self) -> u64 {
        self.post.malformed()
    }

    /// Bytes of large messages that lie here to be fetched.
    pub fn held_bytes(&self) -> usize {
        self.post.held_bytes()
    }
}

/// The event log as it is read.
#[derive(Debug)]
pub struct Events {
    reader: LogReader,
    post: Arc<Post>,
}

impl Events {
    /// Which log it is. Positions of another mean nothing in it.
    pub fn log(&self) -> u64 {
        self.reader.log()
    }

    /// The next event and its position. Entries that cannot be decoded are counted and skipped:
    /// a newer writer's entry must not stop an older reader.
    pub async fn next(&mut self) -> Option<Result<(Position, AgentEvent), Error>> {
        loop {
            match self.reader.next().await? {
                Err(error) => return Some(Err(error)),
                Ok(logged) => match AgentEvent::decode(logged.payload) {
                    Ok(event) => return Some(Ok((logged.position, event))),
                    Err(error) => self.post.unreadable(&Error::Malformed {
                        subject: format!("event log at {}", logged.position.0),
                        reason: error.to_string(),
                    }),
                },
            }
        }
    }
}
