//! I3: no command reaches an agent twice. One that says which command it is must not come again;
//! restarts look all alike, so that there may be as many of them as were asked for.

use std::collections::BTreeMap;

use opamp::InstanceUid;

use super::{Violation, violation};
use crate::history::{History, What, Word};

/// How often each agent was told what.
pub(super) fn told(history: &History) -> BTreeMap<(InstanceUid, Word), u64> {
    let mut told = BTreeMap::new();
    for act in &history.acts {
        if let What::Told { uid, what } = &act.what {
            *told.entry((*uid, *what)).or_default() += 1;
        }
    }
    told
}

pub(super) fn decide(history: &History) -> Vec<Violation> {
    let restarts = |uid: &InstanceUid| {
        let given = history.tells.iter().filter(|tell| tell.what == Word::Restart);
        given.filter(|tell| tell.agents.contains(uid)).count() as u64
    };
    let told = told(history);
    let twice = told.iter().filter_map(|((uid, word), times)| {
        let most = match word {
            Word::Refresh => return None,
            Word::Number(_) => 1,
            Word::Restart => restarts(uid),
        };
        let what = || format!("{uid} was told {word:?} {times} times, {most} at most");
        (*times > most).then(|| violation("I3", what()))
    });
    twice.collect()
}
