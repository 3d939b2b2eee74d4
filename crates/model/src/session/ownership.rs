//! Who may speak for an agent: epochs, claims, closes (rules C1, C2, C4, W1).

use crate::record::{AgentRecord, Owner, RECENT_SESSIONS_MAX};
use crate::session::{Outcome, Reply};

/// A session claims the agent. The same claim again is answered again; a claim by a session
/// that was superseded is refused, however late it arrives.
pub(super) fn claim(
    record: &mut AgentRecord,
    owner: &Owner,
    tell: impl FnOnce(&mut AgentRecord, u64) -> Reply,
) -> Outcome {
    if record.recent_sessions.contains(&owner.session) {
        return Outcome::Stale;
    }
    if record.owner.as_ref() == Some(owner) {
        let epoch = record.epoch;
        return report(record, owner, epoch, 1, |record| tell(record, epoch));
    }
    release(record);
    record.epoch += 1;
    record.n = 1;
    record.polls = false;
    record.owner = Some(owner.clone());
    record.last_gateway = Some(owner.gateway.clone());
    // What was asked in vain of an earlier session may be asked of this one.
    record.full_state.asked = 0;
    let epoch = record.epoch;
    Outcome::Reply(tell(record, epoch))
}

/// A session that holds `epoch` reports for the `n`th time. If the agent was taken from it for
/// being silent, and by nobody else since, it is the owner again.
pub(super) fn report(
    record: &mut AgentRecord,
    owner: &Owner,
    epoch: u64,
    n: u64,
    tell: impl FnOnce(&mut AgentRecord) -> Reply,
) -> Outcome {
    if epoch != record.epoch || record.recent_sessions.contains(&owner.session) {
        return Outcome::Stale;
    }
    if n < record.n {
        return Outcome::Silence;
    }
    if n == record.n {
        // The same report again: the same reply is worked out, and nothing changes.
        return Outcome::Reply(tell(&mut record.clone()));
    }
    record.n = n;
    record.polls = false;
    record.owner = Some(owner.clone());
    Outcome::Reply(tell(record))
}

/// A session ended. A late close of a superseded session changes nothing.
pub(super) fn close(record: &mut AgentRecord, owner: &Owner, epoch: u64, answered: Option<u64>) {
    if epoch != record.epoch || record.owner.as_ref() != Some(owner) {
        return;
    }
    release(record);
    record.sequence_num = record.sequence_num.max(answered);
}

/// Nobody owns the agent any more; what its last session still sends is late.
pub(super) fn release(record: &mut AgentRecord) {
    let Some(owner) = record.owner.take() else {
        return;
    };
    record.recent_sessions.push(owner.session);
    let excess = record
        .recent_sessions
        .len()
        .saturating_sub(RECENT_SESSIONS_MAX);
    record.recent_sessions.drain(..excess);
}
