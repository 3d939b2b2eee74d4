//! I6: a pushed offer is noted as delivered only after a gateway flushed it to the agent's socket.

use super::{Violation, violation};
use crate::history::{Commit, History};

pub(super) fn decide(history: &History) -> Vec<Violation> {
    let untrue = |commit: &&Commit| commit.pushed == Some(false);
    let name = |commit: &Commit| {
        let (at, by, uid) = (commit.at, &commit.by, &commit.uid);
        violation("I6", format!("{by} noted a push to {uid} at {at} that no socket took"))
    };
    history.commits.iter().filter(untrue).map(name).collect()
}
