//! What happens to agents when records, or whoever holds their sockets, forget them.

use services::{Muster, Signal};
use tests::metric;

use crate::*;

/// The sum of a metric over processes.
async fn sum(processes: &[Muster], name: &str) -> f64 {
    let mut sum = 0.0;
    for process in processes {
        sum += metric(process, name).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_records_are_reported_again_and_nobody_loses_its_config() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    let hash = give(&cluster.channel, "receivers: {}").await;
    until("all applied", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    let offers = |agents: &[Handle]| {
        agents.iter().map(|agent| agent.see(|agent| agent.ledger.offers)).sum::<u64>()
    };
    let (offered, asked) = (offers(&agents), full_state_requests(&agents));
    cluster.real.records.command(&["FLUSHALL"]).unwrap();
    until("the records are back", async || {
        let agents = cluster.real.records.command(&["KEYS", "*agents"]).unwrap();
        let shards = agents.text().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let count = |shard: &String| {
            let answer = cluster.real.records.command(&["HLEN", shard]).unwrap();
            answer.text().parse::<usize>().unwrap()
        };
        shards.iter().map(count).sum::<usize>() == AGENTS
    })
    .await;
    let after = cluster.list().await;
    assert_eq!((connected(&after), applied(&after, &hash)), (AGENTS, AGENTS));
    assert_eq!(offers(&agents), offered, "they have what they are to have");
    let asked = full_state_requests(&agents) - asked;
    assert!((AGENTS as u64..=2 * AGENTS as u64).contains(&asked), "asked {asked} times");
    let next = give(&cluster.channel, "exporters: {}").await;
    until("all applied the next", async || applied(&cluster.list().await, &next) == AGENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_sleeps_is_reaped_and_is_the_owner_again_when_it_wakes() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0]).await;
    until("all connected", async || connected(&cluster.list().await) == AGENTS).await;
    let asked = full_state_requests(&agents);
    cluster.real.gateways[0].signal(Signal::Stop).unwrap();
    let reaped = async || sum(&cluster.real.workers, "muster_fleet_reaped_total").await >= 40.0;
    until("its sessions are reaped", reaped).await;
    assert_eq!(connected(&cluster.list().await), 0);
    cluster.real.gateways[0].signal(Signal::Continue).unwrap();
    until("all connected", async || connected(&cluster.list().await) == AGENTS).await;
    let hash = give(&cluster.channel, "receivers: {}").await;
    until("all applied", async || applied(&cluster.list().await, &hash) == AGENTS).await;
    assert_eq!(full_state_requests(&agents), asked, "nothing was missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_more_than_its_share_gives_some_away() {
    let Some(cluster) = Cluster::start().await else { return };
    let agents = cluster.swarm(150, &[0], Duration::from_secs(5)).await;
    let shed = async || sum(&cluster.real.gateways, "muster_gateway_shed_total").await >= 10.0;
    until("some are sent away", shed).await;
    until("and come back", async || connected(&cluster.list().await) == 150).await;
    assert_eq!(full_state_requests(&agents), 0, "a clean close costs nothing");
}
