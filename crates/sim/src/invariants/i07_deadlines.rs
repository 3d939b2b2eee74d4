//! I7, for what can be seen of it here: no operator waits for an answer longer than was promised.

use super::{Violation, violation};
use crate::history::{History, Order};

/// What a call may take, in milliseconds: reads and writes of the ledger with their deadlines, and
/// some tries against others.
const CALL_MS_MAX: u64 = 20_000;

pub(super) fn decide(history: &History) -> Vec<Violation> {
    // One that reached a control which then died or slept is not control's doing.
    let late = |order: &&Order| order.done.is_some() && order.took_ms > CALL_MS_MAX;
    let name = |order: &Order| {
        violation("I7", format!("{:?} took {} ms at {}", order.wish, order.took_ms, order.at))
    };
    history.orders.iter().filter(late).map(name).collect()
}
