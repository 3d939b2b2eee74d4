//! Offers that do not wait for the agent to speak: after a decision, agents with a session are
//! told through the gateway that holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::Subject;
use bus::v1::{
    self, Deliver, GatewayRequest, Reassess, ReassessReply, delivered, gateway_reply,
    gateway_request,
};
use model::GatewayId;
use model::session::{Pushed, to_push};
use opamp::InstanceUid;

use crate::engine::{Done, Engine};
use crate::intent::{Known, Labels};
use crate::job::{Job, What};
use crate::outbox::Announcement;
use crate::{Error, reply};

/// Offers that go to one gateway: one body, many agents.
type Deliveries = BTreeMap<(GatewayId, Push), Vec<Addressee>>;

/// What is pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Push {
    what: Pushed,
    /// The agent that alone it is for.
    only: Option<InstanceUid>,
}

/// An agent that is to be told, in which epoch, and by which decision.
#[derive(Debug)]
struct Addressee {
    uid: InstanceUid,
    epoch: u64,
    decision: u64,
}

impl Engine {
    /// Brings agents' offers in line with a decision and pushes what is new to them.
    pub(crate) async fn reassess(&self, ask: &Reassess) -> (ReassessReply, Vec<Announcement>) {
        let mut answer = ReassessReply::default();
        let uids: Vec<InstanceUid> =
            ask.instance_uids.iter().filter_map(|uid| (&uid[..]).try_into().ok()).collect();
        let Ok((jobs, known)) = self.questions(ask, &uids).await else {
            answer.failed = count(uids.len());
            return (answer, Vec::new());
        };
        let applied = self.apply(&jobs).await;
        let mut announcements = vec![applied.announcement];
        // An agent's last job counts: it saw what those before it did.
        let results: BTreeMap<InstanceUid, _> =
            jobs.iter().map(|job| job.uid).zip(applied.results).collect();
        let mut deliveries = Deliveries::new();
        for (uid, result) in results {
            match result {
                Ok(done) => {
                    answer.changed += 1;
                    plan(&mut deliveries, uid, &done, &known);
                }
                Err(_) => answer.failed += 1,
            }
        }
        let deliveries = deliveries.into_iter().map(async |((gateway, push), targets)| {
            let delivered = self.deliver(gateway.clone(), &push, &targets).await;
            delivered.unwrap_or_else(|error| {
                // Who was not reached is told when it speaks, or by the next reconciliation.
                tracing::debug!(%gateway, %error, "offers not delivered");
                Vec::new()
            })
        });
        let pushed: Vec<Job> =
            futures_util::future::join_all(deliveries).await.into_iter().flatten().collect();
        answer.sent = count(pushed.len());
        announcements.push(self.apply(&pushed).await.announcement);
        (answer, announcements)
    }

    /// What is to be looked at anew of each agent, and the intent it is looked at with.
    async fn questions(
        &self,
        ask: &Reassess,
        uids: &[InstanceUid],
    ) -> Result<(Vec<Job>, Arc<Known>), Error> {
        let known = self.ledger.catch_up(ask.decision).await?;
        let mut labels = if ask.labels { self.ledger.labels(uids).await? } else { Labels::new() };
        let standings = match ask.credentials {
            true => self.ledger.standings(uids).await?,
            false => BTreeMap::new(),
        };
        let questions = uids.iter().flat_map(|uid| {
            let labelled = labels.remove(uid);
            let labelled = labelled.map(|(labels, version)| What::Labelled { labels, version });
            let admitted = standings.get(uid).map(|standing| What::Admitted(*standing));
            let any = labelled.is_some() || admitted.is_some();
            let assess = (!any).then_some(What::Assess);
            let what = [labelled, admitted, assess].into_iter().flatten();
            what.map(|what| Job { uid: *uid, what, deadline: None })
        });
        Ok((questions.collect(), known))
    }

    /// Asks one gateway to tell its agents; returns what is to be noted of those it told.
    async fn deliver(
        &self,
        gateway: GatewayId,
        push: &Push,
        targets: &[Addressee],
    ) -> Result<Vec<Job>, Error> {
        let Some(body) = self.body(&push.what, push.only.as_ref()).await? else {
            return Ok(Vec::new());
        };
        let target = |to: &Addressee| {
            let mut target = v1::deliver::Target {
                instance_uid: to.uid.as_bytes().to_vec().into(),
                epoch: to.epoch,
                ..Default::default()
            };
            match push.what {
                Pushed::Config(_) => target.decision = to.decision,
                Pushed::Settings(_) => target.settings_decision = to.decision,
                Pushed::Packages(_) => target.packages_decision = to.decision,
            }
            target
        };
        let fields = self.field(&push.what, body);
        let deliver = Deliver {
            message: reply::push(&fields.clear),
            targets: targets.iter().map(target).collect(),
            sealed_offers: fields.sealed,
        };
        let request = GatewayRequest { request: Some(gateway_request::Request::Deliver(deliver)) };
        let timeout = self.limits.deliver_timeout;
        let answer = self.bus.request(&Subject::Gateway(gateway), &request, timeout).await?;
        let Some(gateway_reply::Reply::Delivered(outcomes)) = answer.reply else {
            return Ok(Vec::new());
        };
        let sent = |outcome: &i32| *outcome == i32::from(delivered::Outcome::Sent);
        let pushed = targets.iter().zip(&outcomes.outcomes).filter(|(_, outcome)| sent(outcome));
        Ok(pushed
            .map(|(to, _)| Job {
                uid: to.uid,
                what: What::Pushed {
                    epoch: to.epoch,
                    what: push.what.clone(),
                    decision: to.decision,
                },
                deadline: None,
            })
            .collect())
    }
}

fn plan(deliveries: &mut Deliveries, uid: InstanceUid, done: &Done, known: &Known) {
    let record = &done.record;
    let Some(owner) = &record.owner else { return };
    for what in to_push(record, known.assignments()).each() {
        let decision = match &what {
            Pushed::Config(_) => record.offered.decision,
            Pushed::Packages(_) => record.packages.decision,
            Pushed::Settings(_) => record.settings.decision,
        };
        let only = is_personal(&what).then_some(uid);
        let to = (owner.gateway.clone(), Push { what, only });
        deliveries.entry(to).or_default().push(Addressee { uid, epoch: record.epoch, decision });
    }
}

/// Whether there is a credential in it.
fn is_personal(what: &Pushed) -> bool {
    let Pushed::Settings(part) = what else { return false };
    part.opamp.as_ref().is_some_and(|opamp| opamp.credential != 0)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
