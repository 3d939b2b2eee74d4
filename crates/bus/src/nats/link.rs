//! One connection: sends without ever queueing behind a lost one, and keeps who waits for which
//! answer. (The client's own requests forget neither askers that gave up nor, until their
//! deadline, those whose connection broke.)

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::client::traits::Publisher as _;
use async_nats::connection::State;
use async_nats::message::OutboundMessage;
use async_nats::{Client, Message, StatusCode, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::limits::SEND_TIMEOUT;
use crate::port::Way;
use crate::traffic::Traffic;

pub(super) struct Link {
    client: Client,
    /// Answers come to `<inbox>.<token>`.
    inbox: String,
    waiters: Arc<Waiters>,
    traffic: Arc<Traffic>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("state", &self.client.connection_state()).finish()
    }
}

impl Link {
    pub(super) fn new(client: Client, waiters: Arc<Waiters>, traffic: Arc<Traffic>) -> Self {
        let inbox = client.new_inbox();
        Self { client, inbox, waiters, traffic }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(super) fn waiters(&self) -> Arc<Waiters> {
        self.waiters.clone()
    }

    pub(super) fn payload_max(&self) -> usize {
        self.client.max_payload()
    }

    /// While the connection is down the client would queue; callers are told instead.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => {
                Err(Error::Unavailable("not connected to NATS".to_owned()))
            }
        }
    }

    pub(super) async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        let deadline = Instant::now() + SEND_TIMEOUT;
        self.send(subject, None, payload, deadline).await
    }

    /// Sends what somebody is to answer.
    pub(super) async fn ask(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Waiter, Error> {
        let waiter = self.waiters.add();
        let reply = self.answer_subject(&waiter);
        let deadline = deadline.min(Instant::now() + SEND_TIMEOUT);
        self.send(subject, Some(reply), payload, deadline).await?;
        Ok(waiter)
    }

    /// Returns once the server has worked on all that was sent before.
    pub(super) async fn round_trip(&self) -> Result<(), Error> {
        let waiter = self.waiters.add();
        let subject = self.answer_subject(&waiter);
        let deadline = Instant::now() + SEND_TIMEOUT;
        self.send(&subject, None, Bytes::new(), deadline).await?;
        let answer = waiter.answer(&subject, deadline).await;
        answer.map(drop).map_err(|_| Error::Unavailable("NATS does not answer".to_owned()))
    }

    pub(super) async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
    ) -> Result<Subscriber, Error> {
        self.check()?;
        let (subject, deadline) = (subject.to_owned(), Instant::now() + SEND_TIMEOUT);
        let subscribed = match group {
            Some(group) => {
                let subscribing = self.client.queue_subscribe(subject, group.to_owned());
                timeout_at(deadline, subscribing).await
            }
            None => timeout_at(deadline, self.client.subscribe(subject)).await,
        };
        subscribed.map_err(|_| not_taken())?.map_err(unavailable)
    }

    pub(super) async fn listen_for_answers(&self) -> Result<Subscriber, Error> {
        self.subscribe(&format!("{}.*", self.inbox), None).await
    }

    fn answer_subject(&self, waiter: &Waiter) -> String {
        format!("{}.{}", self.inbox, waiter.token)
    }

    async fn send(
        &self,
        subject: &str,
        reply: Option<String>,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.check()?;
        let (size, limit) = (payload.len(), self.payload_max());
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let reply = reply.map(Into::into);
        let message = OutboundMessage { subject: subject.into(), reply, headers: None, payload };
        let sending = self.client.publish_message(message);
        timeout_at(deadline, sending).await.map_err(|_| not_taken())?.map_err(unavailable)
    }
}

#[async_trait]
impl Way for Link {
    async fn answer(&self, subject: &str, payload: Bytes) {
        match self.publish(subject, payload).await {
            Ok(()) => self.traffic.replied(),
            // An answer that cannot be sent now is late anyway: its asker has a deadline.
            Err(error) => tracing::debug!(%error, "answer not sent"),
        }
    }
}

/// Those who wait for answers.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Mutex<Waiting>,
    /// Rises each time the connection breaks.
    breaks: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    senders: BTreeMap<u64, oneshot::Sender<Message>>,
    next: u64,
}

impl Waiters {
    fn add(self: &Arc<Self>) -> Waiter {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let token = waiting.next;
        waiting.next += 1;
        waiting.senders.insert(token, sender);
        Waiter { token, receiver, waiters: self.clone() }
    }

    fn take(&self, token: u64) -> Option<oneshot::Sender<Message>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.senders.remove(&token)
    }

    /// The connection broke: nobody's answer comes any more.
    pub(super) fn break_off(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.senders.clear();
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Tells of broken connections from now on.
    pub(super) fn breaks(&self) -> watch::Receiver<u64> {
        self.breaks.subscribe()
    }
}

/// One who waits for an answer. Dropping it forgets the question.
#[derive(Debug)]
pub(super) struct Waiter {
    token: u64,
    receiver: oneshot::Receiver<Message>,
    waiters: Arc<Waiters>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.take(self.token);
    }
}

impl Waiter {
    pub(super) async fn answer(
        mut self,
        subject: &str,
        deadline: Instant,
    ) -> Result<Message, Error> {
        match timeout_at(deadline, &mut self.receiver).await {
            Ok(Ok(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(Error::NoResponder(subject.to_owned()))
            }
            Ok(Ok(message)) => Ok(message),
            // Broken off after it was sent is as silence: whether anybody acted is unknown.
            Ok(Err(_)) | Err(_) => Err(Error::TimedOut(subject.to_owned())),
        }
    }
}

/// Hands answers to those who wait for them; others come too late for anybody.
pub(super) async fn route(mut answers: Subscriber, waiters: Arc<Waiters>) {
    while let Some(message) = answers.next().await {
        let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        if let Some(sender) = token.and_then(|token| waiters.take(token)) {
            let _ = sender.send(message);
        }
    }
}

fn unavailable(error: impl fmt::Display) -> Error {
    Error::Unavailable(format!("NATS: {error}"))
}

fn not_taken() -> Error {
    Error::Unavailable("NATS took no message in time".to_owned())
}
