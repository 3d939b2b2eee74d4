//! I4: a write of a stale owner is refused. In the store's own order, an agent's epoch never goes
//! back, an epoch belongs to one session for all time, and a session's reports count upwards.

use std::collections::BTreeMap;

use model::SessionId;
use opamp::InstanceUid;

use super::{Violation, violation};
use crate::history::{Commit, History};

#[derive(Default)]
struct Past {
    epoch: u64,
    n: u64,
    owner: Option<SessionId>,
    since: u64,
}

pub(super) fn decide(history: &History) -> Vec<Violation> {
    let mut pasts: BTreeMap<InstanceUid, Past> = BTreeMap::new();
    let mut found = Vec::new();
    for commit in &history.commits {
        let past = pasts.entry(commit.uid).or_default();
        // Lost records are made anew from what sessions know.
        if history.losses.iter().any(|loss| (past.since..=commit.at).contains(loss)) {
            *past = Past { since: commit.at, ..Past::default() };
        }
        if let Some(what) = check(past, commit) {
            let (at, by, uid) = (commit.at, &commit.by, &commit.uid);
            found.push(violation("I4", format!("{by} wrote {uid} at {at}: {what}")));
        }
    }
    found
}

fn check(past: &mut Past, commit: &Commit) -> Option<String> {
    let Some(record) = &commit.record else {
        *past = Past::default();
        return None;
    };
    let (epoch, n) = (record.epoch, record.n);
    let owner = record.owner.as_ref().map(|owner| owner.session);
    let before = (past.epoch, past.n, past.owner);
    if epoch > past.epoch {
        past.owner = None;
    }
    past.epoch = epoch;
    past.n = n;
    past.since = commit.at;
    past.owner = past.owner.or(owner);
    if (epoch, n) < (before.0, before.1) {
        return Some(format!("epoch and report went from {:?} to {:?}", before, (epoch, n)));
    }
    let same = owner.is_none() || past.owner == owner;
    (!same).then(|| format!("epoch {epoch} has a second session"))
}
