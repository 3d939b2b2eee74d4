//! The connection settings that an agent should use (rules CONN-01 to CONN-04, CONN-14, CONN-21,
//! TEL-01 to TEL-05).
//!
//! Settings of the agent's connection to us make it connect anew, and what it remembers may be
//! gone then: they go out once, and once more to an agent that says it has others, or that was
//! started again. All other classes go out once in each session.

use opamp::v1::{AgentCapabilities, AgentToServer, ConnectionSettingsStatuses};

use super::due::Question;
use crate::Timestamp;
use crate::assign::{Assignments, Content};
use crate::record::{AgentRecord, Delivered, OpAmpTold};
use crate::session::Context;
use crate::settings::{Class, OpAmpPart, SettingsHash, SettingsPart, SettingsRef};

/// How often an agent that runs on is told the same of its connection to us.
const OPAMP_TOLD_MAX: u32 = 2;

/// Takes decisions on classes. A class that nobody decided on stays as it is; one that the agent
/// does not take any more is not in force.
pub(super) fn decide(record: &mut AgentRecord, settings: &[&SettingsRef], decision: u64) {
    if decision < record.settings.decision {
        return;
    }
    let mut offer = record.settings.offered.clone().unwrap_or_default();
    for settings in settings {
        offer.classes.insert(settings.class.clone(), (*settings).clone());
    }
    offer.classes.retain(|class, _| class.is_taken(record.capabilities));
    let admission = record.admission.as_ref();
    let good = admission.map_or(0, |admission| admission.standing.good());
    offer.credential = if Class::OpAmp.is_taken(record.capabilities) { good } else { 0 };
    let offer = Some(offer).filter(|offer| !offer.is_empty());
    if offer != record.settings.offered {
        record.settings.offered = offer;
        record.settings.decision = decision;
    }
}

/// Remembers settings that the agent could not use. It has discarded them all, those of its
/// connection to us too: another offer has to bring them again.
pub(super) fn note_failure(record: &mut AgentRecord) {
    let Some(said) = &record.reported.connection_settings_status else { return };
    let hash = SettingsHash::from_slice(&said.last_connection_settings_hash);
    let hash = hash.filter(|_| said.status() == ConnectionSettingsStatuses::Failed);
    let Some(hash) = hash.filter(|hash| !record.settings.failed.contains(&hash.0)) else { return };
    record.settings.note_failed(hash.0);
    record.opamp_told = None;
}

/// An agent whose word is about other settings than those that went out last has not got those.
pub(super) fn note_word(record: &mut AgentRecord, message: &AgentToServer) {
    let Some(said) = &message.connection_settings_status else { return };
    record.settings.delivered.take_if(|it| said.last_connection_settings_hash != it.hash);
}

/// What the reply to this message offers, noted as delivered.
pub(super) fn reply(
    record: &mut AgentRecord,
    message: &AgentToServer,
    (epoch, n): (u64, u64),
    context: &Context<'_>,
) -> Option<SettingsPart> {
    let assignments = context.intent?.assignments;
    let hash = acceptable(record)?;
    let hash_of =
        |said: &opamp::v1::ConnectionSettingsStatus| said.last_connection_settings_hash.clone();
    let said = message.connection_settings_status.as_ref().map(hash_of);
    let known = record.reported.connection_settings_status.as_ref().map(hash_of);
    let question = Question {
        hash: &hash.0,
        said: said.as_deref(),
        known: known.as_deref(),
        delivered: record.settings.delivered.as_ref(),
        reports: record.can(AgentCapabilities::ReportsConnectionSettingsStatus),
    };
    if !question.is_due(epoch, n, context.now) {
        return None;
    }
    let contradicts = said.is_some_and(|said| said != hash.0);
    let part = part(record, assignments, hash, contradicts.then_some((epoch, n)))?;
    note(record, &part, (epoch, n), context.now);
    Some(part)
}

/// The reply that was lost, again.
pub(super) fn again(record: &mut AgentRecord, context: &Context<'_>) -> Option<SettingsPart> {
    let at = (record.epoch, record.n);
    let carried = record.settings.delivered.take_if(|it| (it.epoch, it.n) == at)?;
    record.opamp_told.take_if(|told| (told.epoch, told.n) == at);
    let hash = acceptable(record).filter(|hash| carried.hash == hash.0)?;
    let part = part(record, context.intent?.assignments, hash, None)?;
    note(record, &part, at, context.now);
    Some(part)
}

