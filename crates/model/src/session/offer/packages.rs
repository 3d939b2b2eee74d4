//! The packages that an agent should have (rules PKG-01 to PKG-04, PKG-18).

use opamp::v1::{AgentCapabilities, AgentToServer};

use super::due::Question;
use crate::Timestamp;
use crate::assign::{Assignments, Content};
use crate::packages::{PackageSetRef, PackagesOffer};
use crate::record::{AgentRecord, Delivered};
use crate::session::Context;
use crate::summary::PackagesState;

/// Takes a decision. A set that is not whole for this agent changes nothing.
pub(super) fn decide(record: &mut AgentRecord, set: &PackageSetRef, decision: u64) {
    if decision < record.packages.decision {
        return;
    }
    if let Some(offer) = set.offer(&*record)
        && record.packages.offered.as_ref() != Some(&offer)
    {
        record.packages.offered = Some(offer);
        record.packages.decision = decision;
    }
}

/// Remembers a set that the agent could not install.
pub(super) fn note_failure(record: &mut AgentRecord) {
    let said = record.reported.package_statuses.as_ref();
    if let (Some(offer), Some(said)) = (&record.packages.offered, said)
        && PackagesState::of(offer, said) == PackagesState::Failed
    {
        let key = offer.key();
        record.packages.note_failed(key);
    }
}

/// An agent whose word is about other packages than those that went out last has not got those.
pub(super) fn note_word(record: &mut AgentRecord, message: &AgentToServer) {
    let Some(said) = &message.package_statuses else { return };
    let other = |it: &mut Delivered<_>| said.server_provided_all_packages_hash != it.hash;
    record.packages.delivered.take_if(other);
}

/// What the reply to this message offers, noted as delivered.
pub(super) fn reply(
    record: &mut AgentRecord,
    message: &AgentToServer,
    (epoch, n): (u64, u64),
    context: &Context<'_>,
) -> Option<PackagesOffer> {
    let intent = context.intent?;
    let offer = acceptable(record, intent.assignments)?.clone();
    let hash_of =
        |said: &opamp::v1::PackageStatuses| said.server_provided_all_packages_hash.clone();
    let said = message.package_statuses.as_ref().map(hash_of);
    let known = record.reported.package_statuses.as_ref().map(hash_of);
    let question = Question {
        hash: &offer.hash.0,
        said: said.as_deref(),
        known: known.as_deref(),
        delivered: record.packages.delivered.as_ref(),
        reports: record.can(AgentCapabilities::ReportsPackageStatuses),
    };
    if !question.is_due(epoch, n, context.now) {
        return None;
    }
    let hash = offer.hash.0;
    record.packages.delivered = Some(Delivered { hash, epoch, n, at: context.now });
    Some(offer)
}

/// The reply that was lost, again.
pub(super) fn again(record: &mut AgentRecord, context: &Context<'_>) -> Option<PackagesOffer> {
    let carried =
        record.packages.delivered.take_if(|it| (it.epoch, it.n) == (record.epoch, record.n))?;
    let offer = acceptable(record, context.intent?.assignments)?.clone();
    record.packages.delivered = Some(carried).filter(|it| it.hash == offer.hash.0);
    record.packages.delivered.is_some().then_some(offer)
}

/// Pushed packages reached the socket.
pub(super) fn pushed(
    record: &mut AgentRecord,
    epoch: u64,
    (hash, decision): ([u8; 32], u64),
    now: Timestamp,
) {
    let track = &mut record.packages;
    let stands = track.decision == decision
        && track.offered.as_ref().is_some_and(|offer| offer.hash.0 == hash);
    if stands && record.epoch == epoch {
        track.delivered = Some(Delivered { hash, epoch, n: 0, at: now });
    }
}

/// The packages to push: acceptable, not answered, not delivered in this epoch.
pub(super) fn outstanding<'a>(
    record: &'a AgentRecord,
    assignments: &Assignments,
) -> Option<&'a PackagesOffer> {
    let offer = acceptable(record, assignments)?;
    let delivered = record.packages.delivered.as_ref();
    let delivered = delivered.is_some_and(|it| it.hash == offer.hash.0 && it.epoch == record.epoch);
    let known = record.reported.package_statuses.as_ref();
    let known = known.is_some_and(|it| it.server_provided_all_packages_hash == offer.hash.0);
    (!delivered && !known).then_some(offer)
}

/// The offer, if the agent takes packages, has not failed on these, and nobody stopped them.
fn acceptable<'a>(record: &'a AgentRecord, assignments: &Assignments) -> Option<&'a PackagesOffer> {
    let offer = record.packages.offered.as_ref()?;
    let takes = record.can(AgentCapabilities::AcceptsPackages);
    let is_packages = |content: &Content| matches!(content, Content::Packages(_));
    let fits = takes && !record.packages.failed.contains(&offer.key());
    (fits && assignments.lets_out(record, is_packages)).then_some(offer)
}
