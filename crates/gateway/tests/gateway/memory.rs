//! What an idle connection costs, and what a heartbeat allocates.

use std::time::Duration;

use gateway::Rate;
use tokio::runtime::Builder;

use crate::agent::{Agent, heartbeat};
use crate::field::Field;

/// Other tests of this process allocate meanwhile, so the middle one of some rounds counts.
const ROUNDS: u8 = 5;
const CONNECTIONS: u8 = 50;
/// Both ends of a connection are in this process, unoptimised, and the allocator rounds up. A
/// read buffer kept per connection would show.
const BYTES_MAX: usize = 8 << 10;

/// Resident memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let field = Field::start().await;
    let mut agents = Vec::with_capacity(usize::from(ROUNDS) * usize::from(CONNECTIONS));
    let mut costs = Vec::new();
    for round in 0..ROUNDS {
        let before = resident();
        for number in 0..CONNECTIONS {
            let number = round * CONNECTIONS + number;
            let mut agent = Agent::claimed(field.address, number).await;
            agent.say(&heartbeat(number, 1)).await;
            agents.push(agent);
        }
        costs.push(resident().saturating_sub(before) / usize::from(CONNECTIONS));
    }
    costs.sort_unstable();
    let cost = costs[costs.len() / 2];
    println!("{cost} bytes per connection, both ends");
    assert!(cost <= BYTES_MAX, "{cost} bytes per connection: {costs:?}");
}

/// Allocations of both ends over some heartbeats, all on this thread, with a ring of so many bytes.
fn allocations(trace_ring_bytes: usize) -> u64 {
    const WARM: u64 = 100;
    const COUNTED: u64 = 1_000;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (_field, mut agent) = runtime.block_on(async {
        let field = Field::with(|limits| {
            limits.trace_ring_bytes = trace_ring_bytes;
            limits.messages = Rate { per_second: 1_000_000, burst: 1_000_000 };
            // Nothing but heartbeats is to be counted.
            limits.sweep_interval = Duration::from_secs(3_600);
            limits.presence_interval = Duration::from_secs(3_600);
            limits.doubt_interval = Duration::from_secs(3_600);
        })
        .await;
        let mut agent = Agent::claimed(field.address, 1).await;
        for number in 1..=WARM {
            agent.say(&heartbeat(1, number)).await;
        }
        (field, agent)
    });
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            for number in WARM + 1..=WARM + COUNTED {
                agent.say(&heartbeat(1, number)).await;
            }
        });
    });
    counted.count_total
}

#[test]
fn remembering_a_heartbeat_allocates_nothing() {
    let (without, with) = (allocations(0), allocations(4 << 20));
    println!("{without} allocations for 1,000 heartbeats at both ends, {with} with the ring");
    assert_eq!(without, with);
}
