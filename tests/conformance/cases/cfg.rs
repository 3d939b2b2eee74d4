//! Remote configuration.

use control::v1::ConfigStatus;
use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn cfg_02_another_hash_gets_the_right_config(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cfg-02");
    let hash = fleet.give(case, b"a: 1").await;
    let mut socket = fleet.connect().await;
    socket.send(&full(uid, 0, case)).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!(offered(&reply), Some(&hash[..]), "an empty hash is another one");
    for (seq, reported, wanted) in [(1, &hash, None), (2, &vec![9; 32], Some(&hash[..]))] {
        socket.send(&status(uid, seq, reported, RemoteConfigStatuses::Applied)).await.unwrap();
        assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), wanted);
    }
}

pub(crate) async fn cfg_04_the_hash_is_there_and_is_the_contents(fleet: &Fleet) {
    let file = |body: &str, role: &str| AgentConfigFile {
        body: body.to_owned().into(),
        content_type: "text/yaml".to_owned(),
        role: role.to_owned(),
    };
    let files =
        |body, role| vec![("a".to_owned(), file(body, role)), ("b".to_owned(), file("", ""))];
    let first = fleet.apply_files("cfg-04-a", files("x", "main")).await;
    let again = fleet.apply_files("cfg-04-b", files("x", "main")).await;
    let body = fleet.apply_files("cfg-04-a", files("y", "main")).await;
    let role = fleet.apply_files("cfg-04-a", files("x", "extra")).await;
    assert_eq!((first.len(), &first), (32, &again), "the name does not count");
    assert!(first != body && first != role && body != role, "every byte does");
}

pub(crate) async fn cfg_05_an_offer_is_complete(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cfg-05");
    let file = |body: &str| AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
    let both = vec![("a".to_owned(), file("1")), ("b".to_owned(), file("2"))];
    fleet.apply_files(case, both).await;
    fleet.assign(case, case).await;
    let keys = |reply: ServerToAgent| -> Vec<String> {
        reply.remote_config.unwrap().config.unwrap().config_map.into_keys().collect()
    };
    assert_eq!(keys(fleet.poll(&full(uid, 0, case)).await), ["a", "b"]);
    let hash = fleet.apply_files(case, vec![("a".to_owned(), file("1"))]).await;
    fleet.assign(case, case).await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == hash).await;
    assert_eq!(keys(fleet.poll(&bare(uid, 1)).await), ["a"]);
}

pub(crate) async fn cfg_07_every_status_is_shown(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cfg-07");
    let hash = fleet.give(case, b"a: 1").await;
    fleet.poll(&full(uid, 0, case)).await;
    for (seq, said, shown) in [
        (1, RemoteConfigStatuses::Unset, ConfigStatus::Pending),
        (2, RemoteConfigStatuses::Applying, ConfigStatus::Applying),
        (3, RemoteConfigStatuses::Applied, ConfigStatus::Applied),
        (4, RemoteConfigStatuses::Failed, ConfigStatus::Failed),
    ] {
        fleet.poll(&status(uid, seq, &hash, said)).await;
        let agent =
            fleet.until(uid, |agent| agent.config.as_ref().unwrap().status() == shown).await;
        let reported = agent.report.unwrap().remote_config_status.unwrap();
        assert_eq!((reported.status(), &reported.last_remote_config_hash), (said, &hash));
        assert_eq!(agent.config.unwrap().error_message, "because");
    }
}

pub(crate) async fn cfg_08_a_failure_is_not_offered_again(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cfg-08");
    let hash = fleet.give(case, b"a: 1").await;
    fleet.poll(&full(uid, 0, case)).await;
    fleet.poll(&status(uid, 1, &hash, RemoteConfigStatuses::Failed)).await;
    for seq in 2..8 {
        assert_eq!(offered(&fleet.poll(&bare(uid, seq)).await), None);
    }
    // It went back to what it had, and says so.
    let back = status(uid, 8, &[7; 32], RemoteConfigStatuses::Applied);
    assert_eq!(offered(&fleet.poll(&back).await), None, "it would fail again");
    let mended = fleet.give(case, b"a: 2").await;
    fleet.until(uid, |agent| agent.config.as_ref().unwrap().offered_hash == mended).await;
    assert_eq!(offered(&fleet.poll(&bare(uid, 9)).await), Some(&mended[..]));
}

pub(crate) async fn cfg_09_who_reports_nothing_is_told_once(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cfg-09");
    let hash = fleet.give(case, b"a: 1").await;
    let silent = |message: AgentToServer| AgentToServer {
        capabilities: 3,
        remote_config_status: None,
        ..message
    };
    let mut socket = fleet.connect().await;
    socket.send(&silent(full(uid, 0, case))).await.unwrap();
    assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), Some(&hash[..]));
    for seq in 1..6 {
        let message = if seq == 3 { full(uid, seq, case) } else { bare(uid, seq) };
        socket.send(&silent(message)).await.unwrap();
        assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), None);
    }
    socket.close().await.unwrap();
    let mut socket = fleet.connect().await;
    socket.send(&silent(bare(uid, 6))).await.unwrap();
    assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), Some(&hash[..]), "a new session");
}

pub(crate) async fn cfg_11_nothing_assigned_is_not_an_empty_config(fleet: &Fleet) {
    let uid = fleet.uid();
    assert_eq!(offered(&fleet.poll(&full(uid, 0, "cfg-11-nobody")).await), None);
    let agent = fleet.until(uid, |_| true).await;
    assert_eq!(agent.config.unwrap().status(), ConfigStatus::Unassigned);
    let case = "cfg-11-empty";
    let hash = fleet.apply_files(case, Vec::new()).await;
    fleet.assign(case, case).await;
    let told = fleet.uid();
    fleet.poll(&full(told, 0, case)).await;
    fleet.until(told, |agent| agent.config.as_ref().unwrap().offered_hash == hash).await;
    let new = fleet.poll(&full(fleet.uid(), 0, case)).await.remote_config.expect("an offer");
    assert_eq!((new.config_hash, new.config), (hash, Some(AgentConfigMap::default())));
}

pub(crate) async fn cfg_10_an_ignored_offer_is_not_repeated(fleet: &Fleet) {
    let (uid, case) = (fleet.uid(), "cfg-10");
    let hash = fleet.give(case, b"a: 1").await;
    let mut socket = fleet.connect().await;
    socket.send(&full(uid, 0, case)).await.unwrap();
    assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), Some(&hash[..]));
    for seq in 1..8 {
        let status = seq.to_string();
        let health = Some(ComponentHealth { status, ..Default::default() });
        socket.send(&AgentToServer { health, ..bare(uid, seq) }).await.unwrap();
        assert_eq!(offered(&socket.receive(PATIENCE).await.unwrap()), None, "message {seq}");
    }
    let polls = fleet.uid();
    assert_eq!(offered(&fleet.poll(&full(polls, 0, case)).await), Some(&hash[..]));
    for seq in 1..8 {
        assert_eq!(offered(&fleet.poll(&bare(polls, seq)).await), None, "poll {seq}");
    }
    for uid in [uid, polls] {
        let config = fleet.until(uid, |_| true).await.config.unwrap();
        assert_eq!((config.status(), config.offered_hash), (ConfigStatus::Pending, hash.clone()));
    }
}
