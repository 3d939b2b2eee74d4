//! Receiving: typed messages of one subscription, and the way to answer them.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use model::Timestamp;
use prost::Message;
use tokio::task::{JoinError, JoinSet};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::limits::{PARCEL_BYTES_AT_ONCE, PARCEL_TTL, PARCELS_AT_ONCE, PARCELS_WAITING_MAX};
use crate::port::{Inbound, ReplyTo, Subscription};
use crate::post::{Kind, Post, decode};
use crate::v1::envelope::Body;
use crate::v1::{Envelope, Parcel};
use crate::{Error, trace};

/// Typed messages of one subscription.
///
/// A large message is fetched beside the others, which may overtake it. `next` may be dropped at
/// any time without losing a message.
#[derive(Debug)]
pub struct Inbox<M> {
    post: Arc<Post>,
    subject: String,
    subscription: Subscription,
    /// Large messages on their way here.
    fetching: JoinSet<(Letter, Result<Bytes, Error>)>,
    fetching_bytes: usize,
    /// Large messages that still lie at their senders.
    waiting: VecDeque<Letter>,
    ended: bool,
    _message: PhantomData<fn() -> M>,
}

/// A large message without its body.
#[derive(Debug)]
struct Letter {
    envelope: Envelope,
    parcel: Parcel,
    reply: Option<ReplyTo>,
}

impl Letter {
    fn size(&self) -> usize {
        usize::try_from(self.parcel.size).unwrap_or(usize::MAX)
    }
}

/// A message received.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub body: M,
    /// When the sender stops waiting; `None` if it does not wait.
    pub deadline: Option<Timestamp>,
    context: opentelemetry::Context,
    post: Arc<Post>,
    reply: Option<ReplyTo>,
}

impl<M: Message + Default> Inbox<M> {
    pub(crate) fn new(post: Arc<Post>, subject: String, subscription: Subscription) -> Self {
        Self {
            post,
            subject,
            subscription,
            fetching: JoinSet::new(),
            fetching_bytes: 0,
            waiting: VecDeque::new(),
            ended: false,
            _message: PhantomData,
        }
    }

    /// The next message that can be read; `None` once the bus is gone for good.
    pub async fn next(&mut self) -> Option<Received<M>> {
        loop {
            self.fetch_some();
            let received = tokio::select! {
                biased;
                Some(fetched) = self.fetching.join_next() => self.fetched(fetched),
                inbound = self.subscription.next(), if !self.ended => match inbound {
                    Some(inbound) => self.take(inbound),
                    None => {
                        self.ended = true;
                        None
                    }
                },
                else => return None,
            };
            if received.is_some() {
                return received;
            }
        }
    }

    /// The next message if one is already here.
    #[expect(clippy::unused_async, reason = "callers await it, as they do `next`")]
    pub async fn try_next(&mut self) -> Option<Received<M>> {
        loop {
            self.fetch_some();
            let received = if let Some(fetched) = self.fetching.try_join_next() {
                self.fetched(fetched)
            } else {
                let inbound = self.subscription.try_next()?;
                self.take(inbound)
            };
            if received.is_some() {
                return received;
            }
        }
    }

    /// Hands on a message that is here, or notes one that must be fetched.
    fn take(&mut self, inbound: Inbound) -> Option<Received<M>> {
        match self.post.open(&self.subject, inbound.payload) {
            Ok((envelope, Body::Inline(body))) => self.receive(&envelope, body, inbound.reply),
            Ok((envelope, Body::Parcel(parcel))) => {
                if self.waiting.len() < PARCELS_WAITING_MAX {
                    self.waiting.push_back(Letter { envelope, parcel, reply: inbound.reply });
                } else {
                    lost("too many wait");
                }
                None
            }
            Err(error) => {
                self.post.unreadable(&error);
                None
            }
        }
    }

    fn fetch_some(&mut self) {
        while let Some(first) = self.waiting.front() {
            let fits = self.fetching.len() < PARCELS_AT_ONCE
                && self.fetching_bytes + first.size() <= PARCEL_BYTES_AT_ONCE;
            if !fits && !self.fetching.is_empty() {
                return;
            }
            let Some(letter) = self.waiting.pop_front() else { return };
            self.fetching_bytes += letter.size();
            let post = self.post.clone();
            self.fetching.spawn(async move {
                let fetched = tokio::time::timeout(PARCEL_TTL, post.fetch(&letter.parcel)).await;
                let subject = &letter.parcel.subject;
                let late = || Err(Error::TimedOut(subject.clone()));
                let fetched = fetched.unwrap_or_else(|_| late());
                (letter, fetched)
            });
        }
    }

    fn fetched(
        &mut self,
        fetched: Result<(Letter, Result<Bytes, Error>), JoinError>,
    ) -> Option<Received<M>> {
        let (letter, body) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down.
                Err(_) => return None,
            },
        };
        self.fetching_bytes -= letter.size();
        match body {
            Ok(body) => self.receive(&letter.envelope, body, letter.reply),
            Err(error) => {
                lost(&error.to_string());
                None
            }
        }
    }

    fn receive(
        &self,
        envelope: &Envelope,
        body: Bytes,
        reply: Option<ReplyTo>,
    ) -> Option<Received<M>> {
        match decode(&self.subject, body) {
            Ok(body) => Some(Received {
                body,
                deadline: (envelope.deadline_unix_ms > 0)
                    .then_some(Timestamp(envelope.deadline_unix_ms)),
                context: trace::extract(envelope),
                post: self.post.clone(),
                reply,
            }),
            Err(error) => {
                self.post.unreadable(&error);
                None
            }
        }
    }
}

impl<M> Received<M> {
    /// Makes the sender's span the parent of one of ours.
    pub fn parent(&self, span: &tracing::Span) {
        // A subscriber without OpenTelemetry has nothing to set; that is no error here.
        let _ = span.set_parent(self.context.clone());
    }

    /// Whether the sender has stopped waiting.
    pub fn expired(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.post.clock.now() > deadline)
    }

    /// Splits the message from the way to answer it.
    pub fn split(self) -> (M, Responder) {
        (self.body, Responder { post: self.post, reply: self.reply })
    }
}

/// The way to answer one message.
#[derive(Debug)]
pub struct Responder {
    post: Arc<Post>,
    reply: Option<ReplyTo>,
}

impl Responder {
    /// Answers, if the sender waits for it.
    pub async fn send(self, answer: &impl Message) {
        let Some(reply) = self.reply else { return };
        match self.post.pack(answer, Kind::Answer) {
            Ok(packed) => {
                reply.send(packed.payload.clone()).await;
                packed.sent();
            }
            Err(error) => tracing::warn!(%error, "answer dropped"),
        }
    }
}

/// A large message whose body did not come. Its sender has a deadline.
fn lost(reason: &str) {
    metrics::counter!("muster_bus_parcels_lost_total").increment(1);
    tracing::debug!(reason, "large message dropped");
}
