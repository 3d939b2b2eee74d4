//! One agent, connected by hand: for goals in which agents stop reading, vanish or are refused.
//! What an agent says is the reference agent's business; when it listens is the goal's.

use std::process::Command;
use std::time::{Duration, Instant};

use agent::core::{Agent, Settings};
use agent::link::{Endpoint, WebSocket};
use agent::swarm;
use anyhow::{Context as _, ensure};
use services::{Muster, binary};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connected agent.
pub(super) struct Peer {
    socket: WebSocket,
    agent: Agent,
    started: Instant,
}

impl Peer {
    /// Connects the agent of this number, and reports.
    pub(super) async fn connect(endpoint: &Endpoint, number: usize) -> Result<Self, agent::Error> {
        let settings =
            Settings { heartbeat_ms: 0, keeps_entries: false, ..swarm::settings(number) };
        let socket = WebSocket::connect(endpoint, &[]).await?;
        let mut peer = Self { socket, agent: Agent::new(settings), started: Instant::now() };
        peer.agent.connected();
        peer.speak().await?;
        tokio::time::timeout(PATIENCE, peer.listen())
            .await
            .map_err(|_| agent::Error::TimedOut(PATIENCE))??;
        match peer.agent.ledger.errors {
            0 => Ok(peer),
            _ => Err(agent::Error::Protocol("refused after it was let in".to_owned())),
        }
    }

    /// Hears the next message, and says what follows from it. True if it offered a config.
    pub(super) async fn listen(&mut self) -> Result<bool, agent::Error> {
        let message = self.socket.receive(Duration::MAX).await?;
        self.agent.hear(&message, 0);
        self.speak().await?;
        Ok(message.remote_config.is_some())
    }

    /// The number in the first line of the config that it runs, `# NUMBER`.
    pub(super) fn config(&self) -> Option<usize> {
        let file = self.agent.effective_config().config_map.as_ref()?.config_map.values().next()?;
        let line = file.body.split(|byte| *byte == b'\n').next()?;
        std::str::from_utf8(line).ok()?.strip_prefix("# ")?.parse().ok()
    }

    /// Ends with a proper close.
    pub(super) async fn close(self) -> Result<(), agent::Error> {
        self.socket.close().await
    }

    async fn speak(&mut self) -> Result<(), agent::Error> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        while let Some(message) = self.agent.next_message(now_ms) {
            self.socket.send(&message).await?;
        }
        Ok(())
    }
}

/// Where agents connect.
pub(super) fn endpoint(muster: &Muster) -> anyhow::Result<Endpoint> {
    Ok(Endpoint::parse(muster.opamp.as_deref().context("no gateway")?)?)
}

/// Types a command; returns what it said.
pub(super) fn operator(muster: &Muster, words: &[&str]) -> anyhow::Result<String> {
    let server = muster.control.as_deref().context("no control")?;
    let output = Command::new(binary("muster")?).args(words).args(["--server", server]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "muster {}: {said}", words.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Files that a process has open.
pub(super) fn open_files(muster: &Muster) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", muster.pid()))?.count())
}
