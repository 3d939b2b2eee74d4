//! Buses that break their promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::v1::envelope::Body;
use bus::v1::{
    Deliver, Delivered, Envelope, GatewayReply, GatewayRequest, Presence, Report, delivered,
    gateway_reply, gateway_request,
};
use bus::{Bus, Error, LogEntry, LogReader, Position, Subscription};
use bytes::Bytes;
use opamp::InstanceUid;
use prost::Message;

use super::Variant;
use crate::dice::Dice;
use crate::observe::{open, stored};
use crate::world::World;

/// How far presence runs ahead where it does.
const AHEAD: u64 = 3;

/// A bus that is broken in one way.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) how: Variant,
    pub(super) inner: Arc<dyn Bus>,
    pub(super) world: Arc<World>,
    pub(super) dice: Dice,
}

impl Broken {
    /// A report in the name of whoever owns the agent now.
    fn forged(&self, payload: &Bytes) -> Option<Bytes> {
        let mut report: Report = open(payload)?;
        let message = opamp::v1::AgentToServer::decode(report.message.clone()).ok()?;
        let uid = InstanceUid::try_from(&message.instance_uid[..]).ok()?;
        let record = stored(&self.world, &uid).filter(|_| report.epoch > 0)?;
        (report.epoch, report.n) = (record.epoch, record.n + 1);
        wrap(payload, &report)
    }

    /// What a gateway would say that had sent all of it.
    fn pretended(payload: &Bytes) -> Option<Bytes> {
        let request: GatewayRequest = open(payload)?;
        let Some(gateway_request::Request::Deliver(Deliver { targets, .. })) = request.request
        else {
            return None;
        };
        let outcomes = vec![delivered::Outcome::Sent.into(); targets.len()];
        let reply = gateway_reply::Reply::Delivered(Delivered { outcomes });
        wrap(payload, &GatewayReply { reply: Some(reply) })
    }
}

/// The message in place of the one in an envelope.
pub(super) fn wrap(payload: &Bytes, message: &impl Message) -> Option<Bytes> {
    let mut envelope = Envelope::decode(payload.clone()).ok()?;
    envelope.body = Some(Body::Inline(message.encode_to_vec().into()));
    Some(envelope.encode_to_vec().into())
}

fn ahead(payload: &Bytes) -> Option<Bytes> {
    let mut presence: Presence = open(payload)?;
    presence.seen.iter_mut().for_each(|seen| seen.sequence_num += AHEAD);
    wrap(payload, &presence)
}

#[async_trait]
impl Bus for Broken {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        let payload = match self.how {
            Variant::PresenceAhead if subject.ends_with(".presence") => {
                ahead(&payload).unwrap_or(payload)
            }
            _ => payload,
        };
        self.inner.publish(subject, payload).await
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let forged = match self.how {
            Variant::ForgedEpochs if subject.ends_with(".fleet.report") => self.forged(&payload),
            _ => None,
        };
        let payload = forged.unwrap_or(payload);
        let answer = self.inner.request(subject, payload.clone(), timeout).await;
        match (self.how, answer) {
            (Variant::DeadAnswer, Err(error)) if subject.contains(".gateway.") => {
                Self::pretended(&payload).ok_or(error)
            }
            (_, answer) => answer,
        }
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        self.inner.subscribe(subject, group, capacity).await
    }

    fn payload_max(&self) -> usize {
        self.inner.payload_max()
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        let kept = entries
            .into_iter()
            .filter(|_| self.how != Variant::HolesInTheLog || !self.dice.chance(100));
        self.inner.append(kept.collect()).await
    }

    async fn tail(&self) -> Result<Position, Error> {
        self.inner.tail().await
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        self.inner.read(from).await
    }
}
