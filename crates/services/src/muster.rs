//! Muster itself as a process: started, listened to, ended in every way a process can end.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

use crate::signal::{self, Signal};
use crate::{Metrics, metrics, ports};

/// How long it may take to say where it listens, or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often an ending process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A `muster serve` that ends with this value.
#[derive(Debug)]
pub struct Muster {
    child: Child,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    /// Where it listens for agents, operators and ops, if it does.
    ports: [String; 3],
    /// Of all its lives.
    log: NamedTempFile,
    /// `ws://…`, if it holds agents.
    pub opamp: Option<String>,
    /// `http://…`, if it serves operators.
    pub control: Option<String>,
    /// `http://…` of health and metrics.
    pub ops: String,
}

/// The binary built with the profile of the running program.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/PROFILE/xtask, or target/PROFILE/deps/conformance-HASH.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.with_context(|| {
        format!("{name} is not built beside {}: build it with the same profile", own.display())
    })
}

impl Muster {
    /// What it was started with, beside its ports.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Starts `muster serve` with these arguments, on ports of its own choice, and waits until it
    /// says where it listens.
    pub fn serve(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::serve_with(arguments, &[])
    }

    /// The same with these variables in its environment.
    pub fn serve_with(arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<(String, String)> = variables.iter().map(own).collect();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let address = || ports::free().map(|address| address.to_string());
        let ports = [address()?, address()?, address()?];
        let log = NamedTempFile::new()?;
        let mut child = spawn(&arguments, &variables, &ports, log.path(), Stdio::piped())?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (opamp, control, ops) = (None, None, String::new());
        let mut muster = Self { child, arguments, variables, ports, log, opamp, control, ops };
        muster.hear(output)?;
        Ok(muster)
    }

    /// Ends it as a crash would and starts it again on the same ports.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.child =
            spawn(&self.arguments, &self.variables, &self.ports, self.log_path(), Stdio::piped())?;
        let output = self.child.stdout.take().context("no output")?;
        self.hear(BufReader::new(output))
    }

    /// The same without waiting for it.
    pub fn relaunch(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.child =
            spawn(&self.arguments, &self.variables, &self.ports, self.log_path(), Stdio::null())?;
        Ok(())
    }

    /// Takes in where it listens.
    fn hear(&mut self, output: BufReader<ChildStdout>) -> anyhow::Result<()> {
        let (lines, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = said.recv_timeout(left) else {
                bail!("muster did not say where it listens: {}", self.log());
            };
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "opamp" => self.opamp = Some(rest.trim().to_owned()),
                "control" => self.control = Some(rest.trim().to_owned()),
                // The one line that every role prints comes last.
                "ops" => {
                    rest.trim().clone_into(&mut self.ops);
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// Process id, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::Terminate)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("muster did not end within {PATIENCE:?}: {}", self.log());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signal::send(&self.child, signal)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it counts.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::read(&self.ops)
    }

    /// Whether it says that every role of it is ready.
    pub fn is_ready(&self) -> bool {
        let address = self.ops.trim_start_matches("http://").parse().ok();
        let got = address.and_then(|address| metrics::get(address, "/readyz").ok());
        got.is_some_and(|(status, _)| status == 200)
    }

    /// Bytes of memory that it has in use.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        signal::resident_bytes(self.pid())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> &Path {
        self.log.path()
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(
    arguments: &[String],
    variables: &[(String, String)],
    [opamp, control, ops]: &[String; 3],
    log: &Path,
    output: Stdio,
) -> anyhow::Result<Child> {
    Command::new(binary("muster")?)
        .args(["serve", "--opamp-listen", opamp, "--control-listen", control])
        .args(["--ops-listen", ops])
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(OpenOptions::new().append(true).open(log)?)
        .spawn()
        .context("starting muster")
}
