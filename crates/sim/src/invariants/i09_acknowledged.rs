//! I9: an agent's state is acknowledged only after it is stored, and no presence says more than the
//! agent has said.

use std::collections::BTreeMap;

use opamp::InstanceUid;

use super::{Violation, violation};
use crate::history::{Answer, History, What};

/// For how long after records were lost an answer may be about what is gone, in milliseconds.
const LOSS_MS: u64 = 60_000;

/// Answers of one batch are not further apart, in milliseconds.
const BATCH_MS: u64 = 500;

pub(super) fn decide(history: &History) -> Vec<Violation> {
    let mut found: Vec<Violation> =
        history.answers.iter().filter_map(|answer| unstored(answer, history)).collect();
    found.extend(ahead(history));
    found
}

fn unstored(answer: &Answer, history: &History) -> Option<Violation> {
    let lost = |loss: &u64| *loss <= answer.at && answer.at - loss < LOSS_MS;
    // A goodbye's parts are nobody's business any more.
    if answer.message.agent_disconnect.is_some() || history.losses.iter().any(lost) {
        return None;
    }
    let what = match &answer.stored {
        None => "no record".to_owned(),
        Some(record) => {
            let (said, reported) = (&answer.message, &record.reported);
            let moved_on = (record.epoch, record.n) > (answer.epoch, answer.n)
                || record.sequence_num > Some(said.sequence_num)
                || is_overtaken(answer, history)
                // The server knows that it does not know, and asks.
                || (answer.epoch == 0 && record.full_state.wanted);
            let kept = (said.health.is_none() || said.health == reported.health)
                && (said.remote_config_status.is_none()
                    || said.remote_config_status == reported.remote_config_status)
                && (said.effective_config.is_none()
                    || said.effective_config == reported.effective_config);
            if kept || moved_on {
                return None;
            }
            format!(
                "epoch {}, report {}, number {:?} where {} was said: {:?} for {:?}",
                record.epoch,
                record.n,
                record.sequence_num,
                said.sequence_num,
                reported.health.as_ref().map(|health| &health.status),
                said.health.as_ref().map(|health| &health.status),
            )
        }
    };
    let (at, uid, epoch, n) = (answer.at, answer.uid, answer.epoch, answer.n);
    let what = format!("{uid}: report {n} of epoch {epoch} accepted at {at}, stored is {what}");
    Some(violation("I9", what))
}

/// A poll that was worked on after a later one of its agent: what the later one said stays.
fn is_overtaken(answer: &Answer, history: &History) -> bool {
    let later = |other: &&Answer| {
        other.uid == answer.uid
            && other.at.abs_diff(answer.at) < BATCH_MS
            && other.message.sequence_num > answer.message.sequence_num
    };
    answer.epoch == 0 && history.answers.iter().any(|other| later(&other))
}

/// Presence with a number that its agent had not used by then.
fn ahead(history: &History) -> Vec<Violation> {
    let mut sent: BTreeMap<InstanceUid, Vec<(u64, u64)>> = BTreeMap::new();
    for act in &history.acts {
        if let What::Sent { uid, sequence_num } = &act.what {
            sent.entry(*uid).or_default().push((act.at, *sequence_num));
        }
    }
    let mut found = Vec::new();
    for (at, presence) in &history.presence {
        let Some(numbers) = sent.get(&presence.instance_uid) else { continue };
        let newest = numbers.iter().filter(|(when, _)| when <= at).map(|(_, number)| *number).max();
        if Some(presence.sequence_num) > newest {
            let (uid, number) = (presence.instance_uid, presence.sequence_num);
            let what = format!("{uid}: presence {number} at {at}, the agent was at {newest:?}");
            found.push(violation("I9", what));
        }
    }
    found
}
