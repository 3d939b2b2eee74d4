//! What an idle connection costs.

use crate::agent::{Agent, heartbeat};
use crate::field::Field;

const CONNECTIONS: u8 = 250;
/// Both ends of a connection are in this process, unoptimised, and the allocator rounds up. A
/// buffer kept per connection on either path would show.
const BYTES_MAX: usize = 12 << 10;

/// Resident memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let field = Field::start().await;
    let mut agents = Vec::new();
    for number in 0..CONNECTIONS {
        if number == 50 {
            // What is allocated once is allocated by now.
            agents.clear();
        }
        let mut agent = Agent::claimed(field.address, number).await;
        agent.say(&heartbeat(number, 1)).await;
        agents.push(agent);
        if number == 50 {
            agents.reserve(usize::from(CONNECTIONS));
        }
    }
    let before = resident();
    for number in 0..CONNECTIONS {
        let mut agent = Agent::claimed(field.address, number).await;
        agent.say(&heartbeat(number, 1)).await;
        agents.push(agent);
    }
    let each = resident().saturating_sub(before) / usize::from(CONNECTIONS);
    println!("{each} bytes per connection, both ends");
    assert!(each <= BYTES_MAX, "{each} bytes per connection");
}
