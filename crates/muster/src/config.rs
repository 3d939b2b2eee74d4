//! What `muster serve` is told: flags over environment over file over defaults, then checked as
//! a whole. Nothing is started here, and nothing here asks the network.

mod access;
mod doors;
mod explain;
mod protocol;
mod settings;
mod stores;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Deserialize;

pub(crate) use access::Access;
pub(crate) use doors::{Doors, Opened};
pub(crate) use explain::{Explained, Row, explain};
pub(crate) use settings::Settings;
pub(crate) use stores::{StoreArgs, StoreSettings};

use crate::exit::Failure;

/// Flags of `muster serve`. Each is also a variable `MUSTER_…` and a key of the file.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file. Its keys are these flags with underscores.
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) layer: Layer,
}

/// One source of settings; what it does not say is left to the source below.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Layer {
    /// Role to run; repeat for several [default: all]
    #[arg(long, value_enum, value_delimiter = ',', env = "MUSTER_ROLE")]
    pub(crate) role: Vec<Role>,
    /// Directory of the embedded store [default: muster-data]
    #[arg(long, value_name = "DIR", env = "MUSTER_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where agents connect; port 0 takes a free one [default: 127.0.0.1:4320]
    #[arg(long, value_name = "ADDR:PORT", env = "MUSTER_OPAMP_LISTEN")]
    pub(crate) opamp_listen: Option<SocketAddr>,
    /// Certificate chain that agents see, as PEM; read again when it changes
    #[arg(long, value_name = "FILE", env = "MUSTER_OPAMP_TLS_CERT")]
    pub(crate) opamp_tls_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, value_name = "FILE", env = "MUSTER_OPAMP_TLS_KEY")]
    pub(crate) opamp_tls_key: Option<PathBuf>,
    /// Let in only agents with a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_OPAMP_CLIENT_CA")]
    pub(crate) opamp_client_ca: Option<PathBuf>,
    /// Let in only agents with a token of this file: `NAME TOKEN` on each line
    #[arg(long, value_name = "FILE", env = "MUSTER_AGENT_TOKEN_FILE")]
    pub(crate) agent_token_file: Option<PathBuf>,
    /// Let in only agents with an enrollment token or a credential of their own, or with a token of
    /// the file [default: off]
    #[arg(long, value_enum, env = "MUSTER_AGENT_CREDENTIALS")]
    pub(crate) agent_credentials: Option<AgentCredentials>,
    /// What becomes of agents with credentials once a gateway has not heard for a minute who was
    /// revoked [default: close]
    #[arg(long, value_enum, env = "MUSTER_ROLL_STALE")]
    pub(crate) roll_stale: Option<RollStale>,
    /// Where operators connect (gRPC) [default: 127.0.0.1:4321]
    #[arg(long, value_name = "ADDR:PORT", env = "MUSTER_CONTROL_LISTEN")]
    pub(crate) control_listen: Option<SocketAddr>,
    /// Certificate chain that operators see, as PEM; read again when it changes
    #[arg(long, value_name = "FILE", env = "MUSTER_CONTROL_TLS_CERT")]
    pub(crate) control_tls_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, value_name = "FILE", env = "MUSTER_CONTROL_TLS_KEY")]
    pub(crate) control_tls_key: Option<PathBuf>,
    /// Let in only operators with a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_CONTROL_CLIENT_CA")]
    pub(crate) control_client_ca: Option<PathBuf>,
    /// Let in only operators with a token of this file: `NAME TOKEN` on each line
    #[arg(long, value_name = "FILE", env = "MUSTER_OPERATOR_TOKEN_FILE")]
    pub(crate) operator_token_file: Option<PathBuf>,
    /// Where health and metrics are served [default: 127.0.0.1:4322]
    #[arg(long, value_name = "ADDR:PORT", env = "MUSTER_OPS_LISTEN")]
    pub(crate) ops_listen: Option<SocketAddr>,
    /// Largest message taken from an agent, inflated [default: 67108864]
    #[arg(long, value_name = "BYTES", env = "MUSTER_OPAMP_MESSAGE_MAX_BYTES")]
    pub(crate) opamp_message_max_bytes: Option<u64>,
    /// Largest message sent to an agent; larger configs are refused [default: 67108864]
    #[arg(long, value_name = "BYTES", env = "MUSTER_OPAMP_REPLY_MAX_BYTES")]
    pub(crate) opamp_reply_max_bytes: Option<u64>,
    /// Memory for messages from agents; beyond it they are told to come back [default: 536870912]
    #[arg(long, value_name = "BYTES", env = "MUSTER_OPAMP_MEMORY_MAX_BYTES")]
    pub(crate) opamp_memory_max_bytes: Option<u64>,
    /// WebSockets held at once; beyond it handshakes get 503 [default: 100000]
    #[arg(long, value_name = "N", env = "MUSTER_OPAMP_CONNECTIONS_MAX")]
    pub(crate) opamp_connections_max: Option<u64>,
    /// WebSocket handshakes taken in a second; beyond it they get 503 [default: 5000]
    #[arg(long, value_name = "N", env = "MUSTER_OPAMP_HANDSHAKES_MAX")]
    pub(crate) opamp_handshakes_max: Option<u64>,
    /// Connections of one address; not behind a load balancer [default: as many as come]
    #[arg(long, value_name = "N", env = "MUSTER_OPAMP_ADDRESS_CONNECTIONS_MAX")]
    pub(crate) opamp_address_connections_max: Option<u64>,
    /// Cut a connection that takes nothing of what it is sent for so long [default: 30s]
    #[arg(long, value_name = "TIME", env = "MUSTER_OPAMP_WRITE_DEADLINE")]
    pub(crate) opamp_write_deadline: Option<String>,
    /// Ping a WebSocket after so long a silence [default: 30s]
    #[arg(long, value_name = "TIME", env = "MUSTER_OPAMP_PING_AFTER")]
    pub(crate) opamp_ping_after: Option<String>,
    /// Memory for the last messages of all agents, for `muster agents trace`; 0 for none [default:
    /// 4 MiB]
    #[arg(long, value_name = "BYTES", env = "MUSTER_OPAMP_TRACE_BYTES")]
    pub(crate) opamp_trace_bytes: Option<u64>,
    /// Show a polling agent as disconnected after so long without a poll [default: 90s]
    #[arg(long, value_name = "TIME", env = "MUSTER_POLL_LEASE")]
    pub(crate) poll_lease: Option<String>,
    /// NATS that joins the processes of a cluster, as nats://HOST:PORT, or tls:// to insist on TLS
    #[arg(long, value_name = "URL", env = "MUSTER_BUS", hide_env_values = true)]
    pub(crate) bus: Option<String>,
    /// Authorities (PEM) that NATS' certificate must be of, instead of this machine's
    #[arg(long, value_name = "FILE", env = "MUSTER_BUS_CA_FILE")]
    pub(crate) bus_ca_file: Option<PathBuf>,
    /// Certificate (PEM) to show to NATS
    #[arg(long, value_name = "FILE", env = "MUSTER_BUS_CERT_FILE")]
    pub(crate) bus_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_BUS_KEY_FILE")]
    pub(crate) bus_key_file: Option<PathBuf>,
    /// File with the password of the URL's user, or with a token if the URL names none
    #[arg(long, value_name = "FILE", env = "MUSTER_BUS_PASSWORD_FILE")]
    pub(crate) bus_password_file: Option<PathBuf>,
    /// Credentials file of NATS: a user's JWT and the seed of its key
    #[arg(long, value_name = "FILE", env = "MUSTER_BUS_CREDS")]
    pub(crate) bus_creds: Option<PathBuf>,
    /// NATS servers that each keep the event log: 1, or 3 where NATS is a cluster [default: 1]
    #[arg(long, value_name = "N", env = "MUSTER_BUS_REPLICAS")]
    pub(crate) bus_replicas: Option<usize>,
    /// Redis for agent records, as redis://HOST:PORT, or rediss:// with TLS
    #[arg(long, value_name = "URL", env = "MUSTER_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// Authorities (PEM) that the store's certificate must be of, instead of this machine's
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_CA_FILE")]
    pub(crate) store_ca_file: Option<PathBuf>,
    /// Certificate (PEM) to show to the store
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_CERT_FILE")]
    pub(crate) store_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_KEY_FILE")]
    pub(crate) store_key_file: Option<PathBuf>,
    /// File with the password of the URL's user, or of the default one
    #[arg(long, value_name = "FILE", env = "MUSTER_STORE_PASSWORD_FILE")]
    pub(crate) store_password_file: Option<PathBuf>,
    /// Redis for configs and assignments; another one than the store's
    #[arg(long, value_name = "URL", env = "MUSTER_LEDGER", hide_env_values = true)]
    pub(crate) ledger: Option<String>,
    /// Authorities (PEM) that the ledger's certificate must be of, instead of this machine's
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_CA_FILE")]
    pub(crate) ledger_ca_file: Option<PathBuf>,
    /// Certificate (PEM) to show to the ledger
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_CERT_FILE")]
    pub(crate) ledger_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_KEY_FILE")]
    pub(crate) ledger_key_file: Option<PathBuf>,
    /// File with the password of the URL's user, or of the default one
    #[arg(long, value_name = "FILE", env = "MUSTER_LEDGER_PASSWORD_FILE")]
    pub(crate) ledger_password_file: Option<PathBuf>,
    /// Accept a ledger whose Redis throws away what it acknowledged: when memory runs out, or when
    /// it starts again
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_name = "BOOL", env = "MUSTER_ALLOW_EVICTING_LEDGER")]
    pub(crate) allow_evicting_ledger: Option<bool>,
    /// Key that seals secrets at rest, and older ones that still open them, newest first
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "MUSTER_SECRETS_KEY_FILE")]
    pub(crate) secrets_key: Vec<PathBuf>,
    /// Listen beyond this machine even where TLS or tokens are missing
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_name = "BOOL", env = "MUSTER_INSECURE_LISTEN")]
    pub(crate) insecure_listen: Option<bool>,
    /// Prefix that keeps fleets apart on shared NATS and Redis [default: muster]
    #[arg(long, value_name = "NAME", env = "MUSTER_FLEET")]
    pub(crate) fleet: Option<String>,
    /// Name of this gateway, unique among the living [default: random]
    #[arg(long, value_name = "NAME", env = "MUSTER_GATEWAY_ID")]
    pub(crate) gateway_id: Option<String>,
    /// Forget agents that were not connected for so long, as `12h` or `30d`; `never` keeps them
    /// [default: 30d]
    #[arg(long, value_name = "TIME", env = "MUSTER_FORGET_AFTER")]
    pub(crate) forget_after: Option<String>,
    /// How long settled commands are kept, as 30d, an hour at least [default: 7d]
    #[arg(long, value_name = "TIME", env = "MUSTER_KEEP_COMMANDS")]
    pub(crate) keep_commands: Option<String>,
    /// Where agents reach this fleet, as wss://muster.example.org/v1/opamp: told with a credential
    /// [default: the address that is listened on, where that is one and has no TLS]
    #[arg(long, value_name = "URL", env = "MUSTER_AGENT_URL")]
    pub(crate) agent_url: Option<String>,
    /// How long credentials of agents are good, as 30d, an hour at least; they are renewed when a
    /// third is left [default: 90d]
    #[arg(long, value_name = "TIME", env = "MUSTER_CREDENTIAL_LIFETIME")]
    pub(crate) credential_lifetime: Option<String>,
    /// Connections a second that a gateway with more than its share gives away, so that new ones
    /// fill; 0 for none [default: 25]
    #[arg(long, value_name = "NUMBER", env = "MUSTER_SHED_PER_SECOND")]
    pub(crate) shed_per_second: Option<u32>,
    /// Custom capability of the server that agents are told; repeat for several
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "MUSTER_CUSTOM_CAPABILITY")]
    pub(crate) custom_capability: Vec<String>,
    /// How logs are written [default: text]
    #[arg(long, value_enum, env = "MUSTER_LOG")]
    pub(crate) log: Option<LogFormat>,
    /// What is logged, as `info` or `info,gateway=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "MUSTER_LOG_LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Send traces to this OTLP gRPC endpoint
    #[arg(long, value_name = "URL", env = "MUSTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// A part of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Every role in this process
    All,
    /// Holds agents' connections
    Gateway,
    /// Works on agents' records
    FleetState,
    /// Serves operators
    Control,
}

