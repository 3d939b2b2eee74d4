//! The end of a gateway: its agents are sent elsewhere in small batches, and the workers learn
//! the last number answered of each, so that nobody is asked for a full report.

use std::sync::atomic::Ordering;
use std::time::Duration;

use opamp::ws::close_code;
use tokio::time::{Instant, sleep, timeout_at};

use crate::shared::Shared;

/// Connections closed at once, at least.
const BATCH_MIN: usize = 64;
/// Pause between batches, at least; up to half as much more is drawn.
const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// For what is left after the connections: cut tasks, closes, presence.
const REST_SHARE: u32 = 5;

/// Closes every connection and waits for their ends, until `deadline` at the latest.
pub(crate) async fn close_connections(shared: &Shared, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let close_by = deadline - left / REST_SHARE;
    // Half of the time for the batches, so that the last ones have the other half.
    let steps = (left / 2).as_millis() / (BATCH_PAUSE * 3 / 2).as_millis() + 1;
    let steps = usize::try_from(steps).unwrap_or(usize::MAX);
    let batch = shared.connections.len().div_ceil(steps).max(BATCH_MIN);
    let mut after = 0;
    loop {
        let page = shared.connections.page(after, batch);
        let Some(last) = page.last() else { break };
        after = last.number;
        page.iter().for_each(|connection| connection.close(close_code::GOING_AWAY));
        if page.len() == batch {
            sleep(BATCH_PAUSE / 2 + shared.jittered(BATCH_PAUSE / 2)).await;
        }
    }
    shared.tasks.close();
    if timeout_at(close_by, shared.tasks.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(connections = shared.connections.len(), "connections cut at the deadline");
    let mut after = 0;
    while let Some(last) = cut_page(shared, after) {
        after = last;
    }
    shared.kill.cancel();
    // What does not end now is dropped with its owner.
    let _ = timeout_at(deadline, shared.tasks.wait()).await;
}

fn cut_page(shared: &Shared, after: u64) -> Option<u64> {
    let page = shared.connections.page(after, BATCH_MIN);
    page.iter().for_each(|connection| connection.cut());
    page.last().map(|last| last.number)
}

/// From now on the gateway is not ready, and no handshake is answered.
pub(crate) fn begin(shared: &Shared) -> Instant {
    shared.draining.store(true, Ordering::Relaxed);
    Instant::now() + shared.limits.drain_deadline
}