/// Pushed settings reached the socket.
pub(super) fn pushed(
    record: &mut AgentRecord,
    epoch: u64,
    (part, decision): (&SettingsPart, u64),
    now: Timestamp,
) {
    let track = &record.settings;
    let stands = track.decision == decision
        && track.offered.as_ref().is_some_and(|offer| offer.hash() == part.hash);
    if stands && record.epoch == epoch {
        note(record, part, (epoch, 0), now);
    }
}

/// The settings to push: acceptable, not answered, not delivered in this epoch.
pub(super) fn outstanding(record: &AgentRecord, assignments: &Assignments) -> Option<SettingsPart> {
    let hash = acceptable(record)?;
    let delivered = record.settings.delivered.as_ref();
    let delivered = delivered.is_some_and(|it| it.hash == hash.0 && it.epoch == record.epoch);
    let known = record.reported.connection_settings_status.as_ref();
    let known = known.is_some_and(|it| it.last_connection_settings_hash == hash.0);
    if delivered || known {
        return None;
    }
    part(record, assignments, hash, None)
}

/// The hash of the offer, if the agent has not failed on it.
fn acceptable(record: &AgentRecord) -> Option<SettingsHash> {
    let hash = record.settings.offered.as_ref()?.hash();
    (!record.settings.failed.contains(&hash.0)).then_some(hash)
}

/// What a message offers: every class that may go out, and the connection to us if that is to be
/// told. `contradicted` is the report that says that the agent has other settings.
fn part(
    record: &AgentRecord,
    assignments: &Assignments,
    hash: SettingsHash,
    contradicted: Option<(u64, u64)>,
) -> Option<SettingsPart> {
    let offer = record.settings.offered.as_ref()?;
    let out = |class: &Class| {
        assignments.lets_out(
            record,
            |content| matches!(content, Content::Settings(settings) if settings.class == *class),
        )
    };
    let mut classes: Vec<SettingsRef> =
        offer.classes.values().filter(|settings| out(&settings.class)).cloned().collect();
    let at = classes.iter().position(|settings| settings.class == Class::OpAmp);
    let settings = at.map(|at| classes.remove(at));
    let opamp = OpAmpPart { settings, credential: offer.credential };
    let takes = Class::OpAmp.is_taken(record.capabilities) && out(&Class::OpAmp);
    let shown = record.admission.as_ref().map_or(0, |admission| admission.shown);
    let opamp = Some(opamp).filter(|opamp| {
        // An agent that came in with a credential has it.
        let is_new = opamp.settings.is_some() || opamp.credential > shown;
        takes && is_new && !opamp.is_empty() && is_to_be_told(record, opamp.hash(), contradicted)
    });
    let part = SettingsPart { hash, classes, opamp };
    (!part.classes.is_empty() || part.opamp.is_some()).then_some(part)
}

/// Whether an agent is to be told of its connection to us.
fn is_to_be_told(
    record: &AgentRecord,
    hash: SettingsHash,
    contradicted: Option<(u64, u64)>,
) -> bool {
    let Some(told) = record.opamp_told.as_ref().filter(|told| told.hash == hash) else {
        return true;
    };
    let repeated = contradicted == Some((told.epoch, told.n));
    // So does an agent that came back with what it was to exchange.
    let came_without = record.admission.as_ref().is_some_and(|it| !it.by.is_empty());
    let contradicts = contradicted.is_some() || came_without && told.epoch != record.epoch;
    let forgot = contradicts && told.times < OPAMP_TOLD_MAX;
    told.start_time_unix_nano != start_time(record) || repeated || forgot
}

fn note(record: &mut AgentRecord, part: &SettingsPart, (epoch, n): (u64, u64), now: Timestamp) {
    record.settings.delivered = Some(Delivered { hash: part.hash.0, epoch, n, at: now });
    let Some(opamp) = &part.opamp else { return };
    let (hash, start_time_unix_nano) = (opamp.hash(), start_time(record));
    let before = record.opamp_told.as_ref();
    let before = before.filter(|told| told.hash == hash);
    let before = before.filter(|told| told.start_time_unix_nano == start_time_unix_nano);
    let times = before.map_or(0, |told| told.times) + 1;
    record.opamp_told = Some(OpAmpTold { hash, start_time_unix_nano, times, epoch, n });
}

/// When the agent started, by its own word; 0 if it does not say.
fn start_time(record: &AgentRecord) -> u64 {
    record.reported.health.as_ref().map_or(0, |health| health.start_time_unix_nano)
}
