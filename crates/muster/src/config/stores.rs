//! Where a deployment keeps things, for commands that go there themselves: the server's own flags,
//! variables and file, as far as they are about stores.

use std::path::PathBuf;

use clap::Args;

use super::settings::{Cluster, plain};
use super::{Layer, read};

/// Flags of commands that open stores. Each is also a variable `MUSTER_…` and a key of the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where it is")]
pub(crate) struct StoreArgs {
    /// Read settings from this TOML file: the one that the server is started with
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of the embedded store, whose server is stopped [default: muster-data]
    #[arg(long, value_name = "DIR", env = "MUSTER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Redis for agent records, as redis://HOST:PORT, or rediss:// with TLS
    #[arg(long, value_name = "URL", env = "MUSTER_STORE", hide_env_values = true)]
    store: Option<String>,
    /// Authorities (PEM) that the store's certificate must be of, instead of this machine's
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_CA_FILE")]
    store_ca_file: Option<PathBuf>,
    /// Certificate (PEM) to show to the store
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_CERT_FILE")]
    store_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_KEY_FILE")]
    store_key_file: Option<PathBuf>,
    /// File with the password of the URL's user, or of the default one
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_PASSWORD_FILE")]
    store_password_file: Option<PathBuf>,
    /// Redis for configs and assignments; without it they are in the store
    #[arg(long, value_name = "URL", env = "MUSTER_LEDGER", hide_env_values = true)]
    ledger: Option<String>,
    /// Authorities (PEM) that the ledger's certificate must be of, instead of this machine's
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_CA_FILE")]
    ledger_ca_file: Option<PathBuf>,
    /// Certificate (PEM) to show to the ledger
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_CERT_FILE")]
    ledger_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_KEY_FILE")]
    ledger_key_file: Option<PathBuf>,
    /// File with the password of the URL's user, or of the default one
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_PASSWORD_FILE")]
    ledger_password_file: Option<PathBuf>,
    /// Prefix that keeps fleets apart on shared Redis [default: muster]
    #[arg(long, value_name = "NAME", env = "MUSTER_FLEET")]
    fleet: Option<String>,
}

/// Where records and ledger are.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    pub(crate) data_dir: PathBuf,
    pub(crate) cluster: Cluster,
    pub(crate) fleet: String,
}

impl StoreArgs {
    /// What the sources say, checked.
    pub(crate) fn resolve(self) -> anyhow::Result<StoreSettings> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Layer::default(),
        };
        let layer = self.layer().over(file);
        let settings = StoreSettings {
            cluster: Cluster::of(&layer)?,
            data_dir: layer.data_dir.unwrap_or_else(|| "muster-data".into()),
            fleet: layer.fleet.unwrap_or_else(|| "muster".to_owned()),
        };
        plain("fleet", &settings.fleet)?;
        Ok(settings)
    }

    fn layer(self) -> Layer {
        Layer {
            data_dir: self.data_dir,
            store: self.store,
            store_ca_file: self.store_ca_file,
            store_cert_file: self.store_cert_file,
            store_key_file: self.store_key_file,
            store_password_file: self.store_password_file,
            ledger: self.ledger,
            ledger_ca_file: self.ledger_ca_file,
            ledger_cert_file: self.ledger_cert_file,
            ledger_key_file: self.ledger_key_file,
            ledger_password_file: self.ledger_password_file,
            fleet: self.fleet,
            ..Layer::default()
        }
    }
}
