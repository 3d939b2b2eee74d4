//! The one choice of backends: what settings name is connected, the rest is served from inside
//! this process.

use std::fmt::Display;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bus::{Bus, Nats, NatsConfig};
use store::{Counted, Redb, Redis, RedisConfig, Store};
use tokio::time::{Instant, sleep};
use trust::Vault;

use super::durability;
use super::seams::Seams;
use crate::config::{Access, Settings};
use crate::exit::Failure;
use crate::limits;

/// Name of the embedded store in the data directory.
pub(crate) const FILE: &str = "muster.redb";

/// What the roles stand on.
#[derive(Debug)]
pub(super) struct Backends {
    pub(super) bus: bus::Client,
    stores: Option<Stores>,
    /// Keeps secrets; without it nothing is stored that needs one.
    pub(super) vault: Option<Arc<Vault>>,
}

/// Where agents' records and operators' decisions are kept; embedded they are one store.
#[derive(Debug, Clone)]
pub(super) struct Stores {
    pub(super) records: Arc<dyn Store>,
    pub(super) ledger: Arc<dyn Store>,
}

impl Backends {
    pub(super) fn stores(&self) -> anyhow::Result<&Stores> {
        self.stores.as_ref().context("this role has no store")
    }
}

/// Connects and opens, within a bound.
pub(super) async fn open(
    settings: &Settings,
    process: &str,
    seams: &Seams,
) -> anyhow::Result<Backends> {
    let bus = bus(settings, process).await?;
    let bus = bus::Client::new(bus, &settings.fleet, process, seams.clock.clone());
    let bus = bus.await.context("joining the bus")?;
    let stores = match (settings.roles.need_store(), &settings.cluster.store) {
        (false, _) => None,
        (true, None) => Some(embedded(settings.data_dir.clone()).await?),
        (true, Some(url)) => Some(redis(settings, url).await?),
    };
    Ok(Backends { bus, stores, vault: None })
}

async fn bus(settings: &Settings, process: &str) -> anyhow::Result<Arc<dyn Bus>> {
    let Some(url) = &settings.cluster.bus else {
        return Ok(Arc::new(bus::InProcess::default()));
    };
    let access = settings.cluster.bus_access.nats()?;
    let connect = || {
        Nats::connect(NatsConfig {
            url: url.clone(),
            access: access.clone(),
            fleet: settings.fleet.clone(),
            name: process.to_owned(),
            replicas: settings.bus_replicas,
        })
    };
    let is_final = |error: &bus::Error| matches!(error, bus::Error::Refused(_));
    Ok(Arc::new(until_there("--bus", connect, is_final).await?))
}

async fn embedded(dir: PathBuf) -> anyhow::Result<Stores> {
    // Opening a file after a crash reads all of it.
    let opened = tokio::task::spawn_blocking(move || open_file(&dir)).await??;
    let records: Arc<dyn Store> = Arc::new(Counted::new(Arc::new(opened)));
    Ok(Stores { ledger: records.clone(), records })
}

fn open_file(dir: &Path) -> anyhow::Result<Redb> {
    let named = || format!("opening the data directory {}", dir.display());
    std::fs::create_dir_all(dir).with_context(named)?;
    Redb::open(dir.join(FILE)).with_context(named)
}

async fn redis(settings: &Settings, store: &str) -> anyhow::Result<Stores> {
    let (cluster, fleet) = (&settings.cluster, &settings.fleet);
    let records = connect_redis("--store", store, &cluster.store_access, fleet).await?;
    let ledger = match &cluster.ledger {
        Some(url) => connect_redis("--ledger", url, &cluster.ledger_access, fleet).await?,
        None => {
            tracing::warn!(
                "no --ledger: configs and assignments share the agent records' Redis, and are \
                 lost with it"
            );
            records.clone()
        }
    };
    let durability = ledger.durability().await;
    let durability = durability.context("asking the ledger how durable it is")?;
    let warnings = durability::judge(&durability, settings.allow_evicting_ledger)?;
    for warning in warnings {
        tracing::warn!("LEDGER NOT DURABLE: {warning}");
    }
    let durability = records.durability().await;
    let durability = durability.context("asking the store how durable it is")?;
    if let Some(warning) = durability::of_records(&durability) {
        tracing::warn!("RECORDS NOT DURABLE: {warning}");
    }
    let counted = |store: Arc<Redis>| -> Arc<dyn Store> { Arc::new(Counted::new(store)) };
    Ok(Stores { records: counted(records), ledger: counted(ledger) })
}

async fn connect_redis(
    flag: &str,
    url: &str,
    access: &Access,
    fleet: &str,
) -> anyhow::Result<Arc<Redis>> {
    let config = redis_config(url, access, fleet)?;
    let is_final = |error: &store::Error| matches!(error, store::Error::Refused(_));
    until_there(flag, || Redis::connect(config.clone()), is_final).await.map(Arc::new)
}

pub(crate) fn redis_config(url: &str, access: &Access, fleet: &str) -> anyhow::Result<RedisConfig> {
    Ok(RedisConfig { url: url.to_owned(), access: access.redis()?, fleet: fleet.to_owned() })
}

/// Services may start after this process: tries again until the deadline, but for errors that no
/// patience mends.
async fn until_there<T, E, F>(
    flag: &str,
    connect: impl Fn() -> F,
    is_final: impl Fn(&E) -> bool,
) -> anyhow::Result<T>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limits::BACKENDS_START;
    loop {
        match tokio::time::timeout_at(deadline, connect()).await {
            Ok(Ok(connected)) => return Ok(connected),
            // Who started this has to change what they wrote.
            Ok(Err(error)) if is_final(&error) => {
                return Err(Failure::usage(format!("{flag}: {error}")));
            }
            Ok(Err(error)) if Instant::now() + limits::BACKENDS_RETRY >= deadline => {
                return Err(anyhow!("{flag}: {error}"));
            }
            Ok(Err(error)) => tracing::warn!("{flag}: {error}; trying again"),
            Err(_) => return Err(anyhow!("{flag}: no answer in time")),
        }
        sleep(limits::BACKENDS_RETRY).await;
    }
}
