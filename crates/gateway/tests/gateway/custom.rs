//! Custom messages and capabilities on their way through a gateway.

use gateway::Rate;
use opamp::Message as _;
use opamp::v1::{AgentToServer, CustomMessage};

use crate::agent::{Agent, heartbeat, report};
use crate::field::{Field, accepted, unavailable};
use crate::plain::post;

fn says(number: u8, sequence_num: u64, word: &str) -> AgentToServer {
    let (capability, data) = ("org.example.talk".to_owned(), word.as_bytes().to_vec());
    let custom_message = Some(CustomMessage { capability, r#type: "word".to_owned(), data });
    AgentToServer { custom_message, ..heartbeat(number, sequence_num) }
}

#[tokio::test]
async fn a_message_with_nothing_else_goes_to_the_workers_in_its_turn() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    for (number, word) in (1..).zip(["a", "b", "b"]) {
        agent.send(&says(1, number, word)).await;
    }
    for _ in 0..3 {
        assert_eq!(agent.hear().await.error_response, None);
    }
    assert_eq!(agent.say(&heartbeat(1, 4)).await.error_response, None, "answered here");
    let said = field.seen.reports().into_iter().filter_map(|(_, message)| message.custom_message);
    let said: Vec<_> = said.map(|message| String::from_utf8(message.data).unwrap()).collect();
    assert_eq!(said, ["a", "b", "b"]);
}

#[tokio::test]
async fn what_is_not_stored_is_not_acknowledged() {
    let field = Field::with(|limits| {
        limits.report_timeout = std::time::Duration::from_millis(50);
        limits.report_patience = std::time::Duration::from_millis(50);
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.answer_with(|_, _| Some(unavailable()));
    for number in 1..3 {
        let reply = agent.say(&says(1, number, "a")).await;
        assert!(reply.error_response.is_some(), "{reply:?}");
    }
}

#[tokio::test]
async fn our_capabilities_are_named_first_in_a_session_and_in_each_answer_to_a_poll() {
    let names = ["org.example.talk", "org.example.profile/v1"];
    let field = Field::naming(&names).await;
    let mut agent = Agent::connect(field.address).await;
    let first = agent.say(&report(1, 0)).await;
    assert_eq!(first.custom_capabilities.unwrap().capabilities, names);
    for message in [heartbeat(1, 1), report(1, 2)] {
        assert_eq!(agent.say(&message).await.custom_capabilities, None);
    }
    let mut again = Agent::connect(field.address).await;
    let first = again.say(&report(1, 3)).await;
    assert_eq!(first.custom_capabilities.unwrap().capabilities, names, "a session of its own");
    for number in 0..2 {
        let answer = post(&field, "", &report(2, number).encode_to_vec()).await.message();
        assert_eq!(answer.custom_capabilities.unwrap().capabilities, names);
    }
}

#[tokio::test]
async fn a_command_in_the_answer_to_a_poll_stands_alone() {
    let field = Field::naming(&["org.example.talk"]).await;
    field.seen.answer_with(|_, message| {
        Some(accepted(0, message, |reply| reply.command = Some(Default::default())))
    });
    let answer = post(&field, "", &report(2, 0).encode_to_vec()).await.message();
    assert!(answer.command.is_some());
    assert_eq!(answer.custom_capabilities, None);
}

#[tokio::test]
async fn nothing_is_named_where_there_is_nothing() {
    let field = Field::start().await;
    let mut agent = Agent::connect(field.address).await;
    assert_eq!(agent.say(&report(1, 0)).await.custom_capabilities, None);
    let answer = post(&field, "", &report(2, 0).encode_to_vec()).await.message();
    assert_eq!(answer.custom_capabilities, None);
}

#[tokio::test]
async fn words_count_as_messages_where_an_agent_says_too_much() {
    let field = Field::with(|limits| {
        limits.messages = Rate { per_second: 1, burst: 5 };
        limits.floods_in_a_row_max = 3;
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    for number in 1..=20 {
        agent.send(&says(1, number, "a")).await;
    }
    let mut refused = 0;
    while refused < 3 {
        refused += usize::from(agent.hear().await.error_response.is_some());
    }
    assert_eq!(agent.closed().await, Some(1013));
    let taken = field.seen.reports().iter().filter(|(_, m)| m.custom_message.is_some()).count();
    assert!((1..=6).contains(&taken), "{taken}: those that waited at the end are not taken");
}
