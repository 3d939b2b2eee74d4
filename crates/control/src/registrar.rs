//! Gives agents that come with an enrollment token a credential of their own, or has them wait for
//! an operator; takes an older credential back once a newer one was shown; and renews in time what
//! expires. It only decides and writes it down: workers read it there and tell the agents.
//!
//! Nothing is remembered between looks: what was not done is still seen in the fleet, and what was
//! done is seen in the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::Client;
use futures_util::StreamExt as _;
use model::Random;
use model::credential::{Admission, CredentialState, Standing};
use opamp::InstanceUid;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::actor::Actor;
use crate::keeper::admitted;
use crate::leader::Leads;
use crate::ledger::Ledger;
use crate::ledger::credentials::Issue;
use crate::ledger::enrollment::Decided;
use crate::view::View;
use crate::{Error, Limits, roll};

/// How often it is looked who came even if nobody seems to have.
const LOOK: Duration = Duration::from_secs(2);
/// How long a credential is good if nobody says otherwise.
pub(crate) const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// Renewed when this part of its life is left: time enough to reach an agent that is away.
const RENEW_AT: u32 = 3;
/// Agents that are written at the same time.
const IN_FLIGHT: usize = 16;

/// Looks who came, if its control leads.
#[derive(Debug, Clone)]
pub(crate) struct Registrar {
    pub(crate) limits: Limits,
    /// How long what it issues is good.
    pub(crate) lifetime: Duration,
    pub(crate) view: Arc<View>,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) leads: Leads,
}

