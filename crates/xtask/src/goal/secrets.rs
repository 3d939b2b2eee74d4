//! S10: secrets that are planted wherever operators and agents give some, and looked for wherever
//! others can look: logs, metrics, traces, answers and errors, everything on the bus, the files of
//! Redis and NATS, a backup. Agents must have got them, or nothing was shown.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::core::{Agent, CAPABILITIES};
use agent::link::{Endpoint, Trust};
use agent::{Handle, swarm};
use anyhow::{Context as _, ensure};
use serde_json::json;
use services::{Authority, Cluster, Size, binary};

use super::Figure;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The bits of every class of settings, and of the status.
const SETTINGS: u64 = 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x8000;
/// Bytes taken off the bus at the most.
const TAP_BYTES_MAX: usize = 256 << 20;

/// What was planted, by what it is.
type Planted = BTreeMap<&'static str, String>;

/// Where somebody may look, and what is there.
type Places = Vec<(&'static str, Vec<u8>)>;

pub(super) fn measure(_: &Path, _: bool) -> anyhow::Result<Figure> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(hunt())
}

async fn hunt() -> anyhow::Result<Figure> {
    let dir = tempfile::tempdir()?;
    let mut stage = Stage::new(dir.path())?;
    let (mut said, agents) = (Vec::new(), stage.agents()?);
    for agent in &agents {
        ensure!(agent.until(PATIENCE, |agent| agent.ledger.received > 0).await, "no answer");
    }
    stage.give(&mut said)?;
    let wanted: Vec<String> = TOLD.iter().map(|name| stage.planted[name].clone()).collect();
    for agent in &agents {
        let has = |agent: &Agent| {
            let held = format!("{:?}", agent.connections());
            wanted.iter().all(|canary| held.contains(canary)) && runs(agent)
        };
        ensure!(agent.until(PATIENCE, has).await, "an agent was not told its secrets");
    }
    let uids: Vec<String> = agents.iter().map(|agent| agent.see(Agent::uid).to_string()).collect();
    let places = stage.places(&uids, said)?;
    Ok(judge(&stage.planted, &places))
}

fn runs(agent: &Agent) -> bool {
    agent.config_status().status == 1 && agent.settings_status().is_some_and(|it| it.status == 1)
}

/// Secrets that every agent must have in the end.
const TOLD: [&str; 13] = [
    "metrics header",
    "traces header",
    "logs header",
    "other header",
    "other endpoint",
    "other setting",
    "second other setting",
    "proxy header",
    "proxy password",
    "endpoint password",
    "endpoint query",
    "header from a variable",
    "header from a file",
];

/// What nobody promised to hide: configs are kept and sent as they are.
const IN_CONFIGS: [&str; 2] = ["config password", "config token"];

struct Stage<'a> {
    dir: &'a Path,
    cluster: Cluster,
    planted: Planted,
    tap: Arc<Mutex<Vec<u8>>>,
}

impl<'a> Stage<'a> {
    fn new(dir: &'a Path) -> anyhow::Result<Self> {
        let mut planted = Planted::new();
        let more = ["opamp header", "agent token", "refused header", "broken file"];
        for (number, name) in (1..).zip(TOLD.iter().chain(&more).chain(&IN_CONFIGS)) {
            planted.insert(name, format!("c4n4ry{number:02}x7b1f5e90"));
        }
        let key = dir.join("key");
        std::fs::write(&key, "5a".repeat(32))?;
        let tokens = dir.join("tokens");
        std::fs::write(&tokens, format!("collectors {}\n", planted["agent token"]))?;
        let (key, tokens) = (text(&key)?, text(&tokens)?);
        let arguments =
            ["--secrets-key", key, "--agent-token-file", tokens, "--log-level", "debug"];
        let cluster = Cluster::start(Size::default(), &arguments)?;
        let tap = listen(cluster.nats[0].socket_address())?;
        Ok(Self { dir, cluster, planted, tap })
    }

    /// One on a WebSocket, one that polls.
    fn agents(&self) -> anyhow::Result<Vec<Handle>> {
        let url = self.cluster.gateways[0].opamp.clone().context("no gateway")?;
        let start = |(number, polls): (usize, bool)| {
            let trust = Trust::default().token(&self.planted["agent token"]);
            let endpoint = Endpoint { polls, ..Endpoint::parse(&url)?.trusting(trust) };
            let settings = agent::Settings {
                capabilities: CAPABILITIES | SETTINGS,
                heartbeat_ms: 200,
                ..swarm::settings(number)
            };
            Ok(agent::start_at(settings, endpoint))
        };
        [(0, false), (1, true)].into_iter().map(start).collect()
    }

