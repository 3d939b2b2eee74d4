//! A NATS or Redis process.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::redis::{self, Answer};
use crate::signal::{self, Signal};
use crate::{Lock, find, metrics, ports};

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a starting server is tried.
const POLL: Duration = Duration::from_millis(5);

/// A server process that ends with this value. Its data directory goes with it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    kind: Kind,
    address: SocketAddr,
    data: TempDir,
    /// Its settings, if it has some of its own.
    settings: Option<PathBuf>,
    /// Where NATS says how it is, if it is one of several.
    monitor: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nats,
    Redis,
}

impl Server {
    /// Starts NATS with JetStream.
    pub fn nats() -> anyhow::Result<Self> {
        Self::start(Kind::Nats, None)
    }

    /// Starts Redis as the ledger needs it: every write on disk, nothing evicted.
    pub fn redis() -> anyhow::Result<Self> {
        Self::start(Kind::Redis, None)
    }

    /// The same NATS, for [`USER`](crate::USER) with [`PASSWORD`](crate::PASSWORD) alone, and only
    /// inside TLS.
    pub fn locked_nats(lock: &Lock) -> anyhow::Result<Self> {
        Self::start(Kind::Nats, Some(&lock.nats()))
    }

    /// The same Redis, for [`USER`](crate::USER) with [`PASSWORD`](crate::PASSWORD) alone, and only
    /// inside TLS.
    pub fn locked_redis(lock: &Lock) -> anyhow::Result<Self> {
        Self::start(Kind::Redis, Some(&lock.redis()))
    }

    /// NATS with settings of its own, beside address and data.
    pub fn nats_with(settings: &str) -> anyhow::Result<Self> {
        Self::start(Kind::Nats, Some(settings))
    }

    /// So many NATS that are one, each on a server of its own. `way` says how one reaches another:
    /// it gets both numbers and where the other listens.
    pub fn nats_cluster(
        count: usize,
        way: &mut dyn FnMut(usize, usize, SocketAddr) -> anyhow::Result<SocketAddr>,
    ) -> anyhow::Result<Vec<Self>> {
        let free = || (0..count).map(|_| ports::free()).collect::<Result<Vec<_>, _>>();
        let (routes, monitors) = (free()?, free()?);
        let mut servers = Vec::with_capacity(count);
        for (number, (route, monitor)) in routes.iter().zip(&monitors).enumerate() {
            let mut others = String::new();
            for (other, address) in routes.iter().enumerate().filter(|(other, _)| *other != number)
            {
                let _ = writeln!(others, "nats://{}", way(number, other, *address)?);
            }
            // Clients go where they were told to, and nowhere else.
            let settings = format!(
                "server_name: nats-{number}\nhttp: \"{monitor}\"\nping_interval: \"2s\"\n\
                 cluster {{\nname: muster\nlisten: \"{route}\"\nno_advertise: true\n\
                 routes: [\n{others}]\n}}\n"
            );
            let mut server = Self::begin(Kind::Nats, Some(&settings))?;
            server.monitor = Some(*monitor);
            servers.push(server);
        }
        servers.iter_mut().try_for_each(Self::wait)?;
        Ok(servers)
    }

    /// `nats://…` or `redis://…`; of one with a lock `tls://…` or `rediss://…`. Without
    /// credentials.
    pub fn url(&self) -> String {
        self.url_at(self.address)
    }

    /// The same by way of another address.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        let locked = self.settings.is_some() && self.monitor.is_none();
        let scheme = match (self.kind, locked) {
            (Kind::Nats, false) => "nats",
            (Kind::Nats, true) => "tls",
            (Kind::Redis, false) => "redis",
            (Kind::Redis, true) => "rediss",
        };
        format!("{scheme}://{address}")
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Where it listens.
    pub fn socket_address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the settings of a server that has its own, for its next start.
    pub fn set(&self, settings: &str) -> anyhow::Result<()> {
        let file = self.settings.as_ref().context("this server has no settings of its own")?;
        Ok(std::fs::write(file, settings)?)
    }

    /// Process id, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server as a crash would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signal::send(&self.child, signal)
    }

    /// Starts the server again on its old port and data.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.relaunch()?;
        self.wait()
    }

    /// The same without waiting for it.
    pub fn relaunch(&mut self) -> anyhow::Result<()> {
        let _ = self.kill();
        self.child = spawn(self.kind, self.address, self.data.path(), self.settings.as_deref())?;
        Ok(())
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it answers now.
    pub fn is_there(&self) -> bool {
        self.answers().unwrap_or(false)
    }

    /// What Redis answers to a command, on a connection of its own.
    pub fn command<W: AsRef<[u8]>>(&self, words: &[W]) -> anyhow::Result<Answer> {
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        redis::command(self.address, &words, true)
    }

    /// The same where nobody waits for the answer.
    pub fn tell<W: AsRef<[u8]>>(&self, words: &[W]) -> anyhow::Result<()> {
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        redis::command(self.address, &words, false).map(drop)
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    fn start(kind: Kind, settings: Option<&str>) -> anyhow::Result<Self> {
        let mut server = Self::begin(kind, settings)?;
        server.wait()?;
        Ok(server)
    }

    fn begin(kind: Kind, settings: Option<&str>) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let address = ports::free()?;
        let file = settings.map(|_| data.path().join("settings"));
        if let (Some(file), Some(settings)) = (&file, settings) {
            std::fs::write(file, settings)?;
        }
        let child = spawn(kind, address, data.path(), file.as_deref())?;
        Ok(Self { child, kind, address, data, settings: file, monitor: None })
    }

    /// Waits until the server answers its own protocol.
    fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("{:?} ended at once: {status}", self.kind);
            }
            if self.answers().unwrap_or(false) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        bail!("{:?} did not answer on {} in {START_TIMEOUT:?}", self.kind, self.address)
    }

    fn answers(&self) -> anyhow::Result<bool> {
        if let Some(monitor) = self.monitor {
            // Whether JetStream has a leader, and follows it.
            return Ok(metrics::get(monitor, "/healthz")?.0 == 200);
        }
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut answer = [0; 5];
        if self.kind == Kind::Redis {
            stream.write_all(b"PING\r\n")?;
        }
        if self.kind == Kind::Redis && self.settings.is_some() {
            // It hangs up on who speaks no TLS: that is an answer too.
            let read = stream.read(&mut answer);
            return Ok(!read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        }
        stream.read_exact(&mut answer)?;
        Ok(answer.starts_with(b"INFO ") || answer.starts_with(b"+PONG"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(
    kind: Kind,
    address: SocketAddr,
    data: &Path,
    settings: Option<&Path>,
) -> anyhow::Result<Child> {
    let name = match kind {
        Kind::Nats => "nats-server",
        Kind::Redis => "redis-server",
    };
    let program = find(name)
        .with_context(|| format!("{name} is not installed: run `cargo xtask services`"))?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new(program);
    match kind {
        Kind::Nats => {
            command.args(["-a", &host, "-p", &port, "-js", "-sd"]).arg(data);
            command.args(settings.map(|_| "-c")).args(settings);
        }
        Kind::Redis => {
            let ports = match settings {
                Some(_) => ["--port", "0", "--tls-port", &port],
                None => ["--port", &port, "--tls-port", "0"],
            };
            command.args(settings).args(["--bind", &host]).args(ports);
            command
                .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
                .args(["--maxmemory-policy", "noeviction", "--enable-debug-command", "yes"])
                .arg("--dir")
                .arg(data);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {name}"))
}
