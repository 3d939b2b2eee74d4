//! Typed speech over any [`Bus`]: subjects, envelopes, deadlines, trace context, parcels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, Timestamp};
use prost::Message;
use tokio::task::JoinHandle;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::limits::{
    CHUNK_BYTES, CHUNK_TIMEOUT, ENVELOPE_BYTES_MAX, FETCHES_MAX, INLINE_BYTES_MAX,
    MESSAGE_BYTES_MAX, PARCEL_TTL,
};
use crate::parcel::Parcels;
use crate::port::{Bus, Inbound, LogEntry, LogReader, Position, ReplyTo, Subscription};
use crate::v1::envelope::Body;
use crate::v1::{self, AgentEvent, Envelope, FetchParcel, Parcel, ParcelChunk};
use crate::{Error, Subject, trace};

/// Version of the envelope and of everything in it.
const FORMAT: u32 = 1;
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
impl Call for v1::Reassess {
    type Reply = v1::ReassessReply;
}
impl Call for v1::GetBlob {
    type Reply = v1::GetBlobReply;
}
impl Call for v1::GatewayRequest {
    type Reply = v1::GatewayReply;
}
impl Call for FetchParcel {
    type Reply = ParcelChunk;
}

/// One process's voice on the bus. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    _parcel_server: Arc<ParcelServer>,
}

#[derive(Debug)]
struct Inner {
    bus: Arc<dyn Bus>,
    fleet: String,
    clock: Arc<dyn Clock>,
    /// Subject this process answers fetches on.
    parcel_subject: String,
    parcels: Parcels,
}

#[derive(Debug)]
struct ParcelServer(JoinHandle<()>);

impl Drop for ParcelServer {
    fn drop(&mut self) {
        self.0.abort();
    }
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
        let parcel_subject = Subject::Parcels(name.to_owned()).text(fleet);
        let fetches = bus.subscribe(&parcel_subject, None, FETCHES_MAX).await?;
        let inner = Arc::new(Inner {
            bus,
            fleet: fleet.to_owned(),
            clock,
            parcel_subject,
            parcels: Parcels::default(),
        });
        let inbox = Inbox::new(inner.clone(), fetches);
        #[expect(clippy::disallowed_methods, reason = "owned and aborted by ParcelServer")]
        let server = tokio::spawn(serve_parcels(inner.clone(), inbox));
        Ok(Self { inner, _parcel_server: Arc::new(ParcelServer(server)) })
    }

    /// Sends to whoever listens.
    pub async fn publish(&self, to: &Subject, message: &impl Message) -> Result<(), Error> {
        let (payload, _held) = self.inner.wrap(message, None)?;
        // A published parcel stays until it expires: nobody says when all have fetched it.
        self.inner.bus.publish(&to.text(&self.inner.fleet), payload).await
    }

    /// Sends and waits for the answer.
    pub async fn request<C: Call>(
        &self,
        to: &Subject,
        call: &C,
        timeout: Duration,
    ) -> Result<C::Reply, Error> {
        let subject = to.text(&self.inner.fleet);
        let (payload, held) = self.inner.wrap(call, Some(timeout))?;
        let answered = tokio::time::timeout(timeout, async {
            let answer = self.inner.bus.request(&subject, payload, timeout).await?;
            let (envelope, body) = self.inner.unwrap(&subject, answer).await?;
            decode(&subject, &envelope, body)
        })
        .await;
        if let Some(id) = held {
            self.inner.parcels.release(id);
        }
        answered.unwrap_or_else(|_| Err(Error::TimedOut(subject)))
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
        let subject = to.text(&self.inner.fleet);
        let subscription = self.inner.bus.subscribe(&subject, group, capacity).await?;
        Ok(Inbox::new(self.inner.clone(), subscription))
    }

    /// Appends events to the log, each as it was encoded for the outbox.
    pub async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.inner.bus.append(entries).await
    }

    /// Position after the newest event.
    pub async fn tail(&self) -> Result<Position, Error> {
        self.inner.bus.tail().await
    }

    /// Reads the log from a position on.
    pub async fn events(&self, from: Position) -> Result<Events, Error> {
        Ok(Events { reader: self.inner.bus.read(from).await? })
    }
}

