//! Bugs: a panic ends one connection, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Counts, Error, LogEntry, LogReader, Position, Subscription};
use bytes::Bytes;
use opamp::v1::AgentToServer;
use trust::Door;

use crate::agent::{Agent, heartbeat, report};
use crate::field::{Field, until};

/// What makes the bus panic.
const MARK: &str = "a message that nobody expected";

/// A bus that panics when it is asked about a marked message.
#[derive(Debug)]
struct Brittle(Arc<dyn Bus>);

#[async_trait]
impl Bus for Brittle {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        self.0.publish(subject, payload).await
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let marked = payload.windows(MARK.len()).any(|part| part == MARK.as_bytes());
        assert!(!marked, "as it was asked to");
        self.0.request(subject, payload, timeout).await
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        self.0.subscribe(subject, group, capacity).await
    }

    fn payload_max(&self) -> usize {
        self.0.payload_max()
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        self.0.append(entries).await
    }

    async fn tail(&self) -> Result<Position, Error> {
        self.0.tail().await
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        self.0.read(from).await
    }

    fn traffic(&self) -> Counts {
        self.0.traffic()
    }
}

fn marked(number: u8, sequence_num: u64) -> AgentToServer {
    let mut message = report(number, sequence_num);
    message.remote_config_status.as_mut().unwrap().error_message = MARK.to_owned();
    message
}

#[tokio::test]
async fn a_panic_over_a_report_ends_its_connection_alone() {
    let brittle = |bus| Arc::new(Brittle(bus)) as Arc<dyn Bus>;
    let field = Field::over(brittle, Door::default(), |_| ()).await;
    let mut neighbour = Agent::claimed(field.address, 2).await;
    let mut poison = Agent::claimed(field.address, 1).await;
    let reply = poison.say(&marked(1, 1)).await;
    assert_eq!(reply.error_response.expect("an error").r#type, 2, "not stored");
    assert_eq!(poison.closed().await, Some(1011));
    until("its session ended", || field.seen.closes().len() == 1).await;
    assert_eq!(field.gateway.sessions(), 1);

    let mut again = Agent::connect(field.address).await;
    assert!(again.say(&marked(1, 0)).await.error_response.is_some(), "kept away for a while");
    assert_eq!(again.closed().await, Some(1013));
    assert_eq!(neighbour.say(&heartbeat(2, 1)).await.error_response, None);
    assert_eq!(neighbour.say(&report(2, 2)).await.error_response, None);
    assert!(field.gateway.ready());
}

#[tokio::test]
async fn a_panic_of_a_connection_s_task_ends_it_with_a_word() {
    // Nobody else is to ask for the time.
    let field = Field::with(|limits| limits.presence_interval = Duration::from_secs(60)).await;
    let mut neighbour = Agent::claimed(field.address, 2).await;
    let mut unlucky = Agent::claimed(field.address, 1).await;
    field.seen.break_the_clock();
    unlucky.send(&heartbeat(1, 1)).await;
    assert_eq!(unlucky.closed().await, Some(1011));
    until("its session ended", || field.seen.closes().len() == 1).await;
    assert_eq!(neighbour.say(&heartbeat(2, 1)).await.error_response, None);
    Agent::claimed(field.address, 3).await;
    assert!(field.gateway.ready());
}
