//! What an agent should run, and whether to tell it now (rules CFG-01 to CFG-12, W5, I5).

use opamp::v1::{AgentCapabilities, AgentToServer, RemoteConfigStatuses};

use crate::record::{AgentRecord, Delivered, FAILED_HASHES_MAX, Offered};
use crate::session::{Context, Intent};
use crate::{ConfigHash, RevisionRef, Timestamp};

/// A poll's offer counts as lost after two polls at the default interval without a word on it.
const POLL_OFFER_PATIENCE_MS: u64 = 60_000;

/// Brings the offer in line with the operators' decisions. An older decision than the one that
/// made the offer changes nothing, and neither does one that says nothing about this agent or
/// does not let it through yet.
pub(super) fn assess(record: &mut AgentRecord, intent: Option<Intent<'_>>) {
    let Some(intent) = intent else { return };
    if intent.decision < record.offered.decision {
        return;
    }
    // Nobody knows what it is like, and it has been asked: whatever selects it now may not when it
    // has answered, and its config would go there and back.
    if record.reported.agent_description.is_none() && record.full_state.wanted {
        return;
    }
    let (uid, first_seen) = (&record.instance_uid, record.first_seen);
    let Some(assignment) = intent.assignments.admitted(uid, first_seen, record) else {
        return;
    };
    if record.offered.config.as_ref() != Some(&assignment.config) {
        let config = Some(assignment.config.clone());
        record.offered = Offered { config, decision: intent.decision };
    }
}

/// Remembers a config that the agent could not apply, so that it is not offered it again.
pub(super) fn note_failure(record: &mut AgentRecord) {
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

/// An agent whose word is about another config than the one that went out last has not got that, or
/// has got something since that was not noted: should it be offered that again, it is told.
pub(super) fn note_word(record: &mut AgentRecord, message: &AgentToServer) {
    let Some(status) = &message.remote_config_status else { return };
    record.delivered.take_if(|delivered| status.last_remote_config_hash != delivered.hash.0);
}

/// What the reply to this message offers, noted as delivered.
pub(super) fn reply(
    record: &mut AgentRecord,
    message: &AgentToServer,
    epoch: u64,
    context: &Context<'_>,
) -> Option<RevisionRef> {
    context.intent.filter(|intent| intent.assignments.lets_out(record))?;
    let offered = acceptable(record)?.clone();
    let n = if epoch == 0 { message.sequence_num } else { record.n };
    let now = match &message.remote_config_status {
        // Its word is about this config: applied, applying or failed, that is an answer.
        Some(status) if status.last_remote_config_hash == offered.hash.0 => false,
        // Its word is about another one: the reply must carry the right one.
        Some(_) => true,
        None => {
            !is_known(record, &offered.hash) && !was_delivered(record, &offered, epoch, n, context)
        }
    };
    if !now {
        return None;
    }
    record.delivered = Some(Delivered { hash: offered.hash, epoch, n, at: context.now });
    Some(offered)
}

/// A pushed offer reached the socket. Only the offer that stands counts: the same config may have
/// been decided before another one, and again after it.
pub(super) fn pushed(
    record: &mut AgentRecord,
    epoch: u64,
    (hash, decision): (ConfigHash, u64),
    now: Timestamp,
) {
    let stands = record.offered.decision == decision
        && record.offered.config.as_ref().is_some_and(|offered| offered.hash == hash);
    if stands && record.epoch == epoch {
        record.delivered = Some(Delivered { hash, epoch, n: 0, at: now });
    }
}

/// The config that is to be pushed: acceptable, not answered, not delivered in this epoch.
pub(super) fn outstanding(record: &AgentRecord) -> Option<&RevisionRef> {
    let offered = acceptable(record)?;
    let delivered = record
        .delivered
        .as_ref()
        .is_some_and(|delivered| delivered.hash == offered.hash && delivered.epoch == record.epoch);
    (!delivered && !is_known(record, &offered.hash)).then_some(offered)
}

/// The offer, if the agent takes remote config and has not failed on this one.
pub(super) fn acceptable(record: &AgentRecord) -> Option<&RevisionRef> {
    let offered = record.offered.config.as_ref()?;
    let takes = record.can(AgentCapabilities::AcceptsRemoteConfig);
    (takes && !record.failed.contains(&offered.hash)).then_some(offered)
}

/// Whether the agent's last word was about this config.
fn is_known(record: &AgentRecord, hash: &ConfigHash) -> bool {
    let status = record.reported.remote_config_status.as_ref();
    status.is_some_and(|status| status.last_remote_config_hash == hash.0)
}

/// Whether this config went out already and waits for the agent's word. The very report that it
/// answered, coming again, gets it again.
fn was_delivered(
    record: &AgentRecord,
    offered: &RevisionRef,
    epoch: u64,
    n: u64,
    context: &Context<'_>,
) -> bool {
    let Some(delivered) = &record.delivered else {
        return false;
    };
    if delivered.hash != offered.hash || (delivered.epoch, delivered.n) == (epoch, n) {
        return false;
    }
    if epoch != 0 || delivered.epoch != 0 {
        return delivered.epoch == epoch;
    }
    // A poll has no session to count in. An agent that reports statuses is told again once its
    // silence has lasted; one that never does was told, and that is all there is to know.
    !record.can(AgentCapabilities::ReportsRemoteConfig)
        || context.now.millis_since(delivered.at) < POLL_OFFER_PATIENCE_MS
}