    /// Applies and assigns everything.
    fn give(&mut self, said: &mut Vec<u8>) -> anyhow::Result<()> {
        let authority = Authority::new()?;
        let pair = authority.client("collectors")?;
        let key = std::fs::read_to_string(&pair.key)?;
        let line = key.lines().nth(1).context("no key")?;
        self.planted.insert("private key", line.to_owned());
        let endpoint = self.cluster.gateways[1].opamp.clone().context("no gateway")?;
        std::fs::write(self.dir.join("header"), &self.planted["header from a file"])?;
        let files = self.files(&endpoint, &pair.certificate, &pair.key, &authority.file())?;
        for (name, text) in files {
            let file = self.dir.join(format!("{name}.yaml"));
            std::fs::write(&file, text)?;
            self.type_in(&["settings", "apply", name, "-f", self::text(&file)?], said, true)?;
            // The one that polls would be told to open a WebSocket.
            let selector = if name == "opamp" { "service.instance.id=agent-0" } else { "" };
            let assign = ["assign", "set", name, "-l", selector, "--settings", name, "--yes"];
            self.type_in(&assign, said, true)?;
        }
        self.mistakes(said)?;
        let config = format!(
            "exporters:\n  kafka: {{password: {}}}\n  otlp: {{token: {}}}\n",
            self.planted["config password"], self.planted["config token"]
        );
        let file = self.dir.join("config.yaml");
        std::fs::write(&file, config)?;
        self.type_in(&["config", "apply", "c", "-f", text(&file)?], said, true)?;
        self.type_in(&["assign", "set", "c", "-l", "", "--config", "c", "--yes"], said, true)
    }

    /// Settings files by their class.
    fn files(
        &self,
        opamp: &str,
        cert: &Path,
        key: &Path,
        ca: &Path,
    ) -> anyhow::Result<Vec<(&'static str, String)>> {
        let it = |name: &str| &self.planted[name];
        let certificate = format!(
            "certificate: {{cert_file: {}, key_file: {}, ca_file: {}}}\n",
            text(cert)?,
            text(key)?,
            text(ca)?
        );
        let metrics = format!(
            "class: own-metrics\nendpoint: https://u:{}@otel:4318/v1/metrics?key={}\nheaders:\n  \
             a: {}\n  b: {{value_env: S10_HEADER}}\n  c: {{value_file: header}}\n{certificate}\
             proxy:\n  url: http://u:{}@proxy:3128\n  headers: {{proxy-authorization: {}}}\n",
            it("endpoint password"),
            it("endpoint query"),
            it("metrics header"),
            it("proxy password"),
            it("proxy header")
        );
        let telemetry = |signal: &str| {
            let header = it(&format!("{signal} header"));
            format!(
                "class: own-{signal}\nendpoint: https://otel:4318/v1/{signal}\nheaders:\n  \
                 authorization: Bearer {header}\n"
            )
        };
        let other = format!(
            "class: other/db\nendpoint: postgres://u:{}@db:5432\nheaders: {{a: {}}}\n\
             settings: {{password: {}, user: {}}}\n{certificate}",
            it("other endpoint"),
            it("other header"),
            it("other setting"),
            it("second other setting")
        );
        let own = format!(
            "class: opamp\nendpoint: {opamp}\nheartbeat: 1s\nheaders:\n  x-token: {}\n  \
             authorization: Bearer {}\n",
            it("opamp header"),
            it("agent token")
        );
        let (traces, logs) = (telemetry("traces"), telemetry("logs"));
        Ok(vec![
            ("metrics", metrics),
            ("traces", traces),
            ("logs", logs),
            ("db", other),
            ("opamp", own),
        ])
    }

    /// What is refused, by the server and by the command line.
    fn mistakes(&self, said: &mut Vec<u8>) -> anyhow::Result<()> {
        let refused = &self.planted["refused header"];
        let broken = &self.planted["broken file"];
        for text in [
            format!("class: own-logs\nendpoint: u:{refused}@h\nheaders: {{a: {refused}}}\n"),
            format!(
                "class: own-logs\nendpoint: https://h/v1/logs\nheaders: {{'a b': {refused}}}\n"
            ),
            format!("class: own-logs\nheaders: {broken}\n"),
            format!("class: own-logs\nheaders: {{a: {broken}\n"),
        ] {
            let file = self.dir.join("wrong.yaml");
            std::fs::write(&file, text)?;
            self.type_in(&["settings", "apply", "w", "-f", self::text(&file)?], said, false)?;
        }
        Ok(())
    }

