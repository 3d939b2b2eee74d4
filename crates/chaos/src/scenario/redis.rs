//! What can become of a Redis that goes on running.

use super::{Act, Scenario};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Records,
    Ledger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedisFault {
    /// It works on one command for a while.
    Sleep,
    /// It takes commands and answers later.
    Pause,
    /// It is a replica of nobody: READONLY.
    ReadOnly,
    /// It is full: OOM.
    Full,
    /// It runs a script: BUSY.
    Busy,
    /// It hangs up on everybody.
    HangUp,
    /// It has forgotten everything.
    Flush,
    /// One value is not what was written.
    Garble,
}

/// id, what, how it heals, fault, for both of them or for the records alone.
const TABLE: &[(&str, &str, &str, RedisFault, bool)] = &[
    ("sleep", "works on one command", "by itself", RedisFault::Sleep, true),
    ("pause", "answers later", "answers again", RedisFault::Pause, true),
    ("read-only", "is made a replica", "is made a master", RedisFault::ReadOnly, true),
    ("full", "has no memory left", "has memory", RedisFault::Full, true),
    ("busy", "runs a script without end", "the script is killed", RedisFault::Busy, true),
    ("hang-up", "ends every connection", "by itself", RedisFault::HangUp, true),
    ("flush", "forgets everything", "rebuilt by the agents", RedisFault::Flush, false),
    ("garble", "holds bytes nobody wrote", "rebuilt by the agent", RedisFault::Garble, false),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (id, what, heals, fault, both) in TABLE {
        for (name, which) in [("records", Which::Records), ("ledger", Which::Ledger)] {
            if which == Which::Ledger && !both {
                continue;
            }
            all.push(Scenario {
                id: format!("redis/{name}-{id}"),
                what,
                heals,
                act: Act::Redis(which, *fault),
                smoke: false,
                waits_for: None,
            });
        }
    }
    all
}
