//! The processes behind a fleet. A case that needs other settings, or wants something to die, has
//! a fleet of its own.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use anyhow::Context as _;
use services::{Muster, Server};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{Fleet, Form};

impl Fleet {
    /// Starts a fleet with more arguments for each of its processes.
    pub(super) async fn start(form: Form, arguments: &[&str]) -> anyhow::Result<Self> {
        let services = match form {
            Form::Embedded => Vec::new(),
            Form::Cluster => vec![Server::nats()?, Server::redis()?, Server::redis()?],
        };
        let data = tempfile::tempdir()?;
        let muster = serve(form, &data, &services, arguments)?;
        let mut fleet = Self {
            form,
            gateways: Vec::new(),
            channel: channel(&muster)?,
            next_gateway: AtomicUsize::default(),
            next_uid: AtomicU64::new(1),
            muster: Vec::new(),
            services,
            data,
        };
        fleet.take(muster).await?;
        Ok(fleet)
    }

    /// Another fleet of this form, for the caller alone.
    pub(crate) async fn own(&self, arguments: &[&str]) -> Self {
        Self::start(self.form, arguments).await.unwrap()
    }

    /// Kills every process of Muster as a crash would, and starts them again with other arguments
    /// on what is stored.
    pub(crate) async fn restart(&mut self, arguments: &[&str]) {
        for mut process in std::mem::take(&mut self.muster) {
            process.kill().unwrap();
        }
        let muster = serve(self.form, &self.data, &self.services, arguments).unwrap();
        self.take(muster).await.unwrap();
    }

    /// Takes the first process with agents out of the fleet.
    pub(crate) fn remove_gateway(&mut self) -> Muster {
        let at = self.muster.iter().position(|process| process.opamp.is_some()).unwrap();
        let process = self.muster.remove(at);
        self.gateways.retain(|url| Some(url) != process.opamp.as_ref());
        process
    }

    /// The Redis of agents' records, in a cluster.
    pub(crate) fn store(&mut self) -> &mut Server {
        &mut self.services[1]
    }

    /// What the ledger's Redis wrote to its disk, in a cluster.
    pub(crate) fn ledger_file(&self) -> Vec<u8> {
        let dir = self.services[2].data_dir().join("appendonlydir");
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        files.flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Where NATS is, in a cluster, as `host:port`.
    pub(crate) fn bus(&self) -> String {
        self.services[0].url().trim_start_matches("nats://").to_owned()
    }

    /// The sum of a metric over all processes.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for process in &self.muster {
            sum += tests::metric(process, name).await;
        }
        sum
    }

    /// What all processes logged.
    pub(crate) fn log(&self) -> String {
        self.muster.iter().map(Muster::log).collect()
    }

    async fn take(&mut self, muster: Vec<Muster>) -> anyhow::Result<()> {
        self.gateways = muster.iter().filter_map(|process| process.opamp.clone()).collect();
        self.channel = channel(&muster)?;
        self.muster = muster;
        self.until_ready().await;
        Ok(())
    }
}

fn channel(muster: &[Muster]) -> anyhow::Result<Channel> {
    let url = muster.iter().find_map(|process| process.control.clone()).context("no control")?;
    Ok(Channel::from_shared(url)?.connect_lazy())
}

fn serve(
    form: Form,
    data: &TempDir,
    services: &[Server],
    arguments: &[&str],
) -> anyhow::Result<Vec<Muster>> {
    let dir = data.path().to_str().context("a path in UTF-8")?;
    if form == Form::Embedded {
        return Ok(vec![Muster::serve(&[&["--data-dir", dir], arguments].concat())?]);
    }
    let urls: Vec<String> = services.iter().map(Server::url).collect();
    let stores = ["--bus", &urls[0], "--store", &urls[1], "--ledger", &urls[2]];
    // The key of secrets, which a process of its own makes for itself.
    let key = data.path().join("secrets.key");
    std::fs::write(&key, "5a".repeat(32))?;
    let key = ["--secrets-key", key.to_str().context("a path in UTF-8")?];
    let serve =
        |role: &str| Muster::serve(&[&["--role", role], &stores[..], &key[..], arguments].concat());
    let roles = ["fleet-state", "fleet-state", "control", "gateway", "gateway"];
    roles.into_iter().map(serve).collect()
}
