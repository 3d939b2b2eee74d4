//! Processes that die or stand still beside others that go on.

use services::{Signal, Size};

use crate::{AGENTS, Cluster, PATIENCE, applied, connected, try_give, until, until_within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_outlives_one_of_its_nats_servers() {
    let size = Size { nats: 3, controls: 2, ..Size::default() };
    let Some(mut cluster) = Cluster::of(size).await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    until("all are listed", async || connected(&cluster.list().await) == AGENTS).await;
    cluster.real.nats[0].kill().unwrap();
    let mut hash = Vec::new();
    until("a decision is taken", async || {
        hash = try_give(&cluster.channel, "receivers: {}").await.unwrap_or_default();
        !hash.is_empty()
    })
    .await;
    // What was lost on the way is told again at the reconciler's next look, 30 s later at most.
    let run = async || applied(&cluster.list().await, &hash) == AGENTS;
    until_within(PATIENCE * 3, "all run it", run).await;
    cluster.real.nats[0].restart().unwrap();
    assert_eq!(agents.len(), AGENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_stands_still_and_goes_on_where_it_was() {
    let Some(cluster) = Cluster::start().await else { return };
    let worker = &cluster.real.workers[0];
    worker.signal(Signal::Stop).unwrap();
    let hung = tokio::time::timeout(std::time::Duration::from_millis(300), async {
        tests::metric(worker, "muster_fleet_reports_total").await
    });
    assert!(hung.await.is_err(), "it answers nobody");
    worker.signal(Signal::Continue).unwrap();
    until("it answers again", async || worker.is_ready()).await;
}
