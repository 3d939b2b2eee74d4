//! Custom capabilities and messages.

use std::time::Duration;

use agent::link::WebSocket;
use control::v1::CommandState;
use opamp::InstanceUid;
use opamp::v1::{AgentToServer, CustomCapabilities, CustomMessage, ServerToAgent};
use tonic::Code;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::{bare, full};

fn declares(message: AgentToServer, names: &[&str]) -> AgentToServer {
    let capabilities = names.iter().map(|name| (*name).to_owned()).collect();
    AgentToServer { custom_capabilities: Some(CustomCapabilities { capabilities }), ..message }
}

fn says(message: AgentToServer, capability: &str, word: &str) -> AgentToServer {
    let (capability, data) = (capability.to_owned(), word.as_bytes().to_vec());
    let custom_message = Some(CustomMessage { capability, r#type: "word".to_owned(), data });
    AgentToServer { custom_message, ..message }
}

/// Waits until operators see that an agent declares these, in the list and in its report.
async fn seen(fleet: &Fleet, uid: InstanceUid, reported: Option<&[&str]>) {
    fleet
        .until(uid, |agent| {
            let report = agent.report.as_ref().unwrap().custom_capabilities.as_ref();
            let report = report.map(|list| list.capabilities.clone());
            let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
            report == reported.map(names)
                && agent.custom_capabilities == reported.map(names).unwrap_or_default()
        })
        .await;
}

pub(crate) async fn cust_01_custom_capabilities_replace_the_list(fleet: &Fleet) {
    let (name, other) = ("org.example.one", "org.example.two");
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    let first = full(uid, 0, "none");
    let steps: [(AgentToServer, Option<&[&str]>); 5] = [
        (first, None),
        (declares(bare(uid, 1), &[name, other]), Some(&[name, other])),
        // A word about something else leaves them as they are.
        (AgentToServer { health: Some(Default::default()), ..bare(uid, 2) }, Some(&[name, other])),
        (declares(bare(uid, 3), &[other]), Some(&[other])),
        (declares(bare(uid, 4), &[]), Some(&[])),
    ];
    for (message, reported) in steps {
        socket.send(&message).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
        seen(fleet, uid, reported).await;
    }
    let polls = fleet.uid();
    fleet.poll(&declares(full(polls, 0, "none"), &[name])).await;
    seen(fleet, polls, Some(&[name])).await;
    fleet.poll(&bare(polls, 1)).await;
    seen(fleet, polls, Some(&[name])).await;
}

pub(crate) async fn cust_02_the_server_names_its_own_first(fleet: &Fleet) {
    let names = ["org.example.talk", "org.example.profile/v1"];
    let both = names.map(|name| ["--custom-capability", name]);
    let fleet = fleet.own(both.as_flattened()).await;
    let named = |reply: ServerToAgent| reply.custom_capabilities;
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    for (message, told) in
        [(full(uid, 0, "none"), true), (bare(uid, 1), false), (full(uid, 2, "other"), false)]
    {
        socket.send(&message).await.unwrap();
        let said = named(socket.receive(PATIENCE).await.unwrap());
        assert_eq!(
            said.map(|said| said.capabilities),
            told.then(|| names.map(str::to_owned).to_vec())
        );
    }
    let uid = fleet.uid();
    for message in [full(uid, 0, "none"), bare(uid, 1)] {
        assert_eq!(named(fleet.poll(&message).await).unwrap().capabilities, names);
    }
}

pub(crate) async fn cust_02_nothing_is_named_where_there_is_nothing(fleet: &Fleet) {
    let reply = fleet.poll(&full(fleet.uid(), 0, "none")).await;
    assert_eq!((reply.custom_capabilities, reply.custom_message), (None, None));
}

pub(crate) async fn cust_03_names_are_compared_as_a_whole(fleet: &Fleet) {
    let (one, two, plain) = ("org.example.c3/v1", "org.example.c3/v2", "org.example.c3");
    let uids = [fleet.uid(), fleet.uid(), fleet.uid()];
    let mut words = fleet.words(one, "").await;
    for (uid, name) in uids.into_iter().zip([two, plain, one]) {
        let message = declares(full(uid, 0, "none"), &[name]);
        fleet.poll(&says(message, name, name)).await;
        seen(fleet, uid, Some(&[name])).await;
    }
    assert_eq!(words.next().await.data, one.as_bytes());
    for (uid, name) in uids.into_iter().zip([two, plain, one]) {
        assert_eq!(fleet.declaring(name).await, [uid.to_string()]);
    }
}

pub(crate) async fn cust_05_an_unknown_custom_message_is_acknowledged(fleet: &Fleet) {
    let capability = "org.example.unheard";
    let mut words = fleet.words(capability, "").await;
    let uid = fleet.uid();
    let reply = fleet.poll(&says(full(uid, 0, "none"), capability, "a")).await;
    assert_eq!(reply.error_response, None);
    let mut socket = fleet.connect().await;
    for (seq, word) in [(1, "b"), (2, "c")] {
        // Nothing else is in it, and it is no heartbeat.
        socket.send(&says(bare(uid, seq), capability, word)).await.unwrap();
        assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
    }
    // More than is kept: the agent need not know.
    let long = "x".repeat(300 << 10);
    assert_eq!(fleet.poll(&says(bare(uid, 3), capability, &long)).await.error_response, None);
    for word in ["a", "b", "c"] {
        let said = words.next().await;
        assert_eq!((said.agent, said.data), (format!("agents/{uid}"), word.as_bytes().to_vec()));
    }
    let said = words.next().await;
    assert_eq!((said.data.len(), said.size_bytes), (0, 300 << 10));
}

pub(crate) async fn cust_07_what_agents_say_comes_in_order_and_once(fleet: &Fleet) {
    let capability = "org.example.c7";
    let mut words = fleet.words(capability, "word").await;
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&full(uid, 0, "none")).await.unwrap();
    let mut said = Vec::new();
    for seq in 1..=100 {
        said.push(seq.to_string());
        socket.send(&says(bare(uid, seq), capability, &seq.to_string())).await.unwrap();
    }
    for _ in 0..=100 {
        assert_eq!(socket.receive(PATIENCE).await.unwrap().error_response, None);
    }
    drop(socket);
    for seq in 101..=110 {
        said.push(seq.to_string());
        // Its answer was lost, as far as the agent knows: another gateway takes it again.
        let message = says(bare(uid, seq), capability, &seq.to_string());
        fleet.poll(&message).await;
        fleet.poll(&message).await;
    }
    for expected in said {
        assert_eq!(words.next().await.data, expected.as_bytes());
    }
}

/// An agent with a session that declares a capability.
async fn here(fleet: &Fleet, capability: &str) -> (InstanceUid, WebSocket) {
    let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
    socket.send(&declares(full(uid, 0, "none"), &[capability])).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    seen(fleet, uid, Some(&[capability])).await;
    (uid, socket)
}

/// An agent that polls and declares a capability.
async fn polls(fleet: &Fleet, capability: &str) -> InstanceUid {
    let uid = fleet.uid();
    fleet.poll(&declares(full(uid, 0, "none"), &[capability])).await;
    seen(fleet, uid, Some(&[capability])).await;
    uid
}

/// The word in a message that holds nothing else.
fn word(uid: InstanceUid, message: ServerToAgent) -> String {
    let custom_message = message.custom_message.clone();
    let alone = ServerToAgent {
        instance_uid: uid.as_bytes().to_vec(),
        capabilities: message.capabilities,
        custom_message,
        ..Default::default()
    };
    assert_eq!(message, alone);
    let said = message.custom_message.unwrap();
    assert_eq!(said.r#type, "word");
    String::from_utf8(said.data).unwrap()
}

pub(crate) async fn cust_04_only_declared_capabilities_are_spoken_to(fleet: &Fleet) {
    let (own, other) = ("org.example.c4/v1", "org.example.c4/v2");
    let (uid, mut socket) = here(fleet, own).await;
    for queue in [None, Some(60)] {
        let refused = fleet.send_word(uid, other, "x", queue).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains(other), "{refused}");
    }
    let command = fleet.send_word(uid, own, "a", None).await.unwrap();
    let message = socket.receive(PATIENCE).await.unwrap();
    assert_eq!(message.custom_message.as_ref().unwrap().capability, own);
    assert_eq!(word(uid, message), "a", "the first that comes");
    let delivered = fleet.until_command(&command, CommandState::Delivered);
    tokio::join!(delivered, async { drop(socket.receive(PATIENCE / 10).await) });
}

pub(crate) async fn cust_06_one_for_each_message(fleet: &Fleet) {
    let capability = "org.example.c6";
    let (uid, mut socket) = here(fleet, capability).await;
    for data in ["a", "b"] {
        fleet.send_word(uid, capability, data, None).await.unwrap();
    }
    for data in ["a", "b"] {
        assert_eq!(word(uid, socket.receive(PATIENCE).await.unwrap()), data);
    }
    let uid = polls(fleet, capability).await;
    for data in ["a", "b"] {
        fleet.send_word(uid, capability, data, Some(60)).await.unwrap();
    }
    assert_eq!(polled(fleet, uid, 2).await, ["a", "b"]);
}

/// Polls until it was told so many words, one to an answer.
async fn polled(fleet: &Fleet, uid: InstanceUid, number: usize) -> Vec<String> {
    let mut words = Vec::new();
    let polling = async {
        for seq in 1.. {
            let answer = fleet.poll(&bare(uid, seq)).await;
            if answer.custom_message.is_some() {
                words.push(word(uid, answer));
            }
            if words.len() == number {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, polling).await.is_err() {
        panic!("{} of {number}: {words:?}", words.len());
    }
    words
}

pub(crate) async fn cust_07_messages_come_in_order_and_not_after_their_time(fleet: &Fleet) {
    let capability = "org.example.c7";
    let all: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    let (uid, mut socket) = here(fleet, capability).await;
    for data in &all {
        fleet.send_word(uid, capability, data, None).await.unwrap();
    }
    for data in &all {
        assert_eq!(word(uid, socket.receive(PATIENCE).await.unwrap()), *data);
    }
    // More than waits in a record at once: the rest waits behind it.
    let uid = polls(fleet, capability).await;
    let mut last = String::new();
    for data in &all {
        last = fleet.send_word(uid, capability, data, Some(60)).await.unwrap();
    }
    assert_eq!(polled(fleet, uid, all.len()).await, all);
    fleet.poll(&bare(uid, 1000)).await;
    fleet.until_command(&last, CommandState::Delivered).await;

    let late = fleet.send_word(uid, capability, "late", Some(1)).await.unwrap();
    let expired = fleet.until_command(&late, CommandState::Expired).await;
    assert!(!expired.reason.is_empty(), "it says why");
    for seq in 1001..1004 {
        assert_eq!(fleet.poll(&bare(uid, seq)).await.custom_message, None);
    }
}