    /// Types a command and keeps what it says.
    fn type_in(&self, words: &[&str], said: &mut Vec<u8>, works: bool) -> anyhow::Result<()> {
        let server = self.cluster.controls[0].control.clone().context("no control")?;
        let output = Command::new(binary("muster")?)
            .args(words)
            .args(["--server", &server])
            .env("S10_HEADER", &self.planted["header from a variable"])
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() == works, "muster {}: {told}", words.join(" "));
        said.extend(output.stdout);
        said.extend(output.stderr);
        Ok(())
    }

    /// Everything that somebody could read.
    fn places(&self, uids: &[String], mut said: Vec<u8>) -> anyhow::Result<Places> {
        let mut traces = Vec::new();
        for name in ["metrics", "traces", "logs", "db", "opamp"] {
            self.type_in(&["settings", "get", name, "-o", "json"], &mut said, true)?;
        }
        self.type_in(&["settings", "list"], &mut said, true)?;
        self.type_in(&["assign", "list", "-o", "json"], &mut said, true)?;
        for uid in uids {
            let trace = ["agents", "trace", uid, "--last", "1000", "--no-follow", "--bodies"];
            self.type_in(&trace, &mut traces, true)?;
            self.type_in(&[&trace[..], &["-o", "json"]].concat(), &mut traces, true)?;
        }
        let (mut logs, mut metrics) = (Vec::new(), Vec::new());
        for process in self.cluster.processes() {
            logs.extend(process.log().into_bytes());
            metrics.extend(format!("{:?}", process.metrics()?).into_bytes());
        }
        let (cluster, backup) = (&self.cluster, self.dir.join("backup"));
        let ledger = cluster.ledger.url();
        let words = ["backup", "--ledger", &ledger, text(&backup)?];
        let status = Command::new(binary("muster")?).args(words).output()?.status;
        ensure!(status.success(), "no backup");
        cluster.ledger.command(&["SAVE"])?;
        cluster.records.command(&["SAVE"])?;
        let bus = self.tap.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(vec![
            ("logs", logs),
            ("metrics", metrics),
            ("traces", traces),
            ("answers and errors", said),
            ("bus", bus),
            ("files of the ledger", below(cluster.ledger.data_dir())?),
            ("files of the records", below(cluster.records.data_dir())?),
            ("files of NATS", below(cluster.nats[0].data_dir())?),
            ("backup", std::fs::read(backup)?),
        ])
    }
}

fn judge(planted: &Planted, places: &Places) -> Figure {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, canary) in planted {
        for (place, bytes) in places {
            if holds(bytes, canary.as_bytes()) {
                found.entry(name).or_default().push(place);
            }
        }
    }
    let empty: Vec<&str> =
        places.iter().filter(|(_, bytes)| bytes.is_empty()).map(|(place, _)| *place).collect();
    let shown: Vec<String> =
        found.iter().map(|(name, places)| format!("{name} in {}", places.join(", "))).collect();
    let beside = found.keys().filter(|name| !IN_CONFIGS.contains(name)).count();
    let text = format!(
        "{} of {} planted were found in {} places, {beside} of them outside configs{}{}",
        found.len(),
        planted.len(),
        places.len(),
        if shown.is_empty() { String::new() } else { format!(": {}", shown.join("; ")) },
        if empty.is_empty() { String::new() } else { format!("; nothing in {empty:?}") },
    );
    let sizes: BTreeMap<&str, usize> =
        places.iter().map(|(place, bytes)| (*place, bytes.len())).collect();
    let values = json!({ "planted": planted.len(), "found": found, "bytes": sizes });
    Figure { pass: found.is_empty() && empty.is_empty(), text, values }
}

/// Keeps everything that is said on the bus from now on.
fn listen(nats: std::net::SocketAddr) -> anyhow::Result<Arc<Mutex<Vec<u8>>>> {
    let mut tap = TcpStream::connect(nats)?;
    tap.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\n")?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keeping = heard.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 64 << 10];
        while let Ok(read @ 1..) = tap.read(&mut bytes) {
            let mut heard = keeping.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.len() + read > TAP_BYTES_MAX {
                return;
            }
            heard.extend_from_slice(&bytes[..read]);
            if bytes[..read].starts_with(b"PING") && tap.write_all(b"PONG\r\n").is_err() {
                return;
            }
        }
    });
    Ok(heard)
}

/// Every file below a folder, one after the other.
fn below(dir: &Path) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => all.extend(below(&path)?),
            // A file that goes away meanwhile holds nothing any more.
            false => all.extend(std::fs::read(&path).unwrap_or_default()),
        }
    }
    Ok(all)
}

fn holds(bytes: &[u8], canary: &[u8]) -> bool {
    bytes.windows(canary.len()).any(|part| part == canary)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path in UTF-8")
}
