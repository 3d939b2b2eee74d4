//! One task for the deadlines of all connections, in place of timers on each.

use std::sync::Arc;

use opamp::ws::close_code;
use tokio::time::{MissedTickBehavior, interval};

use crate::connection::Connection;
use crate::shared::Shared;
use crate::vitals::Verdict;
use crate::ws::Frame;

/// Looks at every connection's vitals, for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(shared.limits.sweep_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut outboxes = Outboxes::default();
        let look = |connection: &_| {
            outboxes.add(connection);
            look(&shared, connection);
        };
        shared.connections.each(look).await;
        outboxes.show();
        shared.trace.sweep(shared.uptime_ms());
    }
}

/// What waits for peers that are behind.
#[derive(Debug, Default)]
struct Outboxes {
    bytes: usize,
    largest: usize,
}

impl Outboxes {
    fn add(&mut self, connection: &Connection) {
        if connection.vitals.is_writing() {
            let bytes = connection.outbox.bytes();
            self.bytes += bytes;
            self.largest = self.largest.max(bytes);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes in memory are below 2^52")]
    fn show(&self) {
        metrics::gauge!("muster_gateway_outbox_bytes").set(self.bytes as f64);
        metrics::gauge!("muster_gateway_outbox_largest_bytes").set(self.largest as f64);
    }
}

fn look(shared: &Shared, connection: &Connection) {
    match connection.vitals.judge(shared.uptime_ms(), &shared.limits) {
        Verdict::Fine => {}
        Verdict::Ping => {
            // A connection that closes is not pinged.
            let _ = connection.send(Frame::ping(shared.next_number()), usize::MAX);
        }
        Verdict::Hurry => connection.hurry(),
        Verdict::Expel => connection.close(close_code::POLICY),
        Verdict::Cut(reason) => {
            tracing::debug!(peer = %connection.peer, reason, "connection cut");
            metrics::counter!("muster_gateway_cut_total", "reason" => reason).increment(1);
            connection.cut();
        }
    }
}
