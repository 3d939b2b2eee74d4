//! Loops over the worker's inboxes. What has piled up while one batch was worked on makes the
//! next: under load batches grow, at rest nothing waits for company.

use std::sync::Arc;

use bus::v1::{self, GatewayReply, GatewayRequest, ProbeReply, gateway_reply, gateway_request};
use bus::{Client, Inbox, Received, Responder, Subject};
use model::GatewayId;
use model::session::{Outcome, Reply, Rival};
use opamp::InstanceUid;
use prost::Message;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::engine::{Done, Engine};
use crate::job::{Job, What};
use crate::poison::contained;
use crate::report::Understood;
use crate::{presence, report};

/// What the loops share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tasks: TaskTracker,
    /// Batches in hand.
    pub(crate) batches: Arc<Semaphore>,
    /// Reassessments in hand.
    pub(crate) reassessments: Arc<Semaphore>,
    /// Contested claims in hand.
    pub(crate) contests: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    /// Takes reports until told to stop.
    pub(crate) async fn reports(self, mut inbox: Inbox<v1::Report>) {
        while let Some((batch, permit)) = self.next_batch(&mut inbox).await {
            let (engine, contests) = (self.engine.clone(), self.contests.clone());
            self.tasks.spawn(async move {
                let contested = reports(&engine, batch).await;
                drop(permit);
                if !contested.is_empty() {
                    let _permit = contests.acquire().await;
                    settle(&engine, probe(&engine, contested).await, false).await;
                }
            });
        }
    }

    /// Takes ended sessions until told to stop.
    pub(crate) async fn closes(self, mut inbox: Inbox<v1::Close>) {
        while let Some((batch, permit)) = self.next_batch(&mut inbox).await {
            let engine = self.engine.clone();
            self.tasks.spawn(async move {
                closes(&engine, batch).await;
                drop(permit);
            });
        }
    }

    /// Takes agents to reassess until told to stop. One message is a batch already.
    pub(crate) async fn reassessments(self, mut inbox: Inbox<v1::Reassess>) {
        while let Some(received) = self.next(&mut inbox).await {
            let Ok(permit) = self.reassessments.clone().acquire_owned().await else {
                return;
            };
            let engine = self.engine.clone();
            self.tasks.spawn(async move {
                let span =
                    tracing::info_span!("reassess", agents = received.body.instance_uids.len());
                received.parent(&span);
                let (ask, responder) = received.split();
                let (answer, announcements) = engine.reassess(&ask).instrument(span).await;
                responder.send(&answer).await;
                for announcement in announcements {
                    announcement.settle(&engine.bus, &*engine.records).await;
                }
                drop(permit);
            });
        }
    }

    /// Forgets agents until told to stop. One message is a batch already.
    pub(crate) async fn forgets(self, mut inbox: Inbox<v1::Forget>) {
        while let Some(received) = self.next(&mut inbox).await {
            let (ask, responder) = received.split();
            match self.engine.forget(&ask).await {
                Ok((answer, announcement)) => {
                    responder.send(&answer).await;
                    announcement.settle(&self.engine.bus, &*self.engine.records).await;
                }
                // No answer makes control ask again.
                Err(error) => tracing::debug!(%error, "agents not forgotten"),
            }
        }
    }

    /// Takes messages until told to stop, each a batch already, a few at a time.
    pub(crate) async fn each<M, W>(
        self,
        mut inbox: Inbox<M>,
        work: fn(Arc<Engine>, Received<M>) -> W,
    ) where
        M: Message + Default,
        W: Future<Output = ()> + Send + 'static,
    {
        while let Some(received) = self.next(&mut inbox).await {
            let Ok(permit) = self.reassessments.clone().acquire_owned().await else {
                return;
            };
            let working = work(self.engine.clone(), received);
            self.tasks.spawn(async move {
                working.await;
                drop(permit);
            });
        }
    }

    /// Stores gateways' presence, one command per batch of theirs.
    pub(crate) async fn presence(self, mut inbox: Inbox<v1::Presence>) {
        while let Some(received) = self.next(&mut inbox).await {
            let batch = received.body;
            let entries = presence::entries(&batch);
            if batch.gateway_id.is_empty() || entries.is_empty() {
                continue;
            }
            if let Err(error) = self.engine.records.put_presence(&batch.gateway_id, &entries).await
            {
                // The next batch of the same agents makes up for it.
                tracing::debug!(%error, gateway = batch.gateway_id, "presence not stored");
            }
        }
    }

    /// Reads the assignments again when somebody says that they changed.
    pub(crate) async fn intent(self, mut inbox: Inbox<v1::IntentChanged>) {
        while let Some(received) = self.next(&mut inbox).await {
            let (changed, responder) = received.split();
            match self.engine.ledger.catch_up(changed.decision).await {
                Ok(_) => responder.send(&v1::IntentKnown {}).await,
                Err(error) => tracing::debug!(%error, "assignments not read"),
            }
        }
    }

    async fn next<M: Message + Default>(&self, inbox: &mut Inbox<M>) -> Option<Received<M>> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            received = inbox.next() => received,
        }
    }

    /// Waits for a message, then for a free hand, and takes what has piled up by then.
    async fn next_batch<M: Message + Default>(
        &self,
        inbox: &mut Inbox<M>,
    ) -> Option<(Vec<Received<M>>, tokio::sync::OwnedSemaphorePermit)> {
        let mut batch = vec![self.next(inbox).await?];
        let permit = self.batches.clone().acquire_owned().await.ok()?;
        while batch.len() < self.engine.limits.batch_max
            && let Some(received) = inbox.try_next().await
        {
            batch.push(received);
        }
        metrics::histogram!("muster_fleet_batch_size")
            .record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        Some((batch, permit))
    }
}

