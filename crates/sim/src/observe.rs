//! What crosses the bus, for the history: reports with their answers, and how often it is used.

use bus::v1::envelope::Body;
use bus::v1::report_reply::Outcome;
use bus::v1::{Envelope, Report, ReportReply, Transport};
use bytes::Bytes;
use futures_util::FutureExt as _;
use model::AgentRecord;
use opamp::InstanceUid;
use opamp::v1::AgentToServer;
use prost::Message;
use store::{Key, Store as _, tables};

use crate::history::Answer;
use crate::world::World;

/// Where reports go.
const REPORTS: &str = ".fleet.report";
/// Where presence goes.
const PRESENCE: &str = ".presence";

/// Something was published.
pub(crate) fn published(world: &World, subject: &str) {
    if subject.ends_with(PRESENCE) {
        world.history().presence_messages += 1;
    }
}

/// Somebody was asked.
pub(crate) fn asked(world: &World, subject: &str, question: &Bytes) {
    if !subject.ends_with(REPORTS) {
        return;
    }
    let polls = |report: Report| report.transport == i32::from(Transport::Http);
    if !open::<Report>(question).is_some_and(polls) {
        world.history().session_reports += 1;
    }
}

/// A question was answered. What the store holds right then is what the answer can be about.
pub(crate) fn answered(world: &World, subject: &str, question: &Bytes, answer: &Bytes) {
    if !subject.ends_with(REPORTS) {
        return;
    }
    let (Some(report), Some(reply)) = (open::<Report>(question), open::<ReportReply>(answer))
    else {
        return;
    };
    let Some(Outcome::Accepted(accepted)) = reply.outcome else { return };
    let Ok(message) = AgentToServer::decode(report.message) else { return };
    let Ok(uid) = InstanceUid::try_from(&message.instance_uid[..]) else { return };
    let polls = report.transport == i32::from(Transport::Http);
    if accepted.refused || (accepted.epoch == 0 && !polls) {
        return;
    }
    let (at, stored) = (world.now_ms(), stored(world, &uid));
    let (epoch, n) = (accepted.epoch, report.n);
    world.history().answers.push(Answer { at, uid, epoch, n, message, stored });
}

/// An agent's record as it is at the bottom of the store.
pub(crate) fn stored(world: &World, uid: &InstanceUid) -> Option<AgentRecord> {
    let key = Key::agent(uid);
    let found = world.records.get(std::slice::from_ref(&key)).now_or_never()?.ok()?.pop()??;
    Some(tables::agents::decode(&key, &found.value).ok()?.value)
}

/// The message in an envelope, if it travels inside.
pub(crate) fn open<M: Message + Default>(payload: &Bytes) -> Option<M> {
    match Envelope::decode(payload.clone()).ok()?.body? {
        Body::Inline(body) => M::decode(body).ok(),
        Body::Parcel(_) => None,
    }
}
