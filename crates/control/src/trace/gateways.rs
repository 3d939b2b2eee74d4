//! Asking gateways for what they hear of one agent.

use std::sync::Arc;
use std::time::Duration;

use bus::v1::{GatewayReply, GatewayRequest, Tap, TapReply, gateway_reply, gateway_request};
use bus::{Client, Subject};
use futures_util::future::join_all;
use model::GatewayId;
use tokio::time::{Instant, sleep, timeout};

use super::Start;
use crate::processes::Processes;
use crate::{Error, Limits};

/// How often it is looked whether a gateway was heard.
const LOOK: Duration = Duration::from_millis(50);

/// The gateways there are, and what they are asked.
#[derive(Debug)]
pub(super) struct Gateways {
    pub(super) limits: Limits,
    processes: Arc<Processes>,
    bus: Client,
    tap: Tap,
}

impl Gateways {
    pub(super) fn new(limits: Limits, processes: Arc<Processes>, bus: Client, tap: Tap) -> Self {
        Self { limits, processes, bus, tap }
    }

    /// Those that were heard lately.
    pub(super) fn alive(&self) -> Vec<String> {
        let known = self.processes.known().gateways.into_iter();
        known.filter(|(_, heard)| heard.alive).map(|(id, _)| id).collect()
    }

    /// What all of them remember: the newest entries, in order of time. From here on they listen,
    /// if that is wanted.
    pub(super) async fn begin(&self) -> Result<Start, Error> {
        let deadline = Instant::now() + self.limits.trace_timeout;
        let mut alive = self.alive();
        // Who has just started may not have heard of any yet.
        while alive.is_empty() && Instant::now() < deadline {
            sleep(LOOK).await;
            alive = self.alive();
        }
        let asked = alive.iter().map(|gateway| self.remembered(gateway, deadline));
        let answers = join_all(asked).await;
        let mut start = Start { entries: Vec::new(), places: [].into(), silent: Vec::new() };
        for (gateway, answer) in alive.into_iter().zip(answers) {
            match answer {
                Ok(reply) if reply.refused => {
                    let reason = format!("gateway {gateway} traces as many agents as it may");
                    return Err(Error::Exhausted(reason));
                }
                Ok(reply) => {
                    let entries = reply.entries.into_iter();
                    start.entries.extend(entries.map(|entry| (gateway.clone(), entry)));
                    start.places.insert(gateway, reply.position);
                }
                Err(error) => {
                    tracing::debug!(gateway, %error, "does not answer to a trace");
                    start.silent.push(gateway);
                }
            }
        }
        if start.places.is_empty() {
            return Err(Error::Unavailable("no gateway answers".to_owned()));
        }
        start.entries.sort_by_key(|(_, entry)| (entry.at_unix_ms, entry.position));
        let more = start.entries.len().saturating_sub(self.tap.last as usize);
        start.entries.drain(..more);
        Ok(start)
    }

    /// All that one of them remembers, as many answers as it takes.
    async fn remembered(&self, gateway: &str, deadline: Instant) -> Result<TapReply, bus::Error> {
        let mut whole = TapReply::default();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let tap = Tap { after: whole.position, ..self.tap.clone() };
            let reply = self.ask(gateway, tap, left).await?;
            let done = reply.entries.is_empty() || reply.refused;
            whole.entries.extend(reply.entries);
            whole.refused |= reply.refused;
            whole.position = reply.position.max(whole.position);
            if done || whole.entries.len() >= self.tap.last as usize {
                return Ok(whole);
            }
        }
    }

    /// What one of them heard since, or remembers if it was not asked before.
    pub(super) async fn listen(
        &self,
        gateway: &str,
        after: u64,
        last: u32,
    ) -> Result<TapReply, bus::Error> {
        let wait = self.limits.trace_wait;
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let tap = Tap { after, last, wait_ms, ..self.tap.clone() };
        self.ask(gateway, tap, wait + self.limits.trace_timeout).await
    }

    /// Says to all of them that nobody listens any more. One that does not hear it forgets by
    /// itself.
    pub(super) async fn end(&self) {
        if self.tap.tap_id == 0 {
            return;
        }
        let limit = self.limits.trace_timeout;
        let tap = Tap { end: true, ..self.tap.clone() };
        let told = self.alive().into_iter().map(|gateway| {
            let tap = tap.clone();
            async move { self.ask(&gateway, tap, limit).await }
        });
        // All at once, and whatever they say.
        let _ = timeout(limit, join_all(told)).await;
    }

    async fn ask(&self, gateway: &str, tap: Tap, limit: Duration) -> Result<TapReply, bus::Error> {
        let request = GatewayRequest { request: Some(gateway_request::Request::Tap(tap)) };
        let subject = Subject::Gateway(GatewayId::new(gateway));
        match self.bus.request(&subject, &request, limit).await? {
            GatewayReply { reply: Some(gateway_reply::Reply::Tap(reply)) } => Ok(reply),
            _ => Err(bus::Error::NoResponder(format!("gateway {gateway} knows no traces"))),
        }
    }
}