/// A report on its way through: what it asks for, and who waits.
struct Pending {
    job: Job,
    poll: Option<store::Presence>,
    responder: Responder,
}

/// A claim of an agent that a session at this gateway holds in this epoch.
type Contested = (Pending, GatewayId, u64);

/// Works on a batch; returns the claims that cannot be decided without asking somebody.
async fn reports(engine: &Engine, batch: Vec<Received<v1::Report>>) -> Vec<Contested> {
    let span = tracing::info_span!("reports", batch = batch.len());
    if let Some(first) = batch.first() {
        first.parent(&span);
    }
    async {
        let mut pending = Vec::with_capacity(batch.len());
        for received in batch {
            // Who asked has given up and asks again: a late claim must not win over that.
            if received.expired() {
                metrics::counter!("muster_fleet_expired_total").increment(1);
                continue;
            }
            let deadline = received.deadline;
            let (report, responder) = received.split();
            match contained(engine.understand(report, deadline)).await {
                Some(Ok(Understood { job, poll })) => {
                    pending.push(Pending { job, poll, responder });
                }
                Some(Err(answer)) => responder.send(&answer).await,
                None => responder.send(&report::unavailable("it cannot be worked on")).await,
            }
        }
        metrics::counter!("muster_fleet_reports_total").increment(pending.len() as u64);
        settle(engine, pending, true).await
    }
    .instrument(span)
    .await
}

/// Applies reports and answers them. Claims of agents that somebody else holds are returned,
/// unless this is their second time.
async fn settle(engine: &Engine, pending: Vec<Pending>, first: bool) -> Vec<Contested> {
    let (mut jobs, mut rest) = (Vec::new(), Vec::new());
    for Pending { job, poll, responder } in pending {
        jobs.push(job);
        rest.push((poll, responder));
    }
    let applied = engine.apply(&jobs).await;
    let polls = rest.iter().map(|(poll, _)| *poll).collect();
    let stored = note(engine, &applied.results, polls).await;
    supersede(&engine.bus, &jobs, &applied.results).await;
    let mut contested = Vec::new();
    for ((job, result), (poll, responder)) in jobs.into_iter().zip(applied.results).zip(rest) {
        if first && let Ok(Done { outcome: Outcome::Contested { owner, epoch }, .. }) = &result {
            contested.push((Pending { job, poll, responder }, owner.gateway.clone(), *epoch));
            continue;
        }
        let answer = match &stored {
            Ok(()) => report::answer(&job.uid, &result),
            Err(error) => Some(report::unavailable(&error.to_string())),
        };
        if let Some(answer) = answer {
            responder.send(&answer).await;
        }
    }
    applied.announcement.settle(&engine.bus, &*engine.records).await;
    contested
}

