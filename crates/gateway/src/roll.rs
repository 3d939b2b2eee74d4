//! What agents may come in with, as control tells it: asked for now and then, and at once when it
//! is said to have changed. Judged here, so that a door needs no store.
//!
//! A gateway that was told nothing for long does not know who was revoked. It lets nobody in by the
//! roll then, and closes what came in by it, unless it is set to go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bus::v1::{RollChanged, RollRequest};
use bus::{Inbox, Subject};
use opamp::ws::close_code;
use tokio::time::sleep;
use trust::{Enrolls, Roll};

use crate::connection::Connection;
use crate::pass::Pass;
use crate::shared::Shared;
use crate::{Credentials, Stale, expel};

/// Words about a change that wait. Each says the same.
pub(crate) const CHANGES_MAX: usize = 16;

/// What is known of the roll.
#[derive(Debug)]
pub(crate) struct Known {
    credentials: Credentials,
    held: Mutex<Arc<Held>>,
    /// In milliseconds of the process's life; 0 is never.
    heard_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    digest: Vec<u8>,
    roll: Roll,
}

/// Why somebody does not come in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody knows them.
    Stranger(trust::Refused),
    /// It cannot be told now.
    Later,
}

impl Known {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, held: Mutex::default(), heard_ms: AtomicU64::new(0) }
    }

    fn held(&self) -> Arc<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
    }

    /// Whether what is known is good enough to let somebody in by it.
    fn counts(&self, shared: &Shared) -> bool {
        let heard = self.heard_ms.load(Ordering::Relaxed);
        heard != 0 && (self.credentials.stale == Stale::Keep || !is_stale(shared, heard))
    }

    /// Who comes in with this `Authorization` header.
    pub(crate) fn admit(
        &self,
        shared: &Shared,
        authorization: Option<&[u8]>,
    ) -> Result<Pass, Refused> {
        let judged = self.held().roll.admit(authorization, now_unix(shared));
        match judged {
            // Who shows nothing is a stranger whatever the roll says.
            Err(trust::Refused::Missing) => Err(Refused::Stranger(trust::Refused::Missing)),
            _ if !self.counts(shared) => Err(Refused::Later),
            judged => judged.map(Pass::new).map_err(Refused::Stranger),
        }
    }

    /// Why a connection that came in by the roll is to end, as the code of its close.
    pub(crate) fn ends(&self, shared: &Shared, pass: &Pass) -> Option<u16> {
        let roll = &self.held().roll;
        match () {
            () if !roll.admits_still(&pass.by, now_unix(shared)) => Some(close_code::POLICY),
            () if pass.any(|uid| roll.refuses(uid.as_bytes())) => Some(close_code::POLICY),
            () if !self.counts(shared) => Some(close_code::GOING_AWAY),
            () => None,
        }
    }
}

fn is_stale(shared: &Shared, heard: u64) -> bool {
    let silence = shared.uptime_ms().saturating_sub(heard);
    u128::from(silence) > shared.limits.roll_stale.as_millis()
}

fn now_unix(shared: &Shared) -> u64 {
    shared.clock.now().0 / 1000
}

/// Asks for the roll, and closes what it does not admit, for ever.
pub(crate) async fn run(shared: Arc<Shared>, mut changes: Inbox<RollChanged>) {
    let Some(known) = &shared.roll else { return std::future::pending().await };
    let (mut changed, mut ended) = (false, false);
    loop {
        let asked = ask(&shared, known, changed).await;
        let wait = match asked {
            Ok(()) => {
                changed = false;
                shared.limits.roll_interval
            }
            Err(error) => {
                tracing::warn!(%error, "who may come in is not known anew");
                shared.limits.roll_retry
            }
        };
        expel(&shared).await;
        tokio::select! {
            () = sleep(wait) => {}
            change = changes.next(), if !ended => {
                ended = change.is_none();
                changed = true;
                while changes.try_next().await.is_some() {}
            }
        }
    }
}

async fn ask(shared: &Shared, known: &Known, changed: bool) -> Result<(), bus::Error> {
    let digest = known.held().digest.clone();
    let request = RollRequest { known: digest.into(), changed };
    // From before it was asked: what is told later is no older than that.
    let asked = shared.uptime_ms();
    let reply = shared.bus.request(&Subject::Roll, &request, shared.limits.roll_timeout).await?;
    shared.heard_bus();
    if let Some(roll) = reply.roll {
        known.hold(Held { digest: reply.digest.to_vec(), roll: read(&roll) });
    }
    known.heard_ms.store(asked, Ordering::Relaxed);
    Ok(())
}

/// Closes connections that would not be let in now. Says how many.
async fn expel(shared: &Shared) {
    let mut expelled = 0_usize;
    let look = |connection: &Connection| {
        if connection.pass.is_some() {
            expelled += usize::from(expel::expelled_from(shared, connection));
        }
    };
    shared.connections.each(look).await;
    if expelled > 0 {
        tracing::info!(connections = expelled, "closed: the roll does not admit them any more");
    }
}

/// What cannot be read of it admits nobody.
fn read(roll: &bus::v1::Roll) -> Roll {
    let token = |token: &bus::v1::roll::Enrollment| {
        let expires_unix = (token.expires_unix != 0).then_some(token.expires_unix);
        let name = token.name.as_str().into();
        let entry = Enrolls { name, expires_unix, used_up: token.used_up };
        Some((<[u8; 32]>::try_from(&token.digest[..]).ok()?, entry))
    };
    let revoked = |revoked: &bus::v1::roll::Revoked| {
        let entry = trust::Revoked { below: revoked.below, refused: revoked.refused };
        Some((<[u8; 16]>::try_from(&revoked.instance_uid[..]).ok()?, entry))
    };
    Roll {
        keys: roll.keys.iter().filter_map(|key| key[..].try_into().ok()).collect(),
        enrollment: roll.enrollment.iter().filter_map(token).collect(),
        revoked: roll.revoked.iter().filter_map(revoked).collect(),
    }
}
