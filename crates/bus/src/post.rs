//! Packing and opening: messages into envelopes and parcels, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::Clock;
use prost::Message;
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{
    CHUNK_BYTES, CHUNK_TIMEOUT, ENVELOPE_BYTES_MAX, FETCHES_MAX, INLINE_BYTES_MAX,
    MESSAGE_BYTES_MAX, PARCEL_SWEEP, PARCEL_TTL, PAYLOAD_MIN,
};
use crate::parcel::{Parcels, Readers, Stay};
use crate::port::{Bus, Inbound, Subscription};
use crate::v1::envelope::Body;
use crate::v1::{Envelope, FetchParcel, Parcel, ParcelChunk};
use crate::{Error, Subject, trace};

/// Version of the envelope and of everything in it.
const FORMAT: u32 = 1;

/// What one process needs to send and receive.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) fleet: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// Messages received that were none.
    malformed: AtomicU64,
    parcels: Arc<Parcels>,
    /// Subject this process answers fetches on.
    parcel_subject: String,
    _parcel_server: AbortOnDropHandle<()>,
}

/// A message ready to be sent.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) payload: Bytes,
    parcel: Option<Stay>,
}

impl Packed {
    /// The message is on its way; its parcel stays until it expires or was fetched.
    pub(crate) fn sent(self) {
        if let Some(stay) = self.parcel {
            stay.until_expiry();
        }
    }
}

/// What a message is to its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Publish,
    Request(Duration),
    Answer,
}

impl Post {
    pub(crate) async fn new(
        bus: Arc<dyn Bus>,
        fleet: &str,
        name: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        if bus.payload_max() < PAYLOAD_MIN {
            let reason = format!("it takes messages of {} bytes only", bus.payload_max());
            return Err(Error::Unavailable(reason));
        }
        let parcel_subject = Subject::Parcels(name.to_owned()).text(fleet);
        let fetches = bus.subscribe(&parcel_subject, None, FETCHES_MAX).await?;
        let parcels = Arc::new(Parcels::new(clock.now().0 << 16));
        let serving = serve_parcels(parcels.clone(), clock.clone(), fetches);
        #[expect(clippy::disallowed_methods, reason = "owned by the handle")]
        let server = tokio::spawn(serving);
        Ok(Self {
            bus,
            fleet: fleet.to_owned(),
            clock,
            malformed: AtomicU64::new(0),
            parcels,
            parcel_subject,
            _parcel_server: AbortOnDropHandle::new(server),
        })
    }

