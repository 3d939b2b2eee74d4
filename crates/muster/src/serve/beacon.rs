//! What this process says of itself every few seconds, so that `muster status` can show it. A sign
//! of life and no more: nothing is decided by it.

use std::sync::Arc;

use bus::v1::Status;
use bus::v1::status::Role;
use bus::{Client, Subject};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::ops::Readiness;

/// A process that makes itself known.
#[derive(Debug)]
pub(super) struct Beacon {
    pub(super) bus: Client,
    pub(super) readiness: Arc<Readiness>,
    /// What stays the same: who it is.
    pub(super) identity: Status,
}

impl Beacon {
    /// Speaks until told to stop, and then says goodbye.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(limits::STATUS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let speak = async {
            let mut drains = false;
            loop {
                tokio::select! {
                    biased;
                    // At once: a drain may be over before the next tick, and whoever evens out
                    // gateways would take this one for an empty one to be filled.
                    () = self.readiness.begins_to_end(), if !drains => drains = true,
                    _ = ticks.tick() => {}
                }
                self.say(self.status()).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = speak => unreachable!("a beacon has no end of its own"),
        }
        self.say(Status { ended: true, ..self.status() }).await;
        // An answer means that the bus has what was sent before; an end might overtake it.
        let _ = timeout(limits::STATUS_PUBLISH, self.bus.tail()).await;
        Ok(())
    }

    fn status(&self) -> Status {
        let draining = self.readiness.draining();
        let role = |(name, ready): (&'static str, bool)| Role {
            name: name.to_owned(),
            ready: ready && !draining,
            reason: reason(name, ready, draining).to_owned(),
        };
        let roles = self.readiness.roles().into_iter().map(role).collect();
        Status { roles, draining, ..self.identity.clone() }
    }

    async fn say(&self, status: Status) {
        let publish = self.bus.publish(&Subject::Status, &status);
        match timeout(limits::STATUS_PUBLISH, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "own status not published"),
            Err(_) => tracing::debug!("own status not published in time"),
        }
    }
}

/// Why a role does not do its work now.
fn reason(role: &str, ready: bool, draining: bool) -> &'static str {
    match role {
        _ if draining => "draining",
        _ if ready => "",
        "gateway" => "does not hear the bus",
        "control" => "still reads the fleet",
        _ => "a store or the bus does not answer",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::seams::Seams;
    use super::*;
    use crate::ops::Probe;

    async fn client(name: &str, bus: &Arc<bus::InProcess>) -> Client {
        let clock = Seams::of_this_machine().clock;
        Client::new(bus.clone(), "test", name, clock).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_what_it_waits_for_and_goodbye() {
        let bus = Arc::new(bus::InProcess::default());
        let mut heard =
            client("listener", &bus).await.subscribe::<Status>(&Subject::Status, 8).await.unwrap();
        let probes: Vec<(_, Probe)> =
            vec![("gateway", Box::new(|| true)), ("control", Box::new(|| false))];
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let identity = Status { process_id: "p".to_owned(), ..Status::default() };
        let readiness = Arc::new(Readiness::new(probes, draining.clone()));
        let beacon = Beacon { bus: client("p", &bus).await, readiness, identity };
        let mut running = tokio::task::JoinSet::new();
        running.spawn(beacon.run(stop.clone()));

        let said = heard.next().await.unwrap().body;
        let roles: Vec<_> =
            said.roles.iter().map(|role| (&role.name[..], role.ready, &role.reason[..])).collect();
        let waits = ("control", false, "still reads the fleet");
        assert_eq!((said.process_id.as_str(), roles), ("p", vec![("gateway", true, ""), waits]));
        let begun = Instant::now();
        draining.cancel();
        let said = heard.next().await.unwrap().body;
        assert_eq!(begun.elapsed(), Duration::ZERO, "it waited for its next tick");
        assert!(said.draining && !said.ended && said.roles[0].reason == "draining");
        stop.cancel();
        assert!(heard.next().await.unwrap().body.ended);
        running.join_next().await.unwrap().unwrap().unwrap();
    }
}
