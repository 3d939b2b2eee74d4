//! What an agent should have, and whether to tell it now. Here its config (rules CFG-01 to CFG-12,
//! W5, I5); packages and connection settings go the same way in rooms of their own.

mod due;
mod packages;
mod settings;
#[cfg(test)]
mod tests;

use opamp::v1::{AgentCapabilities, AgentToServer, RemoteConfigStatuses};

use self::due::Question;
use crate::assign::{Assignments, Content};
use crate::record::{AgentRecord, Delivered, FAILED_HASHES_MAX, Offered};
use crate::session::{Context, Intent, Offers, Pushed};
use crate::settings::SettingsRef;
use crate::{ConfigHash, RevisionRef, Timestamp};

/// Brings the offers in line with the operators' decisions. An older decision than the one that
/// made an offer changes nothing, and neither does one that says nothing about this agent or
/// does not let it through yet.
pub(super) fn assess(record: &mut AgentRecord, intent: Option<Intent<'_>>) {
    let Some(intent) = intent else { return };
    if record.is_pending() {
        return;
    }
    // Nobody knows what it is like, and it has been asked: whatever selects it now may not when it
    // has answered, and its config would go there and back.
    if record.reported.agent_description.is_none() && record.full_state.wanted {
        return;
    }
    let (uid, first_seen) = (record.instance_uid, record.first_seen);
    let mut settings: Vec<&SettingsRef> = Vec::new();
    for assignment in intent.assignments.admitted(&uid, first_seen, record) {
        match &assignment.content {
            Content::Config(config) => decide(record, config, intent.decision),
            Content::Packages(set) => packages::decide(record, set, intent.decision),
            Content::Settings(one) => settings.push(one),
        }
    }
    settings::decide(record, &settings, intent.decision);
}

fn decide(record: &mut AgentRecord, config: &RevisionRef, decision: u64) {
    let outdated = decision < record.offered.decision;
    if !outdated && record.offered.config.as_ref() != Some(config) {
        record.offered = Offered { config: Some(config.clone()), decision };
    }
}

/// Remembers what the agent could not apply, so that it is not offered it again.
pub(super) fn note_failures(record: &mut AgentRecord) {
    note_failure(record);
    packages::note_failure(record);
    settings::note_failure(record);
}

fn note_failure(record: &mut AgentRecord) {
    let Some(status) = &record.reported.remote_config_status else {
        return;
    };
    let Some(hash) = ConfigHash::from_slice(&status.last_remote_config_hash) else {
        return;
    };
    let failed = status.status == RemoteConfigStatuses::Failed as i32;
    if failed && !record.failed.contains(&hash) {
        record.failed.push(hash);
        let excess = record.failed.len().saturating_sub(FAILED_HASHES_MAX);
        record.failed.drain(..excess);
    }
}

/// An agent whose word is about something else than what went out last has not got that, or has got
/// something since that was not noted: should it be offered that again, it is told.
pub(super) fn note_word(record: &mut AgentRecord, message: &AgentToServer) {
    if let Some(status) = &message.remote_config_status {
        record.delivered.take_if(|delivered| status.last_remote_config_hash != delivered.hash.0);
    }
    packages::note_word(record, message);
    settings::note_word(record, message);
}

/// What the reply to this message offers, noted as delivered.
pub(super) fn reply(
    record: &mut AgentRecord,
    message: &AgentToServer,
    epoch: u64,
    context: &Context<'_>,
) -> Offers {
    if record.is_pending() {
        return Offers::default();
    }
    let n = if epoch == 0 { message.sequence_num } else { record.n };
    let withheld = context.withheld;
    let config = (!withheld.config).then(|| config(record, message, (epoch, n), context));
    let packages =
        (!withheld.packages).then(|| packages::reply(record, message, (epoch, n), context));
    let settings =
        (!withheld.settings).then(|| settings::reply(record, message, (epoch, n), context));
    Offers {
        config: config.flatten(),
        packages: packages.flatten().map(Box::new),
        settings: settings.flatten().map(Box::new),
    }
}

