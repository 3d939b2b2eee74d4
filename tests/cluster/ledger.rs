//! A ledger that stalls, takes no writes or is killed: nobody is told that something was decided
//! which was not, everybody is told soon, and agents notice nothing.

use std::time::{Duration, Instant};

use services::{Answer, Signal};
use tonic::Code;

use crate::{
    AGENTS, Cluster, applied, connected, full_state_requests, give, try_give, try_list, until,
};

/// Within this an operator is told.
const SOON: Duration = Duration::from_secs(2);

/// Decides something that must not be taken.
async fn refused(cluster: &Cluster) {
    let asked = Instant::now();
    let refused = try_give(&cluster.channel, "receivers: {refused: {}}").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(asked.elapsed() <= SOON, "told after {:?}", asked.elapsed());
}

/// The fleet has the config, and takes another one.
async fn goes_on(cluster: &Cluster, body: &str) -> Vec<u8> {
    let mut hash = None;
    until("decisions are taken again", async || {
        hash = try_give(&cluster.channel, body).await.ok();
        hash.is_some()
    })
    .await;
    let hash = hash.unwrap();
    until("all have it", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    hash
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_takes_no_writes_is_told_soon_and_recovers() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    let first = give(&cluster.channel, "receivers: {}").await;
    until("all have it", async || applied(&cluster.list().await, &first) == AGENTS).await;
    let asked_before = full_state_requests(&agents);

    let ledger = &cluster.real.ledger;
    let set = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        ledger.command(&words).unwrap();
    };
    set("CLIENT PAUSE 3000 ALL");
    refused(&cluster).await;
    goes_on(&cluster, "receivers: {a: {}}").await;

    ledger.tell(&["DEBUG", "SLEEP", "4"]).unwrap();
    refused(&cluster).await;
    refused(&cluster).await;
    goes_on(&cluster, "receivers: {b: {}}").await;

    set("CONFIG SET maxmemory 1mb");
    refused(&cluster).await;
    set("CONFIG SET maxmemory 0");
    goes_on(&cluster, "receivers: {c: {}}").await;

    set("REPLICAOF 127.0.0.1 1");
    refused(&cluster).await;
    set("REPLICAOF NO ONE");
    let hash = goes_on(&cluster, "receivers: {d: {}}").await;

    ledger.signal(Signal::Stop).unwrap();
    refused(&cluster).await;
    assert_eq!(connected(&cluster.list().await), AGENTS, "agents notice nothing");
    assert_eq!(applied(&cluster.list().await, &hash), AGENTS);
    ledger.signal(Signal::Continue).unwrap();
    goes_on(&cluster, "receivers: {e: {}}").await;
    assert_eq!(full_state_requests(&agents), asked_before, "nobody was asked for anything again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_outlives_a_killed_ledger() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let _agents = cluster.agents(&[0, 1]).await;
    for round in 0..2 {
        let hash = give(&cluster.channel, &format!("receivers: {{r{round}: {{}}}}")).await;
        cluster.real.ledger.kill().unwrap();
        refused(&cluster).await;
        cluster.real.ledger.restart().unwrap();
        until("all have it", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    }
}

/// Every record is broken at once, under agents that only beat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_cannot_be_read_are_rebuilt_by_their_agents() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    let hash = give(&cluster.channel, "receivers: {}").await;
    until("all have it", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    let connects = |agents: &[agent::Handle]| -> u64 {
        agents.iter().map(|agent| agent.see(|agent| agent.ledger.connections)).sum()
    };
    let before = connects(&agents);
    let mut broken = 0;
    for shard in 0..64 {
        let key = format!("{{muster:{shard:02}}}:v1:agents");
        let Answer::List(ids) = cluster.real.records.command(&["HKEYS", &key]).unwrap() else {
            continue;
        };
        for id in ids {
            let Answer::Bytes(id) = id else { continue };
            // Some do not even have a version.
            let garbage: &[u8] = if broken % 4 == 0 { b"\xff" } else { b"\xff garbage \x00\x01" };
            cluster.real.records.command(&[b"HSET", key.as_bytes(), &id, garbage]).unwrap();
            broken += 1;
        }
    }
    assert_eq!(broken, AGENTS);
    // A control that starts now sees nobody at first.
    cluster.real.controls[0].restart().unwrap();
    until("all are known again", async || {
        let Ok(agents) = try_list(&cluster.channel).await else { return false };
        connected(&agents) == AGENTS && applied(&agents, &hash) == AGENTS
    })
    .await;
    assert_eq!(connects(&agents), before, "nobody was cut off");
    assert!(cluster.real.metric("muster_store_quarantined_total") > 0.0);
}