/// Whether agents must have credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AgentCredentials {
    /// Nobody is asked for one
    Off,
    /// Whoever has none, and no token, is turned away
    Required,
}

/// What to do where it is not known who was revoked lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RollStale {
    /// Let nobody in, and close what is open
    Close,
    /// Go on with what was known last
    Keep,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl ServeArgs {
    /// Everything the sources say, checked. Clap has put flags over the environment already.
    pub(crate) fn resolve(self) -> anyhow::Result<Settings> {
        self.resolve_over(Layer::default())
    }

    /// The same over other defaults.
    pub(crate) fn resolve_over(self, defaults: Layer) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Layer::default(),
        };
        Settings::check(self.layer.over(file).over(defaults))
    }
}

fn read(path: &Path) -> anyhow::Result<Layer> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(error.to_string()))
        .with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text)
        .map_err(|error| Failure::usage(error.to_string().trim_end().to_owned()))
        .with_context(|| format!("reading {}", path.display()))
}

impl Layer {
    /// What this source says, and where it is silent what `below` says.
    fn over(self, below: Self) -> Self {
        Self {
            role: if self.role.is_empty() { below.role } else { self.role },
            data_dir: self.data_dir.or(below.data_dir),
            opamp_listen: self.opamp_listen.or(below.opamp_listen),
            control_listen: self.control_listen.or(below.control_listen),
            ops_listen: self.ops_listen.or(below.ops_listen),
            opamp_message_max_bytes: self.opamp_message_max_bytes.or(below.opamp_message_max_bytes),
            opamp_reply_max_bytes: self.opamp_reply_max_bytes.or(below.opamp_reply_max_bytes),
            opamp_memory_max_bytes: self.opamp_memory_max_bytes.or(below.opamp_memory_max_bytes),
            opamp_connections_max: self.opamp_connections_max.or(below.opamp_connections_max),
            opamp_handshakes_max: self.opamp_handshakes_max.or(below.opamp_handshakes_max),
            opamp_address_connections_max: self
                .opamp_address_connections_max
                .or(below.opamp_address_connections_max),
            opamp_write_deadline: self.opamp_write_deadline.or(below.opamp_write_deadline),
            opamp_ping_after: self.opamp_ping_after.or(below.opamp_ping_after),
            opamp_trace_bytes: self.opamp_trace_bytes.or(below.opamp_trace_bytes),
            poll_lease: self.poll_lease.or(below.poll_lease),
            opamp_tls_cert: self.opamp_tls_cert.or(below.opamp_tls_cert),
            opamp_tls_key: self.opamp_tls_key.or(below.opamp_tls_key),
            opamp_client_ca: self.opamp_client_ca.or(below.opamp_client_ca),
            agent_token_file: self.agent_token_file.or(below.agent_token_file),
            agent_credentials: self.agent_credentials.or(below.agent_credentials),
            roll_stale: self.roll_stale.or(below.roll_stale),
            control_tls_cert: self.control_tls_cert.or(below.control_tls_cert),
            control_tls_key: self.control_tls_key.or(below.control_tls_key),
            control_client_ca: self.control_client_ca.or(below.control_client_ca),
            operator_token_file: self.operator_token_file.or(below.operator_token_file),
            bus: self.bus.or(below.bus),
            bus_ca_file: self.bus_ca_file.or(below.bus_ca_file),
            bus_cert_file: self.bus_cert_file.or(below.bus_cert_file),
            bus_key_file: self.bus_key_file.or(below.bus_key_file),
            bus_password_file: self.bus_password_file.or(below.bus_password_file),
            bus_creds: self.bus_creds.or(below.bus_creds),
            bus_replicas: self.bus_replicas.or(below.bus_replicas),
            store: self.store.or(below.store),
            store_ca_file: self.store_ca_file.or(below.store_ca_file),
            store_cert_file: self.store_cert_file.or(below.store_cert_file),
            store_key_file: self.store_key_file.or(below.store_key_file),
            store_password_file: self.store_password_file.or(below.store_password_file),
            ledger: self.ledger.or(below.ledger),
            ledger_ca_file: self.ledger_ca_file.or(below.ledger_ca_file),
            ledger_cert_file: self.ledger_cert_file.or(below.ledger_cert_file),
            ledger_key_file: self.ledger_key_file.or(below.ledger_key_file),
            ledger_password_file: self.ledger_password_file.or(below.ledger_password_file),
            allow_evicting_ledger: self.allow_evicting_ledger.or(below.allow_evicting_ledger),
            secrets_key: match self.secrets_key.is_empty() {
                true => below.secrets_key,
                false => self.secrets_key,
            },
            insecure_listen: self.insecure_listen.or(below.insecure_listen),
            fleet: self.fleet.or(below.fleet),
            gateway_id: self.gateway_id.or(below.gateway_id),
            forget_after: self.forget_after.or(below.forget_after),
            keep_commands: self.keep_commands.or(below.keep_commands),
            agent_url: self.agent_url.or(below.agent_url),
            credential_lifetime: self.credential_lifetime.or(below.credential_lifetime),
            shed_per_second: self.shed_per_second.or(below.shed_per_second),
            custom_capability: match self.custom_capability.is_empty() {
                true => below.custom_capability,
                false => self.custom_capability,
            },
            log: self.log.or(below.log),
            log_level: self.log_level.or(below.log_level),
            otlp_endpoint: self.otlp_endpoint.or(below.otlp_endpoint),
        }
    }
}
