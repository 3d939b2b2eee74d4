//! Connections that are given away.

use bus::v1::{Ping, Shed, ShedReply, gateway_reply::Reply, gateway_request::Request};

use crate::agent::{Agent, heartbeat};
use crate::field::{Field, until};

#[tokio::test]
async fn as_many_as_asked_are_closed_the_oldest_first() {
    let field = Field::start().await;
    let mut agents = Vec::new();
    for number in 1..=4 {
        agents.push(Agent::claimed(field.address, number).await);
    }
    let shed = Shed { connections: 2, over_ms: 20 };
    let answer = field.ask(Request::Shed(shed)).await;
    assert_eq!(answer, Reply::Shed(ShedReply { connections: 2 }));
    for agent in &mut agents[..2] {
        assert_eq!(agent.closed().await, Some(1001));
    }
    for (agent, number) in agents[2..].iter_mut().zip(3..) {
        assert_eq!(agent.say(&heartbeat(number, 1)).await.error_response, None);
    }
    until("the workers know", || field.seen.closes().len() == 2).await;
    assert_eq!(field.gateway.sessions(), 2);
}

#[tokio::test]
async fn nobody_is_given_away_twice_at_once_or_for_nothing() {
    let field = Field::start().await;
    let _agent = Agent::claimed(field.address, 1).await;
    let shed = |connections| Request::Shed(Shed { connections, over_ms: 60_000 });
    let begun = |connections| Reply::Shed(ShedReply { connections });
    assert_eq!(field.ask(shed(0)).await, begun(0));
    assert_eq!(field.ask(shed(5)).await, begun(5));
    assert_eq!(field.ask(shed(5)).await, begun(0), "one order at a time");
    assert_eq!(field.ask(Request::Ping(Ping {})).await, Reply::Ping(bus::v1::PingReply {}));
}
