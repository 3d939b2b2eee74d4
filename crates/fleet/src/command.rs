//! Commands that are handed over to an agent's record, where they wait for its next poll.

use std::sync::Arc;

use bus::Received;
use bus::v1::{Handover, HandoverReply, handover_reply::Outcome as Answer};
use model::Timestamp;
use model::command::CommandId;
use model::session::{Handed, Outcome};
use opamp::InstanceUid;

use crate::Error;
use crate::engine::{Done, Engine};
use crate::job::{Job, What};

/// Control hands a command over, or takes it back.
pub(crate) async fn hand_over(engine: Arc<Engine>, received: Received<Handover>) {
    if received.expired() {
        return;
    }
    let deadline = received.deadline;
    let (ask, responder) = received.split();
    let uid = InstanceUid::try_from(&ask.instance_uid[..]);
    let (Ok(uid), Some(id)) = (uid, CommandId::from_slice(&ask.command_id)) else { return };
    let what = What::Command {
        id,
        message: ask.message.to_vec(),
        not_after: Timestamp(ask.not_after_unix_ms),
        withdraw: ask.withdraw,
        since: Timestamp(ask.since_unix_ms),
    };
    let applied = engine.apply(&[Job { uid, what, deadline }]).await;
    let outcome = applied.results.first().map_or(Answer::Unspecified, answer);
    responder.send(&HandoverReply { outcome: outcome.into() }).await;
    applied.announcement.settle(&engine.bus, &*engine.records).await;
}

fn answer(result: &Result<Done, Error>) -> Answer {
    match result.as_ref().map(|done| &done.outcome) {
        Ok(Outcome::Handed(Handed::Taken)) => Answer::Taken,
        Ok(Outcome::Handed(Handed::NotPolling)) => Answer::NotPolling,
        Ok(Outcome::Handed(Handed::Full)) => Answer::Full,
        Ok(Outcome::Handed(Handed::Withdrawn)) => Answer::Withdrawn,
        Ok(_) | Err(_) => Answer::Unspecified,
    }
}