impl Registrar {
    /// Looks whenever somebody came, and now and then; for ever.
    pub(crate) async fn run(self) {
        // Nothing can be signed without.
        if self.ledger.vault.is_none() {
            return std::future::pending().await;
        }
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Often enough that nothing expires between two of them.
        let every = (self.lifetime / 100).clamp(LOOK, self.limits.keep_interval.max(LOOK));
        let mut renewed: Option<Instant> = None;
        // Whoever leads: the first of them makes it.
        while !self.make_key().await {
            tick.tick().await;
        }
        loop {
            tokio::select! {
                biased;
                () = self.view.somebody_came() => {}
                _ = tick.tick() => {}
            }
            if !self.leads.now() || !self.view.ready() {
                continue;
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "who came waits to be enrolled");
                // What failed once fails again at once, maybe.
                tick.tick().await;
            }
            if renewed.is_none_or(|at| at.elapsed() >= every) {
                match self.sweep().await {
                    Ok(()) => renewed = Some(Instant::now()),
                    Err(error) => tracing::warn!(%error, "credentials not looked through"),
                }
            }
        }
    }

    /// Makes the key that credentials are signed with, before anybody is given one: gateways know
    /// it by the time that somebody comes with that.
    async fn make_key(&self) -> bool {
        if let Err(error) = self.ledger.make_key(&*self.random).await {
            tracing::warn!(%error, "no credential can be issued");
            return false;
        }
        roll::changed(&self.bus, &self.limits).await;
        true
    }

    /// Decides about everybody who came since, as many at a time as workers take.
    async fn look(&self) -> Result<(), Error> {
        let (came, proofs): (Vec<_>, Vec<_>) =
            self.view.admissions().into_iter().partition(|(_, admission)| admission.is_new());
        for batch in proofs.chunks(self.limits.reassess_max) {
            self.prove(batch).await?;
        }
        let mut by: BTreeMap<String, Vec<InstanceUid>> = BTreeMap::new();
        for (uid, admission) in came {
            by.entry(admission.by).or_default().push(uid);
        }
        for (by, uids) in by {
            for batch in uids.chunks(self.limits.reassess_max) {
                self.enroll(&by, batch).await?;
                admitted(&self.bus, &self.limits, batch).await?;
            }
        }
        Ok(())
    }

    async fn prove(&self, proofs: &[(InstanceUid, Admission)]) -> Result<(), Error> {
        let prove = |(uid, admission): &(InstanceUid, Admission)| {
            let (ledger, uid, serial) = (self.ledger.clone(), *uid, admission.shown);
            async move { ledger.prove(&uid, serial).await }
        };
        let firsts = each(proofs.iter().map(prove).collect()).await;
        let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
        firsts.into_iter().flatten().for_each(|by| *arrived.entry(by).or_default() += 1);
        for (by, agents) in arrived {
            self.ledger.note_arrived(&by, agents).await?;
        }
        roll::changed(&self.bus, &self.limits).await;
        let uids: Vec<InstanceUid> = proofs.iter().map(|(uid, _)| *uid).collect();
        admitted(&self.bus, &self.limits, &uids).await
    }

    /// Agents came with the same. Those that the ledger knows to be decided about are left alone.
    async fn enroll(&self, by: &str, uids: &[InstanceUid]) -> Result<(), Error> {
        let standings = self.ledger.standings(uids).await?;
        let open =
            |standing: &Standing| standing.good() == 0 && !standing.waits && !standing.refused;
        let new = uids.iter().zip(&standings).filter(|(_, standing)| open(standing));
        let new: Vec<InstanceUid> = new.map(|(uid, _)| *uid).collect();
        if new.is_empty() {
            return Ok(());
        }
        let enrolled = self.ledger.enroll_by(by, &new, Decided::ByRule).await?;
        let (enrolled, others) = new.split_at(enrolled);
        self.issue_each(by, enrolled).await;
        let ask = |uid: &InstanceUid| {
            let (ledger, uid, by) = (self.ledger.clone(), *uid, by.to_owned());
            async move { ledger.note_asked(&uid, &by).await }
        };
        each(others.iter().map(ask).collect()).await;
        roll::changed(&self.bus, &self.limits).await;
        let (enrolled, waiting) = (enrolled.len(), others.len());
        metrics::counter!("muster_control_enrolled_total").increment(enrolled as u64);
        tracing::info!(by, enrolled, waiting, "agents came to be enrolled");
        Ok(())
    }

    async fn issue_each(&self, by: &str, uids: &[InstanceUid]) {
        let issue = |uid: &InstanceUid| {
            let (ledger, random, uid) = (self.ledger.clone(), self.random.clone(), *uid);
            let (by, expires_unix) = (by.to_owned(), expiry(ledger.clock.now().0, self.lifetime));
            async move {
                let issue = Issue { uid, by, expires_unix, only: false };
                let nobody = Actor::default();
                ledger.issue_credential(issue, &nobody, &*random).await.map(drop)
            }
        };
        each(uids.iter().map(issue).collect()).await;
    }

    /// Renews what expires soon, and tells workers again what they seem not to have heard.
    async fn sweep(&self) -> Result<(), Error> {
        let now = self.ledger.clock.now();
        let soon = now.0 / 1000 + (self.lifetime / RENEW_AT).as_secs();
        let (mut due, mut unheard, mut waiting) = (Vec::new(), Vec::new(), 0_u32);
        for (uid, (credential, version)) in self.ledger.credentials().await? {
            let state = credential.state(now);
            waiting += u32::from(state == CredentialState::Pending);
            // Who did not come with the newest one may never come.
            let is_used = credential.proven == credential.serial;
            if is_used && state == CredentialState::Active && credential.expires_unix < soon {
                due.push(uid);
            } else if self.view.knows_less(&uid, version) {
                unheard.push(uid);
            }
        }
        metrics::gauge!("muster_control_enrollments_waiting").set(f64::from(waiting));
        for batch in due.chunks(self.limits.reassess_max) {
            self.issue_each("", batch).await;
            tracing::info!(agents = batch.len(), "credentials renewed");
            admitted(&self.bus, &self.limits, batch).await?;
        }
        for batch in unheard.chunks(self.limits.reassess_max) {
            admitted(&self.bus, &self.limits, batch).await?;
        }
        Ok(())
    }
}

/// Unix time in seconds at which what is issued now expires.
pub(crate) fn expiry(now_ms: u64, lifetime: Duration) -> u64 {
    now_ms / 1000 + lifetime.as_secs()
}

/// Does what is to be done for each agent, some at a time. What fails is done at the next look: one
/// agent does not hold up the others.
async fn each<T>(jobs: Vec<impl Future<Output = Result<T, Error>>>) -> Vec<T> {
    let jobs = futures_util::stream::iter(jobs).buffer_unordered(IN_FLIGHT);
    let mut failed = Vec::new();
    let done =
        jobs.filter_map(|result| std::future::ready(result.map_err(|it| failed.push(it)).ok()));
    let done = done.collect().await;
    if let Some(first) = failed.first() {
        tracing::warn!(agents = failed.len(), %first, "credentials not written");
    }
    done
}
