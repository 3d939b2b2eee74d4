//! What an idle connection costs.

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
