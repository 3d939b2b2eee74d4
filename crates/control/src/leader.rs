//! Which of several controls keeps house. A lease in the store of the records says so: its holder
//! writes it again and again, and whoever sees the same version of it for too long takes it over.
//! Nobody compares clocks: each measures by its own how long it saw nothing new.
//!
//! Being wrong about it costs work that is done twice, never a wrong record: what the leader asks
//! of workers names epochs and versions, and the store compares them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use model::{Clock, Timestamp};
use store::{Key, Outcome, Store, Version, Write, tables};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::within;
use crate::{Error, Limits};

/// Name of the lease.
const LEASE: &str = "control";

/// Whether this control leads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leads(Arc<AtomicBool>);

impl Leads {
    pub(crate) fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A control that would lead.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) limits: Limits,
    /// Its name, unique among the living.
    pub(crate) name: String,
    pub(crate) records: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) leads: Leads,
}

impl Leader {
    /// Takes the lease when it is free and keeps it, for ever.
    pub(crate) async fn run(self) {
        let mut tick = interval(self.limits.lease_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut candidate = Candidate::default();
        loop {
            tick.tick().await;
            if let Err(error) = self.look(&mut candidate).await {
                tracing::debug!(%error, "lease not read or not written");
            }
            let leads = candidate.leads(self.clock.now(), self.limits.lease_ms);
            if self.leads.0.swap(leads, Ordering::Relaxed) != leads {
                tracing::info!(leads, "who keeps house changed");
            }
            metrics::gauge!("muster_control_leads").set(f64::from(u8::from(leads)));
        }
    }

    async fn look(&self, candidate: &mut Candidate) -> Result<(), Error> {
        let (key, now) = (Key::lease(LEASE), self.clock.now());
        let get = self.records.get(std::slice::from_ref(&key));
        let stored = within(self.limits.store_timeout, "the store", get).await?.pop().flatten();
        let version = stored.as_ref().map_or(Version::ABSENT, |stored| stored.version);
        // What cannot be read is overwritten like what nobody renews.
        let holder = stored.and_then(|stored| tables::leases::decode(&key, &stored.value).ok());
        let is_ours = holder.is_some_and(|holder| holder.value == self.name);
        if !candidate.may_write(version, is_ours, now, self.limits.lease_ms) {
            return Ok(());
        }
        let write = Write::next(key, version, tables::leases::encode(&self.name, &Bytes::new()));
        let commit = self.records.commit(vec![write]);
        let outcome = within(self.limits.store_timeout, "the store", commit).await?;
        if let [Outcome::Written(version)] = outcome[..] {
            candidate.wrote(version, now);
        }
        Ok(())
    }
}

/// What a candidate knows of the lease.
#[derive(Debug, Default)]
struct Candidate {
    /// The newest version that was seen, and when it was first.
    seen: Option<(Version, Timestamp)>,
    /// When it was last written by us.
    held: Option<Timestamp>,
}

impl Candidate {
    /// The lease is there at a version. Says whether it is to be written over.
    fn may_write(&mut self, version: Version, is_ours: bool, now: Timestamp, lease: u64) -> bool {
        if version == Version::ABSENT || is_ours {
            return true;
        }
        self.held = None;
        let (seen, since) = *self.seen.get_or_insert((version, now));
        if seen != version {
            self.seen = Some((version, now));
            return false;
        }
        now.millis_since(since) > lease
    }

    /// It was written, by a call that began at a time.
    fn wrote(&mut self, version: Version, began: Timestamp) {
        self.seen = Some((version, began));
        self.held = Some(began);
    }

    /// Others wait for the whole lease: who could not renew it for two thirds of it leads no more.
    fn leads(&self, now: Timestamp, lease: u64) -> bool {
        self.held.is_some_and(|held| now.millis_since(held) < lease * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_MS: u64 = 9_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn the_first_leads_for_as_long_as_it_renews() {
        let mut one = Candidate::default();
        assert!(one.may_write(Version::ABSENT, false, at(0), LEASE_MS));
        assert!(!one.leads(at(0), LEASE_MS), "not before it is written");
        one.wrote(Version(1), at(0));
        assert!(one.leads(at(5), LEASE_MS) && !one.leads(at(6), LEASE_MS));
        assert!(one.may_write(Version(1), true, at(7), LEASE_MS));
        one.wrote(Version(2), at(7));
        assert!(one.leads(at(8), LEASE_MS));
    }

    #[test]
    fn another_waits_for_the_whole_lease_without_a_renewal() {
        let mut two = Candidate::default();
        assert!(!two.may_write(Version(1), false, at(100), LEASE_MS));
        assert!(!two.may_write(Version(2), false, at(108), LEASE_MS), "renewed");
        assert!(!two.may_write(Version(2), false, at(117), LEASE_MS));
        assert!(two.may_write(Version(2), false, at(118), LEASE_MS));
    }

    #[test]
    fn two_never_lead_at_once_however_late_the_first_hears_of_it() {
        let (mut one, mut two) = (Candidate::default(), Candidate::default());
        one.wrote(Version(1), at(0));
        two.may_write(Version(1), false, at(0), LEASE_MS);
        let taken = (1..20).find(|now| two.may_write(Version(1), false, at(*now), LEASE_MS));
        let taken = at(taken.unwrap());
        two.wrote(Version(2), taken);
        assert!(two.leads(taken, LEASE_MS) && !one.leads(taken, LEASE_MS));
        assert!(!one.may_write(Version(2), false, taken, LEASE_MS));
        assert!(!one.leads(taken, LEASE_MS));
    }
}
