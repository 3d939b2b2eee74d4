//! The roll, as gateways ask for it: what agents may come in with, read from the ledger. Nothing of
//! it is secret; what is made of it is the gateways' business.
//!
//! A ledger that is away is no answer: a gateway that hears nothing for long must not go on as if
//! nobody had been revoked.

use std::sync::Arc;
use std::time::Duration;

use bus::v1::roll::{Enrollment, Revoked};
use bus::v1::{Roll, RollChanged, RollReply, RollRequest};
use bus::{CONTROLS, Client, Received, Subject};
use model::Timestamp;
use model::credential::Revocation;
use model::enrollment::{EnrollmentToken, TokenState};
use prost::Message as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::within;
use crate::ledger::Ledger;
use crate::{Error, Limits};

/// Gateways waiting for an answer: many times as many as there are.
const INBOX_MAX: usize = 1_024;
/// How long what was read serves other gateways, unless they know of a change: each of them asks
/// every ten seconds.
const REUSE: Duration = Duration::from_secs(1);

/// Answers gateways.
#[derive(Debug, Clone)]
pub(crate) struct Rolls {
    pub(crate) limits: Limits,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    read: Arc<Mutex<Option<Read>>>,
}

/// What was read last.
#[derive(Debug)]
struct Read {
    began: Instant,
    digest: [u8; 32],
    roll: Roll,
}

impl Rolls {
    pub(crate) fn new(limits: Limits, ledger: Ledger, bus: Client) -> Self {
        Self { limits, ledger, bus, read: Arc::default() }
    }

    /// Answers, for ever.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(&self.limits);
        loop {
            let inbox = self.bus.join(&Subject::Roll, CONTROLS, INBOX_MAX);
            match within(self.limits.bus_timeout, "the bus", inbox).await {
                Ok(mut inbox) => {
                    backoff.reset();
                    while let Some(received) = inbox.next().await {
                        self.answer(received).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "gateways cannot ask who may come in"),
            }
            backoff.wait().await;
        }
    }

    async fn answer(&self, received: Received<RollRequest>) {
        if received.expired() {
            return;
        }
        let (request, responder) = received.split();
        match self.reply(&request).await {
            Ok(reply) => responder.send(&reply).await,
            Err(error) => tracing::warn!(%error, "the roll cannot be read"),
        }
    }

    /// What is read for one gateway serves others, but for one that knows of a change: what it gets
    /// was read after it asked.
    async fn reply(&self, request: &RollRequest) -> Result<RollReply, Error> {
        let asked = Instant::now();
        let mut held = self.read.lock().await;
        let fresh = |read: &&Read| match request.changed {
            true => read.began >= asked,
            false => read.began + REUSE >= asked,
        };
        if held.as_ref().filter(fresh).is_none() {
            let began = Instant::now();
            let roll = self.read().await?;
            let digest = trust::token_digest(&roll.encode_to_vec());
            *held = Some(Read { began, digest, roll });
        }
        let read = held.as_ref().ok_or_else(|| Error::Unavailable("the roll".to_owned()))?;
        let known = request.known[..] == read.digest;
        let roll = (!known).then(|| read.roll.clone());
        Ok(RollReply { digest: read.digest.to_vec().into(), roll })
    }

    async fn read(&self) -> Result<Roll, Error> {
        let (tokens, now) = (self.ledger.enrollment_tokens().await?, self.ledger.clock.now());
        let enrollment = tokens.values().filter_map(|token| entry(token, now)).collect();
        let keys = self.ledger.public_key().await?;
        let keys = keys.map(|key| key.to_vec().into()).into_iter().collect();
        let revoked = self.ledger.revocations().await?.into_iter();
        let counts = |it: &Revocation| now.0 / 1000 < it.until_unix;
        let revoked = revoked.filter(counts).map(|Revocation { uid, below, refused, .. }| {
            Revoked { instance_uid: uid.as_bytes().to_vec().into(), below, refused }
        });
        Ok(Roll { keys, enrollment, revoked: revoked.collect() })
    }
}

/// A token's place on the roll, if it has one.
fn entry(token: &EnrollmentToken, now: Timestamp) -> Option<Enrollment> {
    let used_up = match token.state(now) {
        TokenState::Live => false,
        // Who was enrolled may have to come with it again, until it has its own.
        TokenState::UsedUp => token.is_spent(now),
        TokenState::Expired | TokenState::Revoked => return None,
    };
    Some(Enrollment {
        digest: token.digest.0.to_vec().into(),
        name: token.name.clone(),
        // Rounded up: not a moment before it is due.
        expires_unix: token.expires.map_or(0, |at| at.0.div_ceil(1000)),
        used_up,
    })
}

/// Tells gateways to ask at once. What they do not hear they ask about soon.
pub(crate) async fn changed(bus: &Client, limits: &Limits) {
    let told = bus.publish(&Subject::RollChanged, &RollChanged {});
    if let Err(error) = within(limits.bus_timeout, "the bus", told).await {
        tracing::warn!(%error, "gateways learn late who may come in");
    }
}