    /// Encodes a message into an envelope, as a parcel if it is large.
    pub(crate) fn pack(&self, message: &impl Message, kind: Kind) -> Result<Packed, Error> {
        let now = self.clock.now().0;
        let mut envelope = Envelope { format: FORMAT, ..Default::default() };
        if let Kind::Request(timeout) = kind {
            envelope.deadline_unix_ms = now.saturating_add(millis(timeout));
        }
        trace::inject(&mut envelope);
        let size = message.encoded_len();
        if size > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { size, limit: MESSAGE_BYTES_MAX });
        }
        let body = Bytes::from(message.encode_to_vec());
        let mut parcel = None;
        envelope.body = Some(if size <= self.inline_max() {
            Body::Inline(body)
        } else {
            let stay = self.hold(body, kind, now)?;
            let (subject, id) = (self.parcel_subject.clone(), stay.id);
            parcel = Some(stay);
            Body::Parcel(Parcel { subject, id, size: size as u64 })
        });
        Ok(Packed { payload: envelope.encode_to_vec().into(), parcel })
    }

    fn hold(&self, body: Bytes, kind: Kind, now: u64) -> Result<Stay, Error> {
        let (readers, stays) = match kind {
            // The asker's own wait ends the stay; the expiry is for a clock gone wrong.
            Kind::Request(timeout) => (Readers::Any, timeout.max(PARCEL_TTL)),
            Kind::Publish => (Readers::Any, PARCEL_TTL),
            Kind::Answer => (Readers::One, PARCEL_TTL),
        };
        let expires = now.saturating_add(millis(stays));
        self.parcels.hold(body, readers, now, expires).ok_or_else(|| {
            let held = self.parcels.bytes() >> 20;
            Error::Unavailable(format!("{held} MiB of large messages wait to be fetched"))
        })
    }

    /// Decodes an envelope.
    pub(crate) fn open(&self, subject: &str, payload: Bytes) -> Result<(Envelope, Body), Error> {
        let mut envelope =
            Envelope::decode(payload).map_err(|error| malformed(subject, error.to_string()))?;
        if envelope.format != FORMAT {
            let reason = format!("envelope format {} is unknown", envelope.format);
            return Err(malformed(subject, reason));
        }
        match envelope.body.take() {
            Some(Body::Parcel(parcel)) => {
                let size = usize::try_from(parcel.size).unwrap_or(usize::MAX);
                if size > MESSAGE_BYTES_MAX {
                    return Err(Error::TooLarge { size, limit: MESSAGE_BYTES_MAX });
                }
                Ok((envelope, Body::Parcel(parcel)))
            }
            Some(inline) => Ok((envelope, inline)),
            None => Err(malformed(subject, "envelope without a body".to_owned())),
        }
    }

    /// Decodes an answer, fetching it if it is a parcel.
    pub(crate) async fn open_answer<M: Message + Default>(
        &self,
        subject: &str,
        payload: Bytes,
    ) -> Result<M, Error> {
        let body = match self.open(subject, payload)?.1 {
            Body::Inline(body) => body,
            Body::Parcel(parcel) => self.fetch(&parcel).await.map_err(|error| match error {
                Error::Malformed { .. } | Error::TooLarge { .. } => error,
                // The peer has acted; what is lost is its answer.
                _ => Error::TimedOut(subject.to_owned()),
            })?,
        };
        decode(subject, body)
    }

    /// Fetches a body chunk by chunk.
    pub(crate) async fn fetch(&self, parcel: &Parcel) -> Result<Bytes, Error> {
        let size = usize::try_from(parcel.size).unwrap_or(usize::MAX);
        let mut whole = BytesMut::with_capacity(size.min(MESSAGE_BYTES_MAX));
        while whole.len() < size {
            let chunk = self.fetch_chunk(parcel, whole.len()).await?;
            if !chunk.found || chunk.data.is_empty() || whole.len() + chunk.data.len() > size {
                return Err(malformed(&parcel.subject, "parcel is gone".to_owned()));
            }
            whole.extend_from_slice(&chunk.data);
        }
        Ok(whole.freeze())
    }

    async fn fetch_chunk(&self, parcel: &Parcel, offset: usize) -> Result<ParcelChunk, Error> {
        let length = CHUNK_BYTES.min(self.bus.payload_max().saturating_sub(ENVELOPE_BYTES_MAX));
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let fetch = FetchParcel { id: parcel.id, offset: offset as u64, length };
        let asked = self.bus.request(&parcel.subject, plain(&fetch), CHUNK_TIMEOUT).await?;
        match self.open(&parcel.subject, asked)?.1 {
            Body::Inline(chunk) => decode(&parcel.subject, chunk),
            Body::Parcel(_) => Err(malformed(&parcel.subject, "parcel in a parcel".to_owned())),
        }
    }

    /// Counts and names a message that could not be read.
    pub(crate) fn unreadable(&self, error: &Error) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("muster_bus_malformed_total").increment(1);
        tracing::warn!(%error, "message dropped");
    }

    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.parcels.bytes()
    }

    fn inline_max(&self) -> usize {
        INLINE_BYTES_MAX.min(self.bus.payload_max().saturating_sub(ENVELOPE_BYTES_MAX))
    }
}

pub(crate) fn decode<M: Message + Default>(subject: &str, body: Bytes) -> Result<M, Error> {
    M::decode(body).map_err(|error| malformed(subject, error.to_string()))
}

async fn serve_parcels(parcels: Arc<Parcels>, clock: Arc<dyn Clock>, mut fetches: Subscription) {
    let mut sweep = interval(PARCEL_SWEEP);
    loop {
        tokio::select! {
            biased;
            _ = sweep.tick() => parcels.drop_expired(clock.now().0),
            fetch = fetches.next() => match fetch {
                Some(fetch) => serve_chunk(&parcels, fetch).await,
                None => return,
            },
        }
    }
}

async fn serve_chunk(parcels: &Parcels, fetch: Inbound) {
    let Some(reply) = fetch.reply else { return };
    let inline = Envelope::decode(fetch.payload).ok().and_then(|envelope| envelope.body);
    let Some(Body::Inline(body)) = inline else { return };
    if let Ok(fetch) = FetchParcel::decode(body) {
        reply.send(plain(&parcels.chunk(&fetch))).await;
    }
}

/// An envelope with nothing but its body.
fn plain(message: &impl Message) -> Bytes {
    let body = Some(Body::Inline(message.encode_to_vec().into()));
    Envelope { format: FORMAT, body, ..Default::default() }.encode_to_vec().into()
}

fn malformed(subject: &str, reason: String) -> Error {
    Error::Malformed { subject: subject.to_owned(), reason }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
