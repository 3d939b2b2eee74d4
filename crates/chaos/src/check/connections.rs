//! I8: whom a fault does not touch stays connected.

use std::collections::BTreeMap;

use control::v1::Agent;
use services::Muster;
use tokio::task::block_in_place;

use super::Touched;
use super::records::by_name;
use crate::campaign::Campaign;
use crate::story::{Violation, violation};

/// Agents that were given away just before that was counted, and came back just after.
const GIVEN_BEFORE: f64 = 3.0;

impl Campaign {
    /// Remembers who is connected where, before a fault.
    pub(crate) async fn remember_connections(&mut self) {
        let gateways = self.apis[0].gateways().await.outcome.unwrap_or_default().gateways;
        let numbers: BTreeMap<String, usize> = gateways
            .into_iter()
            .filter_map(|one| Some((one.gateway_id, self.rig.gateway_at(&one.address)?)))
            .collect();
        self.memory.shed = self.shed();
        let fleet: BTreeMap<String, Agent> = by_name(self.fleet().await.unwrap_or_default().1);
        for (index, member) in self.crowd.members.iter().enumerate() {
            let agent = fleet.get(&member.name);
            // A gateway that is back under its name may still be said to hold whom it held.
            let agent = agent.filter(|_| !member.handle.is_away());
            self.memory.at[index] = agent.and_then(|agent| numbers.get(&agent.gateway_id).copied());
            self.memory.connections[index] = member.handle.see(|agent| agent.ledger.connections);
        }
    }

    pub(super) fn untouched_stayed(&self, touched: &Touched) -> Result<(), Violation> {
        // A gateway that holds more than its share gives some away, slowly: they are not lost.
        let shed = self.shed();
        let mut lost: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (index, member) in self.crowd.members.iter().enumerate() {
            let Some(at) = self.memory.at[index] else { continue };
            let door = index % self.rig.doors.len();
            if touched.gateways.contains(&at) || touched.doors.contains(&door) {
                continue;
            }
            let before = self.memory.connections[index];
            if member.handle.see(|agent| agent.ledger.connections) > before {
                lost.entry(at).or_default().push(&member.name);
            }
        }
        for (at, names) in lost {
            let given = shed[at] - self.memory.shed.get(at).copied().unwrap_or_default();
            let before = if given > 0.0 { GIVEN_BEFORE } else { 0.0 };
            if names.len() as f64 > given + before {
                let found = format!(
                    "{} agents at gateway {at} lost their connections, which the fault does not \
                     touch; it gave away {given}; {}",
                    names.len(),
                    names[0]
                );
                return Err(violation("I8", found));
            }
        }
        Ok(())
    }

    fn shed(&self) -> Vec<f64> {
        let count = |gateway: &Muster| {
            gateway.metrics().map_or(0.0, |metrics| metrics.sum("muster_gateway_shed_total"))
        };
        block_in_place(|| self.rig.cluster.gateways.iter().map(count).collect())
    }
}
