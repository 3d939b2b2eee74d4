//! Muster itself as a process: started, listened to, ended in every way a process can end.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

/// How long it may take to say where it listens, or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often an ending process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A `muster serve` that ends with this value.
#[derive(Debug)]
pub struct Muster {
    child: Child,
    arguments: Vec<String>,
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
    /// Starts `muster serve` with these arguments, on ports of its own choice, and waits until it
    /// says where it listens.
    pub fn serve(arguments: &[&str]) -> anyhow::Result<Self> {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self::listen(arguments, &["127.0.0.1:0"; 3].map(str::to_owned))
    }

    /// Ends it as a crash would and starts it again on the same ports.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let address = |url: Option<&str>| {
            let address = url.and_then(|url| url.split('/').nth(2)).unwrap_or("127.0.0.1:0");
            address.to_owned()
        };
        let ports =
            [self.opamp.as_deref(), self.control.as_deref(), Some(self.ops.as_str())].map(address);
        *self = Self::listen(self.arguments.clone(), &ports)?;
        Ok(())
    }

    /// Starts it with listeners for agents, operators and ops.
    fn listen(arguments: Vec<String>, ports: &[String; 3]) -> anyhow::Result<Self> {
        let log = NamedTempFile::new()?;
        let [opamp, control, ops] = ports;
        let mut child = Command::new(binary("muster")?)
            .args(["serve", "--opamp-listen", opamp, "--control-listen", control])
            .args(["--ops-listen", ops])
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log.path())?)
            .spawn()
            .context("starting muster")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (opamp, control, ops) = (None, None, String::new());
        let mut muster = Self { child, arguments, log, opamp, control, ops };
        muster.hear(output)?;
        Ok(muster)
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
        let pid = self.pid().to_string();
        anyhow::ensure!(Command::new("kill").arg(&pid).status()?.success(), "kill {pid} failed");
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
