//! A started `muster`, and commands run against it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take here; far more than it takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where agents connect; empty without that role.
    pub(crate) opamp: String,
    /// Where operators connect; empty without that role.
    pub(crate) control: String,
    /// `host:port` of health and metrics.
    ops: String,
}

/// Asks the ops port over one connection.
pub(crate) struct Probe(BufReader<TcpStream>);

impl Probe {
    /// Status of a page.
    pub(crate) fn status(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: ops\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            Some(line)
        });
        let head: Vec<String> = lines.by_ref().take_while(|line| line != "\r\n").collect();
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().trim().parse().unwrap();
        self.0.read_exact(&mut vec![0; length]).unwrap();
        head[0].split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// `muster` with nothing of the caller's environment in its settings.
pub(crate) fn muster<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MUSTER_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    muster(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Server {
    /// `muster serve` on free ports.
    pub(crate) fn serve(data: &Path) -> Self {
        let data = data.to_str().unwrap();
        Self::start(&["serve", "--data-dir", data, "--log-level", "warn"])
    }

    /// Starts a verb on free ports and reads where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::begin(muster(arguments))
    }

    /// `muster serve` that may have so many files open.
    pub(crate) fn with_files(data: &Path, files: u32) -> Self {
        let muster = muster([OsStr::new("serve"), OsStr::new("--data-dir"), data.as_os_str()]);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $0; exec \"$@\"", &files.to_string()]);
        command.arg(muster.get_program()).args(muster.get_args()).stdin(Stdio::null());
        for (name, value) in muster.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self::begin(command)
    }

    /// Process id, for what only the system can do to it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn begin(mut command: Command) -> Self {
        let anywhere = ["--opamp-listen", "--control-listen", "--ops-listen"];
        for flag in anywhere {
            command.args([flag, "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = read_lines(&mut child);
        let mut listens = BTreeMap::new();
        while !listens.contains_key("ops") {
            let line = lines.recv_timeout(LIMIT).expect("says where it listens");
            let (word, url) = line.split_once(' ').expect("a word and a URL");
            listens.insert(word.to_owned(), url.trim().to_owned());
        }
        let url = |word| listens.get(word).cloned().unwrap_or_default();
        let (opamp, control, ops) = (url("opamp"), url("control"), url("ops"));
        let ops = ops.strip_prefix("http://").unwrap().to_owned();
        Self { child, opamp, control, ops }
    }

    /// Status and body of a page of the ops port.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.ops).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// A connection to the ops port that stays.
    pub(crate) fn probe(&self) -> Probe {
        let stream = TcpStream::connect(&self.ops).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Probe(BufReader::new(stream))
    }

    /// Waits until every role is ready.
    pub(crate) fn wait_ready(&self) {
        wait("ready", || match self.get("/readyz") {
            (200, _) => Ok(()),
            (_, body) => Err(body),
        });
    }

    /// A client command that must do.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// A client command.
    pub(crate) fn client(&self, arguments: &[&str]) -> Output {
        run(arguments.iter().copied().chain(["--server", &self.control]))
    }

    /// Starts a client command that goes on, and reads its lines.
    pub(crate) fn following(&self, arguments: &[&str]) -> (Child, mpsc::Receiver<String>) {
        let mut command = muster(arguments.iter().copied().chain(["--server", &self.control]));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = read_lines(&mut child);
        (child, lines)
    }

    /// The fleet as `muster agents list -o json` shows it.
    pub(crate) fn agents(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.ok(&["agents", "list", "-o", "json"])).unwrap()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        wait("end", || self.child.try_wait().unwrap().ok_or("still running"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name.
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Tries until it works, with a deadline.
pub(crate) fn wait<T, E: std::fmt::Display>(
    what: &str,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "not {what} in {LIMIT:?}: {error}"),
        }
        std::thread::sleep(POLL);
    }
}

fn read_lines(child: &mut Child) -> mpsc::Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // Read on after the test lost interest, or the child blocks on a full pipe.
            let _ = send.try_send(line);
        }
    });
    lines
}
