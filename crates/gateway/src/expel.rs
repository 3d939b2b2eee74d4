//! Closing what was opened by tokens and credentials that are good no more.

use std::sync::Arc;

use opamp::ws::close_code;

use crate::connection::Connection;
use crate::shared::Shared;

/// Looks at every connection whenever other tokens count, for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut door = shared.door.clone();
    loop {
        door.until_tokens_change().await;
        let mut expelled = 0_usize;
        let look = |connection: &_| expelled += usize::from(expelled_from(&shared, connection));
        shared.connections.each(look).await;
        tracing::info!(connections = expelled, "other tokens count: those of the old ones close");
    }
}

/// Closes a connection if what it came in by is good no more. Says whether it did.
pub(crate) fn expelled_from(shared: &Shared, connection: &Connection) -> bool {
    let ends = match (&shared.roll, &connection.pass) {
        (Some(roll), Some(pass)) => roll.ends(shared, pass),
        _ => {
            let good = shared.door.admits_still(connection.holder.as_deref());
            (!good).then_some(close_code::POLICY)
        }
    };
    let Some(code) = ends else { return false };
    metrics::counter!("muster_gateway_expelled_total").increment(1);
    connection.close(code);
    // Who took the token out does not want to wait for replies.
    connection.hurry();
    true
}
