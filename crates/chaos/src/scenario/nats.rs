//! What can become of NATS servers beyond their death.

use super::{Act, Scenario};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NatsFault {
    /// One sends its clients away and ends.
    LameDuck,
    /// One does not hear the others, nor they it.
    Partition,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |id: &str, what, heals, fault| Scenario {
        id: format!("nats/{id}"),
        what,
        heals,
        act: Act::Nats(fault),
        smoke: false,
        waits_for: None,
    };
    vec![
        scenario(
            "lame-duck",
            "a NATS server sends its clients away",
            "started again",
            NatsFault::LameDuck,
        ),
        scenario(
            "partition",
            "a NATS server is cut off from the others",
            "they hear each other again",
            NatsFault::Partition,
        ),
    ]
}
