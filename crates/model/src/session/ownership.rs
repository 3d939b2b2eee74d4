//! Who may speak for an agent: epochs, claims, closes (rules C1, C2, C4, W1).

use opamp::v1::ServerToAgentFlags;

use crate::GatewayId;
use crate::record::{AgentRecord, Owner, RECENT_SESSIONS_MAX};
use crate::session::{Context, Outcome, Reply, Rival, components, identification, offer};

/// New uids given to newcomers of one uid before they are left alone: some clients adopt none.
const DUPLICATE_TOLD_MAX: u32 = 3;
/// A duplicate seen this long ago is another story, in milliseconds.
const DUPLICATE_MEMORY_MS: u64 = 600_000;

/// A session claims the agent, with what is known of the one that holds it and the epoch that its
/// gateway held before. The same claim again is answered again; a claim by a session that was
/// superseded is refused, however late it arrives.
pub(super) fn claim(
    record: &mut AgentRecord,
    (owner, rival, floor): (&Owner, Rival, u64),
    context: &Context<'_>,
    tell: impl FnOnce(&mut AgentRecord, u64) -> Reply,
) -> Outcome {
    if record.recent_sessions.contains(&owner.session) {
        return Outcome::Stale;
    }
    if record.owner.as_ref() == Some(owner) {
        // The same claim again. Once the session has gone on, nobody waits for it any more.
        return if record.n == 1 { again(record, context) } else { Outcome::Silence };
    }
    // A holder of an epoch that the newcomer's gateway has left behind is out of date.
    if let Some(holder) = record.owner.as_ref().filter(|_| record.epoch >= floor) {
        match rival {
            Rival::Gone(epoch) if epoch == record.epoch => {}
            Rival::Alive(epoch) if epoch == record.epoch => return duplicate(record, context),
            _ => return Outcome::Contested { owner: holder.clone(), epoch: record.epoch },
        }
    }
    release(record);
    record.epoch = record.epoch.max(floor).saturating_add(1);
    record.n = 1;
    record.polls = false;
    record.owner = Some(owner.clone());
    record.last_gateway = Some(owner.gateway.clone());
    // What was asked in vain of an earlier session may be asked of this one.
    record.full_state.asked = 0;
    let epoch = record.epoch;
    Outcome::Reply(tell(record, epoch))
}

/// Two live agents use one uid: the newcomer is given another. One that does not adopt it is
/// acknowledged and nothing more, so that the two do not take the record from each other for ever.
fn duplicate(record: &mut AgentRecord, context: &Context<'_>) -> Outcome {
    let seen = &mut record.duplicate;
    if context.now.millis_since(seen.last) > DUPLICATE_MEMORY_MS {
        seen.told = 0;
    }
    if seen.told >= DUPLICATE_TOLD_MAX {
        return Outcome::Reply(Reply::default());
    }
    seen.told += 1;
    seen.last = context.now;
    Outcome::Reply(identification(context.fresh_uid))
}

/// A session that holds `epoch` reports for the `n`th time. If the agent was taken from it for
/// being silent, and by nobody else since, it is the owner again.
pub(super) fn report(
    record: &mut AgentRecord,
    owner: &Owner,
    (epoch, n): (u64, u64),
    context: &Context<'_>,
    tell: impl FnOnce(&mut AgentRecord) -> Reply,
) -> Outcome {
    let anothers = record.owner.as_ref().is_some_and(|holder| holder != owner);
    if epoch != record.epoch || anothers {
        return Outcome::Stale;
    }
    if n <= record.n {
        return if n == record.n { again(record, context) } else { Outcome::Silence };
    }
    if !may_hold(record, owner) {
        return Outcome::Stale;
    }
    record.n = n;
    record.polls = false;
    record.owner = Some(owner.clone());
    record.reaped = None;
    Outcome::Reply(tell(record))
}

/// Whether a session is the one that holds the agent, or was when its gateway was taken for dead.
/// Its epoch alone does not say so: after records were lost, one that was given out may be given
/// out again.
fn may_hold(record: &AgentRecord, owner: &Owner) -> bool {
    match &record.owner {
        Some(holder) => holder == owner,
        None => record.reaped == Some(owner.session),
    }
}

/// A session that holds `epoch` is still there. If the agent was taken from it for being silent,
/// and by nobody else since, it is the owner again.
pub(super) fn resume(
    record: &mut AgentRecord,
    owner: &Owner,
    epoch: u64,
    answered: Option<u64>,
    tell: impl FnOnce(&mut AgentRecord) -> Reply,
) -> Outcome {
    if epoch != record.epoch || !may_hold(record, owner) {
        return Outcome::Stale;
    }
    // Presence tells the number of one that was never let go: most need no write.
    if record.owner.as_ref() != Some(owner) {
        record.owner = Some(owner.clone());
        record.reaped = None;
        record.sequence_num = record.sequence_num.max(answered);
    }
    Outcome::Reply(tell(record))
}

/// A gateway is not heard any more. Its session is not forgotten for good: it may only have slept.
pub(super) fn reap(record: &mut AgentRecord, gateway: &GatewayId, epoch: u64) {
    let is_its = record.owner.as_ref().is_some_and(|owner| owner.gateway == *gateway);
    if is_its && epoch == record.epoch {
        record.reaped = record.owner.take().map(|owner| owner.session);
    }
}

/// The reply to the report that was taken last, which comes again: the record says what it was. An
/// offer that cannot be in it this time has not gone out.
fn again(record: &mut AgentRecord, context: &Context<'_>) -> Outcome {
    let asked = u64::from(record.full_state.wanted) * ServerToAgentFlags::ReportFullState as u64;
    let offers = offer::again(record, context);
    Outcome::Reply(Reply {
        epoch: record.epoch,
        flags: asked | components::again(record),
        offers,
        ..Reply::default()
    })
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
    let reaped = record.reaped.take();
    let Some(session) = record.owner.take().map(|owner| owner.session).or(reaped) else {
        return;
    };
    record.recent_sessions.push(session);
    let excess = record.recent_sessions.len().saturating_sub(RECENT_SESSIONS_MAX);
    record.recent_sessions.drain(..excess);
}
