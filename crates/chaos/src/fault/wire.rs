//! Toxics on the proxies.

use std::time::Duration;

use proxy::{Direction, Proxy, Toxics};
use services::{Edge, Service};

use super::{Heal, Injected};
use crate::campaign::Campaign;
use crate::draw::Draw;
use crate::scenario::{Edges, Role, Toxic};

/// Delays, in milliseconds.
const LATENCY_MS: u64 = 300;
const JITTER_MS: u64 = 400;
/// 64 kbit a second, in bytes.
const BANDWIDTH: u64 = 8_000;
/// Bytes after which a connection is reset.
const LIMIT_BYTES: u64 = 3_000;
/// Bytes written at once.
const SLICE: usize = 7;
/// Bytes of which one has a bit flipped.
const CORRUPT_ONE_IN: u64 = 2_000;

impl Campaign {
    pub(super) fn poison(
        &mut self,
        into: &mut Injected,
        edges: Edges,
        toxic: Toxic,
        lots: &mut Draw,
    ) {
        if edges == Edges::AgentGateway {
            let number = lots.below(self.rig.doors.len());
            into.told.push(format!("door {number}"));
            into.touched.doors.insert(number);
            into.touched.records |= toxic == Toxic::Corrupt;
            into.heals.push(Heal::Door(number, toxic == Toxic::Corrupt));
            apply(&self.rig.doors[number], toxic);
            return;
        }
        let slow = [Toxic::Latency, Toxic::Jitter, Toxic::Bandwidth, Toxic::Slice].contains(&toxic);
        let control = [Edges::ControlNats, Edges::ControlRecords, Edges::ControlLedger];
        // What is slow is not away: each step may take its time.
        into.touched.control |= slow && control.contains(&edges);
        let hit = self.hit(edges, lots);
        into.told.extend(hit.first().map(ToString::to_string));
        for edge in hit {
            apply(&self.rig.edges[&edge], toxic);
            into.heals.push(Heal::Edge(edge));
        }
    }

    /// One NATS server hears no other and is heard by none.
    pub(super) fn cut_off(&mut self, into: &mut Injected, lots: &mut Draw) {
        let hit = self.hit(Edges::NatsNats, lots);
        into.told.extend(hit.first().map(ToString::to_string));
        for edge in hit {
            apply(&self.rig.edges[&edge], Toxic::Blackhole);
            into.heals.push(Heal::Edge(edge));
        }
    }

    /// The edges of one process.
    fn hit(&self, edges: Edges, lots: &mut Draw) -> Vec<Edge> {
        let (role, name) = match edges {
            Edges::AgentGateway | Edges::GatewayNats => (Role::Gateway, "gateway"),
            Edges::WorkerNats | Edges::WorkerRecords | Edges::WorkerLedger => {
                (Role::Worker, "worker")
            }
            Edges::ControlNats | Edges::ControlRecords | Edges::ControlLedger => {
                (Role::Control, "control")
            }
            Edges::NatsNats => (Role::Nats, "nats"),
        };
        let number = lots.below(self.rig.count(role));
        let from = format!("{name}-{number}");
        let leads = |edge: &&Edge| match (edges, edge.to) {
            (Edges::NatsNats, Service::Route(to)) => edge.from == from || to == number,
            (Edges::GatewayNats | Edges::WorkerNats | Edges::ControlNats, Service::Nats(_))
            | (Edges::WorkerRecords | Edges::ControlRecords, Service::Records)
            | (Edges::WorkerLedger | Edges::ControlLedger, Service::Ledger) => edge.from == from,
            _ => false,
        };
        self.rig.edges.keys().filter(leads).cloned().collect()
    }

    /// Agents that come through a door connect anew and say everything once more.
    pub(super) fn say_again(&mut self, door: usize) {
        self.rig.doors[door].reset();
        let doors = self.rig.doors.len();
        for member in self.crowd.members.iter().skip(door).step_by(doors) {
            member.repeat();
        }
    }
}

fn apply(proxy: &Proxy, toxic: Toxic) {
    let none = Toxics::default();
    let both = |toxics: Toxics| Direction::BOTH.map(|direction| proxy.set(direction, toxics));
    match toxic {
        Toxic::Latency => {
            both(Toxics { latency: Duration::from_millis(LATENCY_MS), ..none });
        }
        Toxic::Jitter => {
            both(Toxics { jitter: Duration::from_millis(JITTER_MS), ..none });
        }
        Toxic::Bandwidth => {
            both(Toxics { bytes_per_second: BANDWIDTH, ..none });
        }
        Toxic::Blackhole => {
            both(Toxics { blackhole: true, ..none });
        }
        Toxic::BlackholeUp => proxy.set(Direction::Up, Toxics { blackhole: true, ..none }),
        Toxic::BlackholeDown => proxy.set(Direction::Down, Toxics { blackhole: true, ..none }),
        Toxic::Reset => proxy.reset(),
        Toxic::HalfCloseUp => proxy.half_close(Direction::Up),
        Toxic::HalfCloseDown => proxy.half_close(Direction::Down),
        Toxic::Slice => {
            both(Toxics { slice: SLICE, ..none });
        }
        Toxic::LimitBytes => {
            both(Toxics { limit_bytes: Some(LIMIT_BYTES), ..none });
        }
        Toxic::Refuse => {
            proxy.refuse(true);
            proxy.reset();
        }
        Toxic::Corrupt => {
            proxy.set(Direction::Up, Toxics { corrupt_one_in: CORRUPT_ONE_IN, ..none });
        }
    }
}