/// The event log as it is read.
#[derive(Debug)]
pub struct Events {
    reader: LogReader,
}

impl Events {
    /// The next event and its position. Entries that cannot be decoded are counted and skipped:
    /// a newer writer's entry must not stop an older reader.
    pub async fn next(&mut self) -> Option<Result<(Position, AgentEvent), Error>> {
        loop {
            match self.reader.next().await? {
                Err(error) => return Some(Err(error)),
                Ok(logged) => match AgentEvent::decode(logged.payload) {
                    Ok(event) => return Some(Ok((logged.position, event))),
                    Err(error) => {
                        metrics::counter!("muster_bus_malformed_total").increment(1);
                        tracing::warn!(%error, position = logged.position.0, "unreadable event");
                    }
                },
            }
        }
    }
}

/// Typed messages of one subscription.
#[derive(Debug)]
pub struct Inbox<M> {
    inner: Arc<Inner>,
    subscription: Subscription,
    _message: std::marker::PhantomData<fn() -> M>,
}

/// A message received.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub body: M,
    /// When the sender stops waiting; `None` if it does not wait.
    pub deadline: Option<Timestamp>,
    context: opentelemetry::Context,
    inner: Arc<Inner>,
    reply: Option<ReplyTo>,
}

impl<M: Message + Default> Inbox<M> {
    fn new(inner: Arc<Inner>, subscription: Subscription) -> Self {
        Self { inner, subscription, _message: std::marker::PhantomData }
    }

    /// The next message that can be read; `None` once the bus is gone for good.
    pub async fn next(&mut self) -> Option<Received<M>> {
        loop {
            let inbound = self.subscription.next().await?;
            if let Some(received) = self.open(inbound).await {
                return Some(received);
            }
        }
    }

    /// The next message if one is already here.
    pub async fn try_next(&mut self) -> Option<Received<M>> {
        loop {
            let inbound = self.subscription.try_next()?;
            if let Some(received) = self.open(inbound).await {
                return Some(received);
            }
        }
    }

