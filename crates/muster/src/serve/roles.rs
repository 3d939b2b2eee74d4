//! Starting the roles that run here, inside out: who answers starts before who asks.

use std::sync::Arc;

use anyhow::Context as _;
use gateway::Gateway;
use model::GatewayId;

use super::backends::{Backends, Stores};
use super::files;
use super::listen::RoleListeners;
use super::seams::Seams;
use super::stage::Stage;
use crate::config::{Opened, Settings};
use crate::limits;
use crate::ops::Probe;

/// What ends together.
#[derive(Debug, Default)]
pub(super) struct Stages {
    pub(super) gateways: Stage,
    pub(super) inner: Stage,
}

/// Starts them and returns how to ask whether they are ready.
pub(super) fn start(
    settings: &Settings,
    process: &str,
    seams: &Seams,
    backends: &Backends,
    listeners: RoleListeners,
    doors: &Opened,
    stages: &mut Stages,
) -> anyhow::Result<Vec<(&'static str, Probe)>> {
    let mut probes = Vec::new();
    if settings.roles.fleet_state {
        let agent_url = settings.agent_url.clone().or_else(|| settings.listened_url());
        let config =
            fleet::Config { vault: backends.vault.clone(), agent_url, ..Default::default() };
        let probe = worker(config, seams, backends, backends.stores()?, &mut stages.inner);
        probes.push(("fleet-state", probe));
    }
    if let Some(listener) = listeners.control {
        let stores = backends.stores()?;
        let (forget_after, door) = (settings.forget_after, doors.control.clone());
        let shed_per_second = settings.shed_per_second;
        let name = process.to_owned();
        let mut config = control::Config {
            name,
            forget_after,
            shed_per_second,
            door,
            vault: backends.vault.clone(),
            keep_commands: Some(settings.keep_commands),
            credential_lifetime: Some(settings.credential_lifetime),
            ..Default::default()
        };
        settings.protocol.apply_to_control(&mut config.limits);
        let control = Arc::new(control::Control::new(
            config,
            backends.bus.clone(),
            stores.records.clone(),
            stores.ledger.clone(),
            seams.clock.clone(),
            seams.random.clone(),
        ));
        let probe = control.clone();
        probes.push(("control", Box::new(move || probe.ready()) as Probe));
        stages
            .inner
            .start("control", |stop| async move { Ok(control.serve(listener, stop).await?) });
    }
    if let Some(listener) = listeners.opamp {
        let id = settings.gateway_id.as_deref().context("a gateway has a name")?;
        let mut config = gateway::Config::new(GatewayId::new(id));
        config.limits.drain_deadline = limits::GATEWAY_DRAIN;
        settings.protocol.apply_to_gateway(&mut config.limits);
        files::bound(&mut config.limits);
        config.custom_capabilities.clone_from(&settings.custom_capabilities);
        config.door = doors.opamp.clone();
        config.vault.clone_from(&backends.vault);
        config.credentials = settings.credentials;
        let gateway = Arc::new(Gateway::new(
            config,
            backends.bus.clone(),
            seams.clock.clone(),
            seams.random.clone(),
        ));
        let probe = gateway.clone();
        probes.push(("gateway", Box::new(move || probe.ready()) as Probe));
        stages
            .gateways
            .start("gateway", |stop| async move { Ok(gateway.serve(listener, stop).await?) });
    }
    Ok(probes)
}

fn worker(
    config: fleet::Config,
    seams: &Seams,
    backends: &Backends,
    stores: &Stores,
    stage: &mut Stage,
) -> Probe {
    let worker = Arc::new(fleet::Worker::new(
        config,
        backends.bus.clone(),
        stores.records.clone(),
        stores.ledger.clone(),
        seams.clock.clone(),
        seams.random.clone(),
    ));
    let probe = worker.clone();
    stage.start("fleet-state", |stop| async move { Ok(worker.run(stop).await?) });
    Box::new(move || probe.ready())
}
