//! The life of a connection.

use control::v1::ConnectionStatus;
use opamp::v1::*;
use opamp::{envelope, ws};

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(crate) async fn life_02_a_lost_socket_is_a_lost_agent(fleet: &Fleet) {
    let (one, two) = (fleet.uid(), fleet.uid());
    let mut socket = fleet.connect().await;
    for uid in [one, two] {
        socket.send(&full(uid, 0, "none")).await.unwrap();
        socket.receive(PATIENCE).await.unwrap();
        fleet.until(uid, |agent| agent.status() == ConnectionStatus::Connected).await;
    }
    drop(socket);
    for uid in [one, two] {
        fleet.until(uid, |agent| agent.status() == ConnectionStatus::Disconnected).await;
    }
}

pub(crate) async fn life_03_goodbye_by_poll(fleet: &Fleet) {
    let uid = fleet.uid();
    fleet.poll(&full(uid, 0, "none")).await;
    fleet.until(uid, |agent| agent.status() == ConnectionStatus::Connected).await;
    let goodbye = AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..bare(uid, 1) };
    let reply = fleet.poll(&goodbye).await;
    assert_eq!((reply.flags, reply.error_response), (0, None));
    fleet.until(uid, |agent| agent.status() == ConnectionStatus::Disconnected).await;
    // Some clients say it twice.
    assert_eq!(fleet.poll(&goodbye).await.error_response, None);
}

pub(crate) async fn life_06_an_old_socket_closes_late(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut old = fleet.connect().await;
    old.send(&full(uid, 0, "none")).await.unwrap();
    old.receive(PATIENCE).await.unwrap();
    // The old socket does not read any more: it cannot answer a ping.
    let mut new = fleet.connect().await;
    new.send(&bare(uid, 1)).await.unwrap();
    let reply = new.receive(PATIENCE).await.unwrap();
    assert_eq!((reply.flags, reply.agent_identification), (0, None), "it takes over");
    drop(old);
    for seq in 2..5 {
        new.send(&bare(uid, seq)).await.unwrap();
        assert_eq!(new.receive(PATIENCE).await.unwrap().flags, 0);
    }
    let agent = fleet.until(uid, |agent| agent.epoch == 2).await;
    assert_eq!(agent.status(), ConnectionStatus::Connected);
}

pub(crate) async fn life_08_the_last_message_before_a_close_counts(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut socket = fleet.connect().await;
    socket.send(&full(uid, 0, "none")).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    let health = Some(ComponentHealth { status: "last words".to_owned(), ..Default::default() });
    let message = AgentToServer { health, ..bare(uid, 1) };
    // Both in one write.
    let mut bytes = Vec::new();
    ws::binary(&mut bytes, &envelope::encode(&message), Some([1, 2, 3, 4]));
    ws::close(&mut bytes, Some(1000), "", Some([5, 6, 7, 8]));
    socket.send_raw(&bytes).await.unwrap();
    assert_eq!(socket.closed(PATIENCE).await.unwrap(), Some(1000));
    fleet.until(uid, |agent| agent.health.as_ref().unwrap().status == "last words").await;
}

pub(crate) async fn life_05_a_first_message_may_say_nothing(fleet: &Fleet) {
    let uid = fleet.uid();
    let mut socket = fleet.connect().await;
    socket.send(&bare(uid, 0)).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    assert_eq!((reply.flags, reply.error_response), (FULL, None), "asked, not refused");
    socket.send(&full(uid, 1, "none")).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
    socket.close().await.unwrap();
    let mut socket = fleet.connect().await;
    socket.send(&bare(uid, 2)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0, "known by now");
}

pub(crate) async fn life_07_a_drain_costs_no_full_state(shared: &Fleet) {
    let mut fleet = shared.own(&[]).await;
    // As many on each gateway; the first gateway is to go.
    let mut agents = Vec::new();
    for _ in 0..5 * fleet.gateways() {
        let (uid, mut socket) = (fleet.uid(), fleet.connect().await);
        for seq in 0..3 {
            let message = if seq == 0 { full(uid, 0, "none") } else { bare(uid, seq) };
            socket.send(&message).await.unwrap();
            assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
        }
        agents.push((uid, socket));
    }
    let mut gone = fleet.remove_gateway();
    let stays = fleet.gateways();
    let ended = tokio::task::spawn_blocking(move || gone.terminate());
    let step = stays + 1;
    let mut sent_away = Vec::new();
    for (index, (uid, mut socket)) in agents.into_iter().enumerate() {
        if index % step == 0 {
            assert_eq!(socket.closed(PATIENCE).await.unwrap(), Some(1001), "{uid}");
            let mut answer = Vec::new();
            ws::close(&mut answer, Some(1001), "", Some([1, 2, 3, 4]));
            // The server may have gone already.
            let _ = socket.send_raw(&answer).await;
            sent_away.push(uid);
        }
    }
    assert_eq!(sent_away.len(), 5);
    assert!(ended.await.unwrap().unwrap().success());
    if stays == 0 {
        fleet.restart(&[]).await;
    }
    for uid in sent_away {
        let mut socket = fleet.connect().await;
        socket.send(&bare(uid, 3)).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!((reply.flags, reply.agent_identification), (0, None), "{uid}");
    }
}

pub(crate) async fn life_06_a_gateway_that_slept_through_it_marks_nobody_offline(shared: &Fleet) {
    let mut fleet = shared.own(&[]).await;
    let signal = |name: &str, pid: u32| {
        let sent = std::process::Command::new("kill").args([name, &pid.to_string()]).status();
        assert!(sent.unwrap().success());
    };
    let (uid, mut old) = (fleet.uid(), fleet.connect().await);
    old.send(&full(uid, 0, "none")).await.unwrap();
    old.receive(PATIENCE).await.unwrap();
    // The first gateway holds it, and sleeps while the agent leaves it for the other one.
    let sleeping = fleet.remove_gateway();
    signal("-STOP", sleeping.pid());
    drop(old);
    let mut new = fleet.connect().await;
    new.send(&bare(uid, 1)).await.unwrap();
    let reply = new.receive(PATIENCE).await.unwrap();
    assert_eq!((reply.flags, reply.agent_identification), (0, None), "it takes over");
    fleet.until(uid, |agent| agent.epoch == 2).await;
    signal("-CONT", sleeping.pid());
    // It ends in order, with everything told that it has to tell.
    let mut sleeping = sleeping;
    let ended = tokio::task::spawn_blocking(move || sleeping.terminate());
    assert!(ended.await.unwrap().unwrap().success());
    for seq in 2..5 {
        let health = Some(ComponentHealth { status: seq.to_string(), ..Default::default() });
        new.send(&AgentToServer { health, ..bare(uid, seq) }).await.unwrap();
        assert_eq!(new.receive(PATIENCE).await.unwrap().flags, 0);
        let agent = fleet.until(uid, |agent| agent.status() == ConnectionStatus::Connected).await;
        assert_eq!(agent.epoch, 2, "nobody took it away");
    }
}