fn config(
    record: &mut AgentRecord,
    message: &AgentToServer,
    (epoch, n): (u64, u64),
    context: &Context<'_>,
) -> Option<RevisionRef> {
    let offered = acceptable(record, context.intent?.assignments)?.clone();
    let hash_of = |said: &opamp::v1::RemoteConfigStatus| said.last_remote_config_hash.clone();
    let said = message.remote_config_status.as_ref().map(hash_of);
    let known = record.reported.remote_config_status.as_ref().map(hash_of);
    let question = Question {
        hash: &offered.hash.0,
        said: said.as_deref(),
        known: known.as_deref(),
        delivered: record.delivered.as_ref(),
        reports: record.can(AgentCapabilities::ReportsRemoteConfig),
    };
    if !question.is_due(epoch, n, context.now) {
        return None;
    }
    record.delivered = Some(Delivered { hash: offered.hash, epoch, n, at: context.now });
    Some(offered)
}

/// What was in the reply to the report that was taken last, which comes again. An offer that
/// cannot be in it this time has not gone out.
pub(super) fn again(record: &mut AgentRecord, context: &Context<'_>) -> Offers {
    if record.is_pending() {
        return Offers::default();
    }
    let at = (record.epoch, record.n);
    let carried = record.delivered.take_if(|it| (it.epoch, it.n) == at);
    let offered = context.intent.and_then(|intent| acceptable(record, intent.assignments)).cloned();
    let config = offered.filter(|it| carried.as_ref().is_some_and(|c| c.hash == it.hash));
    let config = config.filter(|_| !context.withheld.config);
    if config.is_some() {
        record.delivered = carried;
    }
    let packages = match context.withheld.packages {
        false => packages::again(record, context),
        true => None,
    };
    let settings = match context.withheld.settings {
        false => settings::again(record, context),
        true => None,
    };
    Offers { config, packages: packages.map(Box::new), settings: settings.map(Box::new) }
}

/// Something pushed reached the socket. Only an offer that stands counts: the same may have been
/// decided before another one, and again after it.
pub(super) fn pushed(
    record: &mut AgentRecord,
    epoch: u64,
    (what, decision): (&Pushed, u64),
    now: Timestamp,
) {
    match what {
        Pushed::Config(hash) => {
            let stands = record.offered.decision == decision
                && record.offered.config.as_ref().is_some_and(|offered| offered.hash == *hash);
            if stands && record.epoch == epoch {
                record.delivered = Some(Delivered { hash: *hash, epoch, n: 0, at: now });
            }
        }
        Pushed::Packages(offer) => packages::pushed(record, epoch, (offer.hash.0, decision), now),
        Pushed::Settings(part) => settings::pushed(record, epoch, (part, decision), now),
    }
}

/// What is to be pushed: acceptable, not answered, not delivered in this epoch.
pub(super) fn outstanding(record: &AgentRecord, assignments: &Assignments) -> Offers {
    if record.is_pending() {
        return Offers::default();
    }
    let config = acceptable(record, assignments).filter(|offered| {
        let delivered = record.delivered.as_ref();
        let delivered =
            delivered.is_some_and(|it| it.hash == offered.hash && it.epoch == record.epoch);
        let known = record.reported.remote_config_status.as_ref();
        let known = known.is_some_and(|it| it.last_remote_config_hash == offered.hash.0);
        !delivered && !known
    });
    Offers {
        config: config.cloned(),
        packages: packages::outstanding(record, assignments).cloned().map(Box::new),
        settings: settings::outstanding(record, assignments).map(Box::new),
    }
}

/// The config on offer, if the agent takes remote config, has not failed on this one, and nobody
/// stopped it.
fn acceptable<'a>(record: &'a AgentRecord, assignments: &Assignments) -> Option<&'a RevisionRef> {
    let offered = record.offered.config.as_ref()?;
    let takes = record.can(AgentCapabilities::AcceptsRemoteConfig);
    let is_config = |content: &Content| matches!(content, Content::Config(_));
    let fits = takes && !record.failed.contains(&offered.hash);
    (fits && assignments.lets_out(record, is_config)).then_some(offered)
}
