//! I8: whatever happens elsewhere, a gateway to which nothing was done throws nobody out.

use super::{Violation, violation};
use crate::history::{Act, History, What};

pub(super) fn decide(history: &History) -> Vec<Violation> {
    let dropped = |act: &Act| match &act.what {
        What::Dropped { gateway, reason } => {
            let (agent, at) = (act.agent, act.at);
            Some(violation("I8", format!("{gateway} dropped agent {agent} at {at}: {reason}")))
        }
        _ => None,
    };
    history.acts.iter().filter_map(dropped).collect()
}
