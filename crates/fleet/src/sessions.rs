//! Sessions of which nobody is sure: gateways that were silent say which they still hold, and those
//! of gateways that are silent for good are let go.

use std::sync::Arc;

use bus::v1::resume_reply::Outcome as Held;
use bus::v1::{
    Doubt, GatewayReply, GatewayRequest, Ping, Reap, ReapReply, Resume, ResumeReply, gateway_reply,
    gateway_request,
};
use bus::{Received, Subject};
use model::GatewayId;
use model::session::Outcome;
use opamp::InstanceUid;

use crate::Error;
use crate::engine::{Done, Engine};
use crate::job::{Job, What};
use crate::report;

/// A gateway says which sessions it holds.
pub(crate) async fn resume(engine: Arc<Engine>, received: Received<Resume>) {
    // It asks again, and a late answer would be about sessions that have gone on.
    if received.expired() {
        return;
    }
    // Asked about nobody: can anything be stored?
    if received.body.sessions.is_empty() && engine.records.ready().await.is_err() {
        return;
    }
    let deadline = received.deadline;
    let (ask, responder) = received.split();
    let session = |session: bus::v1::resume::Session| {
        let owner = report::owner(&ask.gateway_id, &session.session_id).ok()?;
        let uid = InstanceUid::try_from(&session.instance_uid[..]).ok()?;
        let (epoch, answered) = (session.epoch, session.answered_sequence_num);
        Some(Job { uid, what: What::Resume { owner, epoch, answered }, deadline })
    };
    let Some(jobs) = ask.sessions.into_iter().map(session).collect::<Option<Vec<_>>>() else {
        return;
    };
    let applied = engine.apply(&jobs).await;
    let outcomes = applied.results.iter().map(|result| held(result).into()).collect();
    let generation = engine.newest_generation().0;
    responder.send(&ResumeReply { outcomes, generation }).await;
    applied.announcement.settle(&engine.bus, &*engine.records).await;
}

fn held(result: &Result<Done, Error>) -> Held {
    match result.as_ref().map(|done| &done.outcome) {
        Ok(Outcome::Reply(reply)) if reply.flags == 0 => Held::Held,
        Ok(Outcome::Reply(_)) => Held::FullStateWanted,
        Ok(Outcome::Stale) => Held::Stale,
        Ok(
            Outcome::Contested { .. } | Outcome::Handed(_) | Outcome::Refused(_) | Outcome::Silence,
        )
        | Err(_) => Held::Unspecified,
    }
}

/// Control has not heard a gateway for long. If a worker cannot reach it either, its sessions end.
pub(crate) async fn reap(engine: Arc<Engine>, received: Received<Reap>) {
    if received.expired() {
        return;
    }
    let (ask, responder) = received.split();
    let gateway = GatewayId::new(&ask.gateway_id);
    if answers(&engine, gateway.clone()).await {
        return responder.send(&ReapReply { alive: true, failed: 0 }).await;
    }
    let job = |target: &bus::v1::reap::Target| {
        let what = What::Reap { gateway: gateway.clone(), epoch: target.epoch };
        let uid = InstanceUid::try_from(&target.instance_uid[..]).ok()?;
        Some(Job { uid, what, deadline: None })
    };
    let jobs: Vec<Job> = ask.targets.iter().filter_map(job).collect();
    let applied = engine.apply(&jobs).await;
    let failed = applied.results.iter().filter(|result| result.is_err()).count();
    metrics::counter!("muster_fleet_reaped_total").increment((jobs.len() - failed) as u64);
    let failed = u32::try_from(failed).unwrap_or(u32::MAX);
    responder.send(&ReapReply { alive: false, failed }).await;
    doubt(&engine, gateway, &ask.targets).await;
    applied.announcement.settle(&engine.bus, &*engine.records).await;
}

/// It may have woken up meanwhile and have made sure of its sessions before they were reaped.
async fn doubt(engine: &Engine, gateway: GatewayId, targets: &[bus::v1::reap::Target]) {
    let instance_uids = targets.iter().map(|target| target.instance_uid.clone()).collect();
    let doubt = gateway_request::Request::Doubt(Doubt { instance_uids });
    let request = GatewayRequest { request: Some(doubt) };
    if let Err(error) = engine.bus.publish(&Subject::Gateway(gateway), &request).await {
        tracing::debug!(%error, "a gateway was not told what was reaped");
    }
}

async fn answers(engine: &Engine, gateway: GatewayId) -> bool {
    let request = GatewayRequest { request: Some(gateway_request::Request::Ping(Ping {})) };
    let subject = Subject::Gateway(gateway);
    let asked = engine.bus.request(&subject, &request, engine.limits.ping_timeout).await;
    matches!(asked, Ok(GatewayReply { reply: Some(gateway_reply::Reply::Ping(_)) }))
}