/// Asks the gateways of sessions whose agents are claimed by others whether they are alive.
async fn probe(engine: &Engine, contested: Vec<Contested>) -> Vec<Pending> {
    let asks = contested.into_iter().map(async |(mut pending, gateway, epoch)| {
        let instance_uid = pending.job.uid.as_bytes().to_vec().into();
        let probe = gateway_request::Request::Probe(v1::Probe { instance_uid, epoch });
        let request = GatewayRequest { request: Some(probe) };
        let timeout = engine.limits.probe_timeout;
        let answer = engine.bus.request(&Subject::Gateway(gateway), &request, timeout).await;
        let alive = matches!(
            answer,
            Ok(GatewayReply {
                reply: Some(gateway_reply::Reply::Probe(ProbeReply { alive: true }))
            })
        );
        if let What::Claim { rival, .. } = &mut pending.job.what {
            *rival = if alive { Rival::Alive(epoch) } else { Rival::Gone(epoch) };
        }
        pending
    });
    futures_util::future::join_all(asks).await
}

/// What must be stored apart from the records before anybody is answered.
async fn note(
    engine: &Engine,
    results: &[Result<Done, crate::Error>],
    polls: Vec<Option<store::Presence>>,
) -> Result<(), crate::Error> {
    let taken = |(result, poll): (&Result<Done, _>, Option<_>)| result.is_ok().then_some(poll)?;
    let polls: Vec<_> = results.iter().zip(polls).filter_map(taken).collect();
    let given: Vec<InstanceUid> = results.iter().filter_map(given_uid).collect();
    engine.note_polls(&polls).await?;
    engine.note_assigned(&given).await
}

fn given_uid(result: &Result<Done, crate::Error>) -> Option<InstanceUid> {
    match &result.as_ref().ok()?.outcome {
        Outcome::Reply(Reply { new_instance_uid, .. }) => *new_instance_uid,
        Outcome::Stale
        | Outcome::Contested { .. }
        | Outcome::Handed(_)
        | Outcome::Refused(_)
        | Outcome::Silence => None,
    }
}

/// Tells gateways whose sessions lost their agents. Unheard, they learn it from the next report.
async fn supersede(bus: &Client, jobs: &[Job], results: &[Result<Done, crate::Error>]) {
    for (job, result) in jobs.iter().zip(results) {
        let Ok(Done { superseded: Some(gateway), record, .. }) = result else {
            continue;
        };
        let supersede =
            v1::Supersede { instance_uid: job.uid.as_bytes().to_vec().into(), epoch: record.epoch };
        let request =
            GatewayRequest { request: Some(gateway_request::Request::Supersede(supersede)) };
        if let Err(error) = bus.publish(&Subject::Gateway(gateway.clone()), &request).await {
            tracing::debug!(%gateway, %error, "not told that its session was superseded");
        }
    }
}

async fn closes(engine: &Engine, batch: Vec<Received<v1::Close>>) {
    let (mut jobs, mut responders): (Vec<Job>, Vec<Responder>) = Default::default();
    for received in batch {
        let (close, responder) = received.split();
        let owner = report::owner(&close.gateway_id, &close.session_id);
        let (Ok(owner), Ok(uid)) = (owner, InstanceUid::try_from(&close.instance_uid[..])) else {
            continue;
        };
        let (epoch, answered) = (close.epoch, close.answered_sequence_num);
        jobs.push(Job { uid, what: What::Close { owner, epoch, answered }, deadline: None });
        responders.push(responder);
    }
    let applied = engine.apply(&jobs).await;
    for (result, responder) in applied.results.iter().zip(responders) {
        // No answer makes the gateway tell again.
        if result.is_ok() {
            responder.send(&v1::CloseReply {}).await;
        }
    }
    applied.announcement.settle(&engine.bus, &*engine.records).await;
}
