//! Opens the stores of a deployment for one command: at once or not at all.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use store::{Redb, Redis, Store};

use crate::config::StoreSettings;
use crate::exit::{Code, Failure};
use crate::serve::backends::{FILE, redis_config};

/// The ledger and, as far as it is known, where records are.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) ledger: Arc<dyn Store>,
    /// `None` where only a ledger was named.
    pub(crate) records: Option<Arc<dyn Store>>,
}

/// Opens what the settings name. `create` makes a data directory that is not there.
pub(crate) async fn open(settings: &StoreSettings, create: bool) -> anyhow::Result<Opened> {
    let (cluster, fleet) = (&settings.cluster, &settings.fleet);
    let records = match &cluster.store {
        Some(url) => Some(redis("--store", url, &cluster.store_access, fleet).await?),
        None => None,
    };
    let ledger = match &cluster.ledger {
        Some(url) => Some(redis("--ledger", url, &cluster.ledger_access, fleet).await?),
        None => None,
    };
    if let Some(ledger) = ledger.or_else(|| records.clone()) {
        return Ok(Opened { ledger, records });
    }
    let ledger: Arc<dyn Store> = Arc::new(file(&settings.data_dir, create)?);
    Ok(Opened { ledger: ledger.clone(), records: Some(ledger) })
}

async fn redis(
    flag: &str,
    url: &str,
    access: &crate::config::Access,
    fleet: &str,
) -> anyhow::Result<Arc<dyn Store>> {
    let connected = Redis::connect(redis_config(url, access, fleet)?).await;
    let store = connected.map_err(|error| {
        let code = match error {
            store::Error::Refused(_) => Code::Usage,
            _ => Code::Unreachable,
        };
        Failure::new(code, format!("{flag}: {error}"))
    })?;
    Ok(Arc::new(store))
}

fn file(dir: &Path, create: bool) -> anyhow::Result<Redb> {
    let path = dir.join(FILE);
    if create {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("making the data directory {}", dir.display()))?;
    } else if !path.is_file() {
        return Err(Failure::usage(format!(
            "there is no {FILE} in {}: name another --data-dir, or a --ledger",
            dir.display()
        )));
    }
    Redb::open(&path).context("a running server keeps its data directory to itself")
}
