//! OpAMP clients of others against Muster: what they were written to do must just work.
//!
//! Each runs as a program of its own, driven by a few lines beside this file. `cargo xtask
//! services` installs them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::link::{Endpoint, Poller};
use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use opamp::v1::AgentConfigFile;
use services::Muster;
use tonic::transport::Channel;

/// How long a client may take: the slowest pauses for some seconds after a lost connection.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long an idle client is watched, in seconds; it speaks once in each.
const IDLE: u64 = 5;

/// A foreign client at work. It ends by itself once its input ends.
struct Client {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Client {
    fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (output, lines) = (child.stdout.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, said }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    fn stop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_client_of_pypi() {
    let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
    let Some(python) = services::python() else {
        assert!(!ci, "run `cargo xtask services`");
        eprintln!("SKIPPED: the OpAMP client of PyPI is not installed");
        return;
    };
    let driver = here("client.py");
    managed(true, |endpoint| {
        Client::start(Command::new(&python).arg(&driver).args([endpoint, "1", "interop"]))
    })
    .await;
}

#[tokio::test]
async fn the_client_of_npm() {
    let Some(packages) = services::node_packages() else {
        eprintln!("SKIPPED: the OpAMP client of npm is not installed");
        return;
    };
    let driver = here("client.mjs");
    managed(false, |endpoint| {
        let mut command = Command::new("node");
        Client::start(command.arg(&driver).arg(&packages).args([endpoint, "1", "interop"]))
    })
    .await;
}

/// The life of an agent that operators manage. `says_goodbye`: not every client does.
async fn managed(says_goodbye: bool, start: impl Fn(&str) -> Client) {
    let data = tempfile::tempdir().unwrap();
    let mut muster = Muster::serve(&["--data-dir", data.path().to_str().unwrap()]).unwrap();
    let endpoint = muster.opamp.clone().unwrap().replacen("ws", "http", 1);
    let mut operator = Operator::connect(&muster).await;
    let mut client = start(&endpoint);
    operator.until("it is listed", |agent| agent.status() == ConnectionStatus::Connected).await;

    operator.give("a: 1").await;
    operator.until("it applies a config", |a| config(a).status() == ConfigStatus::Applied).await;
    operator.give("a: please fail").await;
    let failed = operator.until("it fails", |a| config(a).status() == ConfigStatus::Failed).await;
    assert_eq!(config(&failed).error_message, "it asked me to");

    let before = polls(&muster).await;
    tokio::time::sleep(Duration::from_secs(IDLE)).await;
    let polled = polls(&muster).await - before;
    assert!(polled <= IDLE + 1, "{polled} polls in {IDLE} s, with a second between heartbeats");

    muster.restart().unwrap();
    operator = Operator::connect(&muster).await;
    let seen = failed.last_seen_time;
    let back = operator
        .until("it is back", |agent| {
            let later = |a: &Agent| a.last_seen_time.map(|t| (t.seconds, t.nanos));
            agent.status() == ConnectionStatus::Connected
                && later(agent) > seen.map(|t| (t.seconds, t.nanos))
        })
        .await;
    assert_eq!(config(&back).status(), ConfigStatus::Failed);
    assert_eq!(back.identifying_attributes, failed.identifying_attributes);
    let said = client.said();
    assert_eq!(said.len(), 2, "two offers, each made once, and no error: {said:?}");

    client.stop();
    if says_goodbye {
        operator.until("it is gone", |a| a.status() == ConnectionStatus::Disconnected).await;
    }
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(file)
}

fn config(agent: &Agent) -> AgentConfig {
    agent.config.clone().unwrap_or_default()
}

/// Polls that the gateway has taken.
async fn polls(muster: &Muster) -> u64 {
    let metrics = format!("{}/metrics", muster.ops);
    let answer = Poller::new(Endpoint::parse(&metrics).unwrap()).get().await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find(|line| line.starts_with("muster_gateway_polls_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// An operator of a fleet with one agent.
struct Operator {
    channel: Channel,
}

impl Operator {
    async fn connect(muster: &Muster) -> Self {
        let url = muster.control.clone().unwrap();
        Self { channel: Channel::from_shared(url).unwrap().connect().await.unwrap() }
    }

    /// Gives every agent a config with this body.
    async fn give(&self, body: &str) {
        let file = AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
        let files = [("collector.yaml".to_owned(), file)].into();
        let request = ApplyConfigRequest { name: "configs/c".to_owned(), files };
        ConfigsClient::new(self.channel.clone()).apply_config(request).await.unwrap();
        let assignment = Assignment {
            name: "assignments/everyone".to_owned(),
            config_revision: "configs/c".to_owned(),
            ..Default::default()
        };
        let request = SetAssignmentRequest { assignment: Some(assignment) };
        AssignmentsClient::new(self.channel.clone()).set_assignment(request).await.unwrap();
    }

    /// Waits until the agent is as it should be.
    async fn until(&self, what: &str, holds: impl Fn(&Agent) -> bool) -> Agent {
        let waiting = async {
            loop {
                let mut agents = AgentsClient::new(self.channel.clone());
                if let Ok(list) = agents.list_agents(ListAgentsRequest::default()).await
                    && let [agent] = &list.get_ref().agents[..]
                    && holds(agent)
                {
                    return agent.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"))
    }
}
