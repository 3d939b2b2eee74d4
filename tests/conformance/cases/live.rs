//! Who counts as connected, and for how long.

use std::time::Duration;

use control::v1::ConnectionStatus::{Connected, Disconnected};
use opamp::v1::*;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

/// Pings after a second, polls forgotten after two.
const NERVOUS: [&str; 4] = ["--opamp-ping-after", "1s", "--poll-lease", "2s"];
/// Several times the lease.
const LONG: Duration = Duration::from_secs(6);

pub(crate) async fn hb_01_silence_on_a_live_socket_is_no_absence(shared: &Fleet) {
    let fleet = shared.own(&NERVOUS).await;
    let (quiet, gone, polled) = (fleet.uid(), fleet.uid(), fleet.uid());
    let mut socket = fleet.connect().await;
    let mut deaf = fleet.connect().await;
    for (socket, uid) in [(&mut socket, quiet), (&mut deaf, gone)] {
        socket.send(&full(uid, 0, "none")).await.unwrap();
        socket.receive(PATIENCE).await.unwrap();
    }
    fleet.poll(&full(polled, 0, "none")).await;
    for uid in [quiet, gone, polled] {
        fleet.until(uid, |agent| agent.status() == Connected).await;
    }
    // It only answers pings, and declares no heartbeats. The other one does not read any more.
    let silence = socket.receive(LONG).await;
    assert!(matches!(silence, Err(agent::Error::TimedOut(_))), "{silence:?}");
    for uid in [gone, polled] {
        fleet.until(uid, |agent| agent.status() == Disconnected).await;
    }
    assert_eq!(fleet.agent(quiet).await.unwrap().status(), Connected);
    socket.send(&bare(quiet, 1)).await.unwrap();
    assert_eq!(socket.receive(PATIENCE).await.unwrap().flags, 0);
    drop(deaf);
}

pub(crate) async fn hb_03_any_message_is_a_sign_of_life(shared: &Fleet) {
    let fleet = shared.own(&NERVOUS).await;
    let uid = fleet.uid();
    fleet.poll(&full(uid, 0, "none")).await;
    let mut agent = fleet.until(uid, |agent| agent.status() == Connected).await;
    let mut beats = tokio::time::interval(Duration::from_millis(700));
    beats.tick().await;
    for seq in 1..9_u64 {
        beats.tick().await;
        let health = ComponentHealth { status: seq.to_string(), ..Default::default() };
        let message = match seq % 3 {
            0 => bare(uid, seq),
            1 => AgentToServer { capabilities: 0, ..bare(uid, seq) },
            _ => AgentToServer { health: Some(health), ..bare(uid, seq) },
        };
        let reply = fleet.poll(&message).await;
        assert_eq!(reply.connection_settings, None, "its polling period is its own");
        let seen = agent.last_seen_time;
        agent = fleet.until(uid, |agent| agent.last_seen_time != seen).await;
        assert_eq!(agent.status(), Connected, "after message {seq}");
    }
}
