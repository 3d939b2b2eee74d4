//! Buses on which commands go wrong, as if a gateway, a worker or a driver did not keep its word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus::v1::report_reply::Outcome;
use bus::v1::{
    Command, Commanded, GatewayReply, GatewayRequest, Report, ReportReply, Transport, commanded,
    gateway_reply, gateway_request,
};
use bus::{Bus, Error, LogEntry, LogReader, Position, Subscription};
use bytes::Bytes;
use opamp::v1::{AgentToServer, ServerToAgent};
use prost::Message;

use super::Variant;
use super::buses::wrap;
use crate::dice::Dice;
use crate::observe::open;

/// A bus that is broken in one way.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) how: Variant,
    pub(super) inner: Arc<dyn Bus>,
    pub(super) dice: Dice,
    /// Answers to polls that are given once more, by agent.
    pub(super) again: Mutex<BTreeMap<Vec<u8>, Bytes>>,
}

fn command(payload: &Bytes) -> Option<Command> {
    match open::<GatewayRequest>(payload)?.request? {
        gateway_request::Request::Command(command) => Some(command),
        _ => None,
    }
}

/// The agent that polls, if that is what is asked about.
fn poller(subject: &str, payload: &Bytes) -> Option<Vec<u8>> {
    let report = subject.ends_with(".fleet.report").then(|| open::<Report>(payload))??;
    let polls = report.transport == i32::from(Transport::Http);
    let said = AgentToServer::decode(report.message).ok()?;
    polls.then(|| said.instance_uid.to_vec())
}

fn tells(answer: &Bytes) -> bool {
    let message = open::<ReportReply>(answer).and_then(|reply| match reply.outcome? {
        Outcome::Accepted(accepted) => ServerToAgent::decode(accepted.message).ok(),
        _ => None,
    });
    message.is_some_and(|said| said.command.is_some() || said.custom_message.is_some())
}

impl Broken {
    /// The same command under an id that its gateway has not heard.
    fn renamed(&self, payload: &Bytes) -> Option<Bytes> {
        let mut command = command(payload).filter(|_| self.dice.chance(500))?;
        let mut id = [0; 16];
        model::Random::fill(&self.dice, &mut id);
        command.command_id = id.to_vec().into();
        let request = Some(gateway_request::Request::Command(command));
        wrap(payload, &GatewayRequest { request })
    }

    /// What a gateway would say that had told all of them.
    fn pretended(payload: &Bytes) -> Option<Bytes> {
        let told = commanded::Outcome::Delivered.into();
        let outcomes = vec![told; command(payload)?.targets.len()];
        let reply = Some(gateway_reply::Reply::Commanded(Commanded { outcomes }));
        wrap(payload, &GatewayReply { reply })
    }

    async fn report(&self, uid: Vec<u8>, asked: Asked<'_>) -> Result<Bytes, Error> {
        if let Some(answer) = self.again().remove(&uid) {
            return Ok(answer);
        }
        let answer = self.inner.request(asked.subject, asked.payload, asked.limit).await?;
        if tells(&answer) {
            self.again().insert(uid, answer.clone());
        }
        Ok(answer)
    }

    fn again(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, Bytes>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Asked<'a> {
    subject: &'a str,
    payload: Bytes,
    limit: Duration,
}

#[async_trait]
impl Bus for Broken {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        self.inner.publish(subject, payload).await
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        if self.how == Variant::RepeatedPolls
            && let Some(uid) = poller(subject, &payload)
        {
            return self.report(uid, Asked { subject, payload, limit }).await;
        }
        let answer = self.inner.request(subject, payload.clone(), limit).await;
        match (self.how, answer) {
            (Variant::ForgottenIds, answer) => {
                if let Some(renamed) = self.renamed(&payload) {
                    // What becomes of it, nobody asks.
                    let _ = self.inner.request(subject, renamed, limit).await;
                }
                answer
            }
            (Variant::RetriedCommands, Err(Error::TimedOut(_))) if command(&payload).is_some() => {
                Err(Error::NoResponder(subject.to_owned()))
            }
            (Variant::PretendedCommands, Err(error)) => Self::pretended(&payload).ok_or(error),
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
        self.inner.append(entries).await
    }

    async fn tail(&self) -> Result<Position, Error> {
        self.inner.tail().await
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        self.inner.read(from).await
    }
}
