//! The life of a server process: bind, connect, start the roles, wait, drain, end. What the
//! roles do is their own business.

pub(crate) mod backends;
mod beacon;
mod durability;
mod files;
mod listen;
mod roles;
pub(crate) mod seams;
mod secrets;
mod signals;
mod stage;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cli::print;
use crate::config::{Doors, Settings};
use crate::telemetry::{self, Telemetry};
use crate::{limits, ops};
use beacon::Beacon;
use listen::Listeners;
pub(crate) use listen::Listening;
use seams::Seams;
pub(crate) use signals::Signals;
use stage::Stage;

/// `muster serve`.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let doors = settings.doors.clone();
    let Some(server) = Server::start_unless(&mut signals, settings).await? else {
        return Ok(());
    };
    let listening = server.listening();
    print(format!("{listening}{}", next(&listening, &doors)))?;
    server.until_told(&mut signals).await
}

fn next(listening: &Listening, doors: &Doors) -> String {
    let Some(url) = listening.control_url() else { return String::new() };
    let files = [
        (doors.control.is_private(), " --ca-file FILE"),
        (doors.control.tokens.is_some(), " --token-file FILE"),
    ];
    let files: String = files.into_iter().filter_map(|(here, flag)| here.then_some(flag)).collect();
    format!("next: muster agents list --server {url}{files}\n")
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    listening: Listening,
    /// Cancelled first of all: load balancers look elsewhere.
    draining: CancellationToken,
    gateways: Stage,
    /// Workers and control.
    inner: Stage,
    ops: Stage,
    telemetry: Telemetry,
}

impl Server {
    /// Starts, unless a signal comes first.
    pub(crate) async fn start_unless(
        signals: &mut Signals,
        settings: Settings,
    ) -> anyhow::Result<Option<Self>> {
        tokio::select! {
            biased;
            () = signals.next() => Ok(None),
            started = Self::start(settings) => started.map(Some),
        }
    }

    async fn start(mut settings: Settings) -> anyhow::Result<Self> {
        let seams = Seams::of_this_machine();
        let process = format!("muster-{}", seams.name());
        let started_unix_ms = seams.clock.now().0;
        if settings.roles.gateway {
            settings.gateway_id.get_or_insert_with(|| format!("gateway-{}", seams.name()));
        }
        let telemetry = Telemetry::start(&settings, &process)?;
        let metrics = telemetry::metrics(&settings.roles.names())?;
        // Before anything that takes time: a wrong file or a taken port is the most likely mistake.
        let doors = settings.open_doors()?;
        let vault = settings.vault()?;
        let listeners = Listeners::bind(&settings).await?;
        let listening = listeners.listening;
        let notices = settings.doors.notices(&listening.doors());
        notices.iter().for_each(|notice| tracing::warn!("{notice}"));

        let mut backends = backends::open(&settings, &process, &seams).await?;
        backends.vault = secrets::vault(vault, &settings, &seams)?;
        let draining = CancellationToken::new();
        let mut stages = roles::Stages::default();
        let roles = listeners.roles;
        let probes =
            roles::start(&settings, &process, &seams, &backends, roles, &doors, &mut stages)?;
        let readiness = Arc::new(ops::Readiness::new(probes, draining.clone()));
        let beacon = Beacon {
            bus: backends.bus.clone(),
            readiness: readiness.clone(),
            identity: identity(&settings, &listening, &process, started_unix_ms),
        };
        let mut ops = Stage::default();
        ops.start("ops", |stop| ops::serve(listeners.ops, readiness, metrics, stop));
        ops.start("door files", |stop| async move {
            doors.keeper.run(stop).await;
            Ok(())
        });
        ops.start("status", |stop| beacon.run(stop));
        tracing::info!(
            roles = settings.roles.names().join(","),
            version = env!("CARGO_PKG_VERSION"),
            process,
            "started"
        );
        Ok(Self {
            listening,
            draining,
            gateways: stages.gateways,
            inner: stages.inner,
            ops,
            telemetry,
        })
    }

    /// Where it listens.
    pub(crate) fn listening(&self) -> Listening {
        self.listening
    }

    /// Runs until a signal, or until a role fails; then drains. A second signal ends the process
    /// at once.
    pub(crate) async fn until_told(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            biased;
            () = signals.next() => Ok(()),
            error = self.gateways.failed() => Err(error),
            error = self.inner.failed() => Err(error),
            error = self.ops.failed() => Err(error),
        };
        match &outcome {
            Ok(()) => tracing::info!("told to end: draining"),
            Err(error) => tracing::error!("{error:#}: ending"),
        }
        tokio::select! {
            biased;
            () = signals.next() => signals::end_at_once(),
            () = self.drain() => outcome,
        }
    }

    /// Ends outside in: agents leave while workers still answer, probes are answered to the last.
    async fn drain(mut self) {
        self.draining.cancel();
        self.gateways.end(limits::GATEWAY_DRAIN + limits::CUT_OFF_GRACE).await;
        self.inner.end(limits::WORKER_DRAIN + limits::CUT_OFF_GRACE).await;
        self.ops.end(limits::RUNTIME_END).await;
        tracing::info!("drained");
        self.telemetry.finish().await;
    }
}

fn identity(
    settings: &Settings,
    listening: &Listening,
    process: &str,
    started_unix_ms: u64,
) -> bus::v1::Status {
    bus::v1::Status {
        process_id: process.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms,
        gateway_id: settings
            .gateway_id
            .clone()
            .filter(|_| settings.roles.gateway)
            .unwrap_or_default(),
        gateway_address: listening.opamp_url().unwrap_or_default(),
        ..Default::default()
    }
}
