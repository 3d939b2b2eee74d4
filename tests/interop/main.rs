//! OpAMP clients of others against Muster: what they were written to do must just work.
//!
//! Each runs as a program of its own, driven by a few lines beside this file. `cargo xtask
//! services` installs them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod trust;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use opamp::v1::AgentConfigFile;
use opamp::v1::any_value::Value;
use services::Muster;
use tests::metric;
use tonic::transport::Channel;

/// How long a client may take: the slowest one pauses for half a minute, give or take, after each
/// connection that it could not make.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an idle client is watched, in seconds; it speaks once in each.
const IDLE: u32 = 5;

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

    async fn stop(&mut self) {
        drop(self.child.stdin.take());
        let child = &mut self.child;
        until("it ends", async || child.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts a foreign client at an endpoint; `None` where it is not installed.
fn python(endpoint: &str) -> Option<Command> {
    let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
    let Some(python) = services::python() else {
        assert!(!ci, "run `cargo xtask services`");
        eprintln!("SKIPPED: the OpAMP client of PyPI is not installed");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(here("client.py")).args([endpoint, "1", "interop"]);
    Some(command)
}

fn node(endpoint: &str) -> Option<Command> {
    let Some(packages) = services::node_packages() else {
        eprintln!("SKIPPED: the OpAMP client of npm is not installed");
        return None;
    };
    let mut command = Command::new("node");
    command.arg(here("client.mjs")).arg(packages).args([endpoint, "1", "interop"]);
    Some(command)
}

#[tokio::test]
async fn the_client_of_pypi() {
    managed(true, python).await;
}

#[tokio::test]
async fn the_client_of_npm() {
    managed(false, node).await;
}

/// The life of an agent that operators manage. `says_goodbye`: not every client does.
async fn managed(says_goodbye: bool, command: fn(&str) -> Option<Command>) {
    let data = tempfile::tempdir().unwrap();
    let mut muster = Muster::serve(&["--data-dir", data.path().to_str().unwrap()]).unwrap();
    let endpoint = muster.opamp.clone().unwrap().replacen("ws", "http", 1);
    let mut operator = Operator::connect(&muster).await;
    let Some(mut command) = command(&endpoint) else { return };
    let mut client = Client::start(&mut command);
    let listed =
        operator.until("it is listed", |a| a.status() == ConnectionStatus::Connected).await;
    let name = listed.identifying_attributes.iter().find(|pair| pair.key == "service.name");
    let name = name.and_then(|pair| pair.value.clone()?.value);
    assert_eq!(name, Some(Value::StringValue("interop".to_owned())));

    operator.give("a: 1").await;
    operator.until("it applies a config", |a| config(a).status() == ConfigStatus::Applied).await;
    operator.give("a: please fail").await;
    let failed = operator.until("it fails", |a| config(a).status() == ConfigStatus::Failed).await;
    assert_eq!(config(&failed).error_message, "it asked me to");

    let before = polls(&muster).await;
    tokio::time::sleep(Duration::from_secs(IDLE.into())).await;
    let polled = polls(&muster).await - before;
    let fits = f64::from(IDLE - 1)..=f64::from(IDLE + 1);
    assert!(fits.contains(&polled), "{polled} polls in {IDLE} s, a second between heartbeats");

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
    // A few polls on, it still has not been offered anything again.
    let polled = polls(&muster).await;
    until("it goes on polling", async || polls(&muster).await >= polled + 3.0).await;
    let said = client.said();
    assert_eq!(said.len(), 2, "two offers, each made once, and no error: {said:?}");

    client.stop().await;
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
async fn polls(muster: &Muster) -> f64 {
    metric(muster, "muster_gateway_polls_total").await
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
        let request =
            ApplyConfigRequest { name: "configs/c".to_owned(), files, allow_empty: false };
        ConfigsClient::new(self.channel.clone()).apply_config(request).await.unwrap();
        let assignment = Assignment {
            name: "assignments/everyone".to_owned(),
            config_revision: "configs/c".to_owned(),
            ..Default::default()
        };
        let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
        AssignmentsClient::new(self.channel.clone()).set_assignment(request).await.unwrap();
    }

    /// Agents there are.
    async fn count(&self) -> usize {
        let mut agents = AgentsClient::new(self.channel.clone());
        let list = agents.list_agents(ListAgentsRequest::default()).await.unwrap();
        list.into_inner().agents.len()
    }

    /// Waits until the agent is as it should be.
    async fn until(&self, what: &str, holds: impl Fn(&Agent) -> bool) -> Agent {
        let mut found = None;
        until(what, async || {
            let mut agents = AgentsClient::new(self.channel.clone());
            let list = agents.list_agents(ListAgentsRequest::default()).await;
            found = list.ok().and_then(|list| list.into_inner().agents.pop());
            found.as_ref().is_some_and(&holds)
        })
        .await;
        found.expect("it was there a moment ago")
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}
