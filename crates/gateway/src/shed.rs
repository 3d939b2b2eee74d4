//! Giving connections away: control says how many more there are here than elsewhere, and they are
//! closed one by one, so that their agents come back through the load balancer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::v1::{Shed, ShedReply};
use opamp::ws::close_code;
use tokio::time::sleep;

use crate::shared::Shared;

/// Begins to close connections, unless some are being closed already.
pub(crate) fn begin(shared: &Arc<Shared>, ask: &Shed) -> ShedReply {
    let busy = shared.draining.load(Ordering::Relaxed);
    if ask.connections == 0 || busy || shared.shedding.swap(true, Ordering::Relaxed) {
        return ShedReply { connections: 0 };
    }
    let most = shared.limits.shed_over_max;
    let over = Duration::from_millis(ask.over_ms.into()).min(most);
    let (connections, task) = (ask.connections, shared.clone());
    tracing::info!(connections, ?over, "gives connections away");
    shared.spawn(async move { shed(&task, connections, over).await });
    ShedReply { connections }
}

/// The oldest first: whoever came back here is not sent away again at once.
async fn shed(shared: &Shared, connections: u32, over: Duration) {
    let pause = over / connections.max(1);
    let mut after = 0;
    for _ in 0..connections {
        let Some(connection) = shared.connections.page(after, 1).pop() else { break };
        after = connection.number;
        connection.close(close_code::GOING_AWAY);
        metrics::counter!("muster_gateway_shed_total").increment(1);
        // Between half and once and a half of the pause.
        sleep(shared.jittered(pause / 2).min(pause + pause / 2)).await;
    }
    shared.shedding.store(false, Ordering::Relaxed);
}
