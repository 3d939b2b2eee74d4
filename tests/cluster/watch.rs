//! A watch over a control that is killed while the fleet changes all the time.

use std::collections::BTreeMap;
use std::time::Instant;

use agent::Handle;
use control::v1::agents_client::AgentsClient;
use control::v1::watch_agents_response::Change;
use control::v1::{WatchAgentsRequest, WatchAgentsResponse};
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use crate::{AGENTS, Cluster, PATIENCE};

/// Changes of each agent.
const CHANGES: usize = 75;

/// What somebody holds who watches, and where to go on.
#[derive(Default)]
struct Watcher {
    position: String,
    /// Newest version of each agent.
    versions: BTreeMap<String, u64>,
    /// Status text of each agent's health.
    health: BTreeMap<String, String>,
    told: usize,
}

impl Watcher {
    async fn open(&self, cluster: &Cluster) -> Streaming<WatchAgentsResponse> {
        let request = WatchAgentsRequest { position: self.position.clone(), ..Default::default() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut agents = AgentsClient::new(cluster.channel.clone());
            match agents.watch_agents(request.clone()).await {
                Ok(stream) => return stream.into_inner(),
                Err(status) => assert!(Instant::now() < deadline, "{status}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Every version of every agent comes once, and in order.
    fn take(&mut self, message: WatchAgentsResponse) {
        let change = message.change();
        if !message.position.is_empty() {
            self.position = message.position;
        }
        let Some(agent) = message.agent else { return };
        let before = self.versions.insert(agent.name.clone(), agent.version);
        if change != Change::Snapshot
            && let Some(before) = before
        {
            assert_eq!(agent.version, before + 1, "{} after {before}", agent.name);
            self.told += 1;
        }
        let status = agent.health.map(|health| health.status).unwrap_or_default();
        self.health.insert(agent.name, status);
    }

    async fn read(
        &mut self,
        stream: &mut Streaming<WatchAgentsResponse>,
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), Status> {
        while !done(self) {
            let next = tokio::time::timeout(PATIENCE, stream.message()).await;
            match next.expect("a message or an end in time")? {
                Some(message) => self.take(message),
                None => return Err(Status::unavailable("ended")),
            }
        }
        Ok(())
    }
}

/// Changes agents' health one report after the other, each as fast as it is answered.
fn stir(agents: Vec<Handle>) -> JoinSet<Handle> {
    let mut stirring = JoinSet::new();
    for agent in agents {
        stirring.spawn(async move {
            for n in 1..=CHANGES {
                let before = agent.see(|agent| agent.ledger.received);
                agent.change(|agent| agent.set_health(true, &n.to_string(), ""));
                assert!(agent.until(PATIENCE, |agent| agent.ledger.received > before).await);
            }
            agent
        });
    }
    stirring
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_control_costs_a_watch_no_change() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let agents = cluster.agents(&[0, 1]).await;
    let mut watcher = Watcher::default();
    let mut stream = watcher.open(&cluster).await;
    watcher.read(&mut stream, |watcher| watcher.versions.len() == AGENTS).await.unwrap();

    let start = Instant::now();
    let mut stirring = stir(agents);
    for enough in [AGENTS * CHANGES / 5, AGENTS * CHANGES / 2] {
        watcher.read(&mut stream, |watcher| watcher.told >= enough).await.unwrap();
        cluster.real.controls[0].restart().unwrap();
        let ended = watcher.read(&mut stream, |_| false).await;
        assert!(ended.is_err(), "the stream of a killed control ends");
        stream = watcher.open(&cluster).await;
    }
    let last = CHANGES.to_string();
    let settled = |watcher: &Watcher| watcher.health.values().all(|status| *status == last);
    watcher.read(&mut stream, settled).await.unwrap();
    let mut stirred = Vec::new();
    while let Some(agent) = stirring.join_next().await {
        stirred.push(agent.unwrap());
    }
    assert!(watcher.told >= AGENTS * CHANGES, "{} changes told", watcher.told);
    eprintln!("{} changes a second", watcher.told as f64 / start.elapsed().as_secs_f64());
}
