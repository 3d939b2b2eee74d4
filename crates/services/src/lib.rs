//! The real NATS and Redis for tests and tools: found, started on free ports, in the open or
//! behind TLS and a password, stopped when dropped; the `muster` binary in the same way; and
//! certificates; and the files that formats are held to. None of Muster's code may enter here, and
//! no product crate depends on it.

mod authority;
mod golden;
mod lock;
mod muster;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

pub use authority::{Authority, Pair};
pub use golden::Golden;
pub use lock::{Lock, PASSWORD, USER};
pub use muster::{Muster, binary};

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
    /// Its settings, if it has a lock.
    locked: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nats,
    Redis,
}

/// Where the project's own set-up (`cargo xtask services`) puts what the machine lacks.
pub fn install_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/services")
}

/// A Python that has the OpAMP client of PyPI, where set-up made one.
pub fn python() -> Option<PathBuf> {
    Some(install_dir().join("python/bin/python")).filter(|python| python.is_file())
}

/// A folder in which Node finds the OpAMP client of npm, where set-up made one.
pub fn node_packages() -> Option<PathBuf> {
    let folder = install_dir().join("node");
    folder.join("node_modules/@elastic/opamp-client-node").is_dir().then_some(folder)
}

/// The program to start: from the project's own set-up, else from the machine.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(install_dir().join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
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

    /// The same NATS, for [`USER`] with [`PASSWORD`] alone, and only inside TLS.
    pub fn locked_nats(lock: &Lock) -> anyhow::Result<Self> {
        Self::start(Kind::Nats, Some(&lock.nats()))
    }

    /// The same Redis, for [`USER`] with [`PASSWORD`] alone, and only inside TLS.
    pub fn locked_redis(lock: &Lock) -> anyhow::Result<Self> {
        Self::start(Kind::Redis, Some(&lock.redis()))
    }

    /// NATS with settings of its own, beside address and data.
    pub fn nats_with(settings: &str) -> anyhow::Result<Self> {
        Self::start(Kind::Nats, Some(settings))
    }

    /// `nats://…` or `redis://…`; of one with a lock `tls://…` or `rediss://…`. Without
    /// credentials.
    pub fn url(&self) -> String {
        let scheme = match (self.kind, &self.locked) {
            (Kind::Nats, None) => "nats",
            (Kind::Nats, Some(_)) => "tls",
            (Kind::Redis, None) => "redis",
            (Kind::Redis, Some(_)) => "rediss",
        };
        format!("{scheme}://{}", self.address)
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the settings of a server that has its own, for its next start.
    pub fn set(&self, settings: &str) -> anyhow::Result<()> {
        let file = self.locked.as_ref().context("this server has no settings of its own")?;
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

    /// Starts the server again on its old port and data.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let _ = self.kill();
        self.child = spawn(self.kind, self.address, self.data.path(), self.locked.as_deref())?;
        self.wait()
    }

    fn start(kind: Kind, settings: Option<&str>) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let locked = settings.map(|_| data.path().join("settings"));
        if let (Some(file), Some(settings)) = (&locked, settings) {
            std::fs::write(file, settings)?;
        }
        let child = spawn(kind, address, data.path(), locked.as_deref())?;
        let mut server = Self { child, kind, address, data, locked };
        server.wait()?;
        Ok(server)
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
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut answer = [0; 5];
        if self.kind == Kind::Redis {
            stream.write_all(b"PING\r\n")?;
        }
        if self.kind == Kind::Redis && self.locked.is_some() {
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
    locked: Option<&Path>,
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
            command.args(locked.map(|_| "-c")).args(locked);
        }
        Kind::Redis => {
            let ports = match locked {
                Some(_) => ["--port", "0", "--tls-port", &port],
                None => ["--port", &port, "--tls-port", "0"],
            };
            command.args(locked).args(["--bind", &host]).args(ports);
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
