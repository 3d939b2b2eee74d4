//! Custom capabilities and messages.

use opamp::InstanceUid;
use opamp::v1::{AgentToServer, CustomCapabilities, CustomMessage};

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
    let named = |reply: opamp::v1::ServerToAgent| reply.custom_capabilities;
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