    async fn open(&self, inbound: Inbound) -> Option<Received<M>> {
        let subject = "a subscription";
        let opened = async {
            let (envelope, body) = self.inner.unwrap(subject, inbound.payload).await?;
            let body = decode(subject, &envelope, body)?;
            Ok::<_, Error>((envelope, body))
        };
        match opened.await {
            Ok((envelope, body)) => Some(Received {
                body,
                deadline: (envelope.deadline_unix_ms > 0)
                    .then_some(Timestamp(envelope.deadline_unix_ms)),
                context: trace::extract(&envelope),
                inner: self.inner.clone(),
                reply: inbound.reply,
            }),
            Err(error) => {
                metrics::counter!("muster_bus_malformed_total").increment(1);
                tracing::warn!(%error, "message dropped");
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
        self.deadline.is_some_and(|deadline| self.inner.clock.now() > deadline)
    }

    /// Splits the message from the way to answer it.
    pub fn split(self) -> (M, Responder) {
        (self.body, Responder { inner: self.inner, reply: self.reply })
    }
}

/// The way to answer one message.
#[derive(Debug)]
pub struct Responder {
    inner: Arc<Inner>,
    reply: Option<ReplyTo>,
}

impl Responder {
    /// Answers, if the sender waits for it.
    pub async fn send(self, answer: &impl Message) {
        let Some(reply) = self.reply else { return };
        match self.inner.wrap(answer, None) {
            Ok((payload, _held)) => reply.send(payload).await,
            Err(error) => tracing::warn!(%error, "answer dropped"),
        }
    }
}

impl Inner {
    /// Encodes a message into an envelope, as a parcel if it is large. Returns the parcel's id.
    fn wrap(
        &self,
        message: &impl Message,
        timeout: Option<Duration>,
    ) -> Result<(Bytes, Option<u64>), Error> {
        let now = self.clock.now().0;
        let body = Bytes::from(message.encode_to_vec());
        let mut envelope = Envelope { format: FORMAT, ..Default::default() };
        envelope.deadline_unix_ms = timeout.map_or(0, |timeout| now + millis(timeout));
        trace::inject(&mut envelope);
        let inline_max = INLINE_BYTES_MAX.min(self.bus.payload_max() - ENVELOPE_BYTES_MAX);
        let mut held = None;
        envelope.body = Some(if body.len() <= inline_max {
            Body::Inline(body)
        } else {
            let size = body.len();
            let expires = now + millis(timeout.unwrap_or(PARCEL_TTL));
            let id = (size <= MESSAGE_BYTES_MAX)
                .then(|| self.parcels.hold(body, now, expires))
                .flatten()
                .ok_or(Error::TooLarge { size, limit: MESSAGE_BYTES_MAX })?;
            held = Some(id);
            Body::Parcel(Parcel { subject: self.parcel_subject.clone(), id, size: size as u64 })
        });
        Ok((envelope.encode_to_vec().into(), held))
    }

    /// Decodes an envelope and fetches its body if it is a parcel.
    async fn unwrap(&self, subject: &str, payload: Bytes) -> Result<(Envelope, Bytes), Error> {
        let malformed = |reason: String| Error::Malformed { subject: subject.to_owned(), reason };
        let mut envelope =
            Envelope::decode(payload).map_err(|error| malformed(error.to_string()))?;
        if envelope.format != FORMAT {
            return Err(malformed(format!("envelope format {} is unknown", envelope.format)));
        }
        let body = match envelope.body.take() {
            Some(Body::Inline(body)) => body,
            Some(Body::Parcel(parcel)) => self.fetch(&parcel).await?,
            None => return Err(malformed("envelope without a body".to_owned())),
        };
        Ok((envelope, body))
    }

    async fn fetch(&self, parcel: &Parcel) -> Result<Bytes, Error> {
        let size = usize::try_from(parcel.size).unwrap_or(usize::MAX);
        if size > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { size, limit: MESSAGE_BYTES_MAX });
        }
        let malformed = |reason: &str| Error::Malformed {
            subject: parcel.subject.clone(),
            reason: reason.to_owned(),
        };
        let mut whole = Vec::new();
        while whole.len() < size {
            let fetch =
                FetchParcel { id: parcel.id, offset: whole.len() as u64, length: CHUNK_BYTES };
            let ask = Envelope {
                format: FORMAT,
                body: Some(Body::Inline(fetch.encode_to_vec().into())),
                ..Default::default()
            };
            let answer = self
                .bus
                .request(&parcel.subject, ask.encode_to_vec().into(), CHUNK_TIMEOUT)
                .await?;
            let answer = Envelope::decode(answer).map_err(|_| malformed("chunk is no envelope"))?;
            let Some(Body::Inline(chunk)) = answer.body else {
                return Err(malformed("chunk without a body"));
            };
            let chunk = ParcelChunk::decode(chunk).map_err(|_| malformed("chunk is unreadable"))?;
            if !chunk.found || chunk.data.is_empty() {
                return Err(malformed("parcel is gone"));
            }
            whole.extend_from_slice(&chunk.data);
        }
        Ok(whole.into())
    }
}

async fn serve_parcels(inner: Arc<Inner>, mut fetches: Inbox<FetchParcel>) {
    while let Some(fetch) = fetches.next().await {
        let (fetch, responder) = fetch.split();
        let chunk = inner.parcels.chunk(&fetch);
        responder.send(&chunk).await;
    }
}

fn decode<M: Message + Default>(subject: &str, _: &Envelope, body: Bytes) -> Result<M, Error> {
    M::decode(body).map_err(|error| Error::Malformed {
        subject: subject.to_owned(),
        reason: error.to_string(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
