//! Settings as a whole: defaults filled in, and combinations that cannot work refused with what
//! to do instead.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gateway::{Credentials, Stale};
use trust::Vault;

use super::protocol::Protocol;
use super::{Access, AgentCredentials, Doors, Layer, LogFormat, Opened, Role, RollStale};
use crate::exit::Failure;

/// What `serve` runs with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) roles: Roles,
    pub(crate) data_dir: PathBuf,
    pub(crate) opamp_listen: SocketAddr,
    pub(crate) control_listen: SocketAddr,
    pub(crate) ops_listen: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) doors: Doors,
    /// `None` does not ask agents for credentials.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) cluster: Cluster,
    /// Copies of the event log.
    pub(crate) bus_replicas: usize,
    pub(crate) allow_evicting_ledger: bool,
    /// Files with the keys of secrets, the one in use first.
    pub(crate) secrets_key: Vec<PathBuf>,
    pub(crate) fleet: String,
    /// `None` takes a random name.
    pub(crate) gateway_id: Option<String>,
    /// How long agents may be away; `None` is for ever.
    pub(crate) forget_after: Option<Duration>,
    /// Where agents reach the fleet, if that was said.
    pub(crate) agent_url: Option<String>,
    /// How long credentials of agents are good.
    pub(crate) credential_lifetime: Duration,
    /// How long settled commands are kept.
    pub(crate) keep_commands: Duration,
    /// Connections a second that a gateway with more than its share gives away.
    pub(crate) shed_per_second: u32,
    /// Custom capabilities that agents are told.
    pub(crate) custom_capabilities: Vec<String>,
    pub(crate) log: LogFormat,
    pub(crate) log_level: String,
    pub(crate) otlp_endpoint: Option<String>,
}

/// Which roles run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) gateway: bool,
    pub(crate) fleet_state: bool,
    pub(crate) control: bool,
}

/// Services that join processes; each `None` is served from inside this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) bus: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) ledger: Option<String>,
    pub(crate) bus_access: Access,
    pub(crate) store_access: Access,
    pub(crate) ledger_access: Access,
}

const OPAMP_PORT: u16 = 4320;
const CONTROL_PORT: u16 = 4321;
const OPS_PORT: u16 = 4322;
/// The path that agents come to.
const OPAMP_PATH: &str = "/v1/opamp";

impl Settings {
    pub(super) fn check(layer: Layer) -> anyhow::Result<Self> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let protocol = Protocol::check(&layer)?;
        let credentials = credentials(&layer)?;
        let doors = Doors::check(&layer, credentials.is_some())?;
        let cluster = Cluster::of(&layer)?;
        let settings = Self {
            roles: Roles::of(&layer.role),
            data_dir: layer.data_dir.unwrap_or_else(|| "muster-data".into()),
            opamp_listen: layer.opamp_listen.unwrap_or(local(OPAMP_PORT)),
            control_listen: layer.control_listen.unwrap_or(local(CONTROL_PORT)),
            ops_listen: layer.ops_listen.unwrap_or(local(OPS_PORT)),
            protocol,
            doors,
            credentials,
            cluster,
            bus_replicas: layer.bus_replicas.unwrap_or(1),
            allow_evicting_ledger: layer.allow_evicting_ledger.unwrap_or(false),
            secrets_key: given(layer.secrets_key),
            fleet: layer.fleet.unwrap_or_else(|| "muster".to_owned()),
            gateway_id: layer.gateway_id.filter(|id| !id.is_empty()),
            shed_per_second: layer.shed_per_second.unwrap_or(25),
            forget_after: forget_after(layer.forget_after.as_deref().unwrap_or("30d"))?,
            agent_url: agent_url(layer.agent_url)?,
            credential_lifetime: at_least_an_hour(
                "credential-lifetime",
                layer.credential_lifetime.as_deref().unwrap_or("90d"),
            )?,
            keep_commands: at_least_an_hour(
                "keep-commands",
                layer.keep_commands.as_deref().unwrap_or("7d"),
            )?,
            custom_capabilities: custom_capabilities(layer.custom_capability)?,
            log: layer.log.unwrap_or(LogFormat::Text),
            log_level: layer.log_level.unwrap_or_else(|| "info".to_owned()),
            otlp_endpoint: url("otlp-endpoint", layer.otlp_endpoint, &["http://"])?,
        };
        settings.cluster.check(settings.roles)?;
        if !(1..=5).contains(&settings.bus_replicas) {
            return Err(Failure::usage("--bus-replicas must be 1 to 5"));
        }
        plain("fleet", &settings.fleet)?;
        if let Some(id) = &settings.gateway_id {
            plain("gateway-id", id)?;
        }
        if !layer.insecure_listen.unwrap_or(false) {
            settings.refuse_strangers()?;
        }
        Ok(settings)
    }

    /// Where agents reach this process, if one address is all that it listens on and it can be
    /// told without a name.
    pub(crate) fn listened_url(&self) -> Option<String> {
        let address = self.opamp_listen;
        let is_plain = self.roles.gateway && self.doors.opamp.certificate.is_none();
        let is_one = !address.ip().is_unspecified() && address.port() != 0;
        (is_plain && is_one).then(|| format!("ws://{address}{OPAMP_PATH}"))
    }

    /// The addresses that this process's roles open, by flag.
    pub(crate) fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
        [
            (self.roles.gateway, "opamp-listen", self.opamp_listen),
            (self.roles.control, "control-listen", self.control_listen),
            (true, "ops-listen", self.ops_listen),
        ]
        .into_iter()
        .filter_map(|(here, flag, address)| here.then_some((flag, address)))
        .collect()
    }

    /// Reads the files of the doors that this process's roles open.
    pub(crate) fn open_doors(&self) -> anyhow::Result<Opened> {
        self.doors.open(self.roles.gateway, self.roles.control)
    }

    /// The vault with the keys that are named.
    pub(crate) fn vault(&self) -> anyhow::Result<Option<Vault>> {
        Vault::read(&self.secrets_key)
            .map_err(|error| Failure::usage(format!("--secrets-key {error}")))
    }

    fn refuse_strangers(&self) -> anyhow::Result<()> {
        let beyond = self.listens().into_iter().filter(|(_, address)| !address.ip().is_loopback());
        let mut open = beyond.filter_map(|(flag, at)| Some((flag, at, self.doors.lacks(flag)?)));
        match open.next() {
            None => Ok(()),
            Some((flag, address, lacks)) => Err(Failure::usage(format!(
                "--{flag} {address} is reachable from other machines, and {lacks}: listen on \
                 127.0.0.1, or accept the risk with --insecure-listen"
            ))),
        }
    }
}

fn credentials(layer: &Layer) -> anyhow::Result<Option<Credentials>> {
    let asked = layer.agent_credentials == Some(AgentCredentials::Required);
    match layer.roll_stale {
        Some(RollStale::Keep) if !asked => {
            let reason = "--roll-stale keep is of use with --agent-credentials required only";
            Err(Failure::usage(reason))
        }
        Some(RollStale::Keep) => Ok(Some(Credentials { stale: Stale::Keep })),
        Some(RollStale::Close) | None => Ok(asked.then_some(Credentials { stale: Stale::Close })),
    }
}

/// Empty counts as not given, as with other files.
fn given(files: Vec<PathBuf>) -> Vec<PathBuf> {
    files.into_iter().filter(|path| !path.as_os_str().is_empty()).collect()
}

fn custom_capabilities(names: Vec<String>) -> anyhow::Result<Vec<String>> {
    let most = model::custom::CAPABILITIES_MAX;
    if names.len() > most {
        return Err(Failure::usage(format!("--custom-capability: {most} at most")));
    }
    for name in &names {
        model::custom::check_capability(name)
            .map_err(|reason| Failure::usage(format!("--custom-capability: {reason}")))?;
    }
    Ok(names)
}

impl Roles {
    const ALL: Self = Self { gateway: true, fleet_state: true, control: true };

    fn of(roles: &[Role]) -> Self {
        let has = |role| roles.contains(&role);
        if roles.is_empty() || has(Role::All) {
            return Self::ALL;
        }
        Self {
            gateway: has(Role::Gateway),
            fleet_state: has(Role::FleetState),
            control: has(Role::Control),
        }
    }

    /// Their names.
    pub(crate) fn names(self) -> Vec<&'static str> {
        [(self.fleet_state, "fleet-state"), (self.control, "control"), (self.gateway, "gateway")]
            .into_iter()
            .filter_map(|(here, name)| here.then_some(name))
            .collect()
    }

    /// Whether a role of this process reads or writes the stores.
    pub(crate) fn need_store(self) -> bool {
        self.fleet_state || self.control
    }
}

impl Cluster {
    pub(super) fn of(layer: &Layer) -> anyhow::Result<Self> {
        let bus = url("bus", layer.bus.clone(), &["nats://", "tls://"])?;
        let redis =
            |flag, value: &Option<String>| url(flag, value.clone(), &["redis://", "rediss://"]);
        let (store, ledger) = (redis("store", &layer.store)?, redis("ledger", &layer.ledger)?);
        let bus_access = Access {
            service: "bus",
            ca: layer.bus_ca_file.clone(),
            certificate: layer.bus_cert_file.clone(),
            key: layer.bus_key_file.clone(),
            password: layer.bus_password_file.clone(),
            creds: layer.bus_creds.clone(),
        };
        let store_access = Access {
            service: "store",
            ca: layer.store_ca_file.clone(),
            certificate: layer.store_cert_file.clone(),
            key: layer.store_key_file.clone(),
            password: layer.store_password_file.clone(),
            creds: None,
        };
        let ledger_access = Access {
            service: "ledger",
            ca: layer.ledger_ca_file.clone(),
            certificate: layer.ledger_cert_file.clone(),
            key: layer.ledger_key_file.clone(),
            password: layer.ledger_password_file.clone(),
            creds: None,
        };
        Ok(Self {
            bus_access: bus_access.check(bus.as_deref())?,
            store_access: store_access.check(store.as_deref())?,
            ledger_access: ledger_access.check(ledger.as_deref())?,
            bus,
            store,
            ledger,
        })
    }

    fn check(&self, roles: Roles) -> anyhow::Result<()> {
        let names = roles.names().join(", ");
        if self.bus.is_none() && roles != Roles::ALL {
            return Err(Failure::usage(format!(
                "role {names} needs --bus nats://HOST:PORT to reach the other roles; \
                 --role all runs every role in one process without it"
            )));
        }
        if self.bus.is_some() && roles.need_store() && self.store.is_none() {
            return Err(Failure::usage(format!(
                "role {names} in a cluster (--bus) needs --store redis://HOST:PORT: \
                 the embedded store belongs to one process"
            )));
        }
        if self.ledger.is_some() && self.store.is_none() && roles.need_store() {
            return Err(Failure::usage(
                "--ledger needs --store: they are embedded together or both in Redis",
            ));
        }
        Ok(())
    }
}

/// A URL of one of the known schemes. Empty counts as not given, so that a variable can be unset
/// where only its value can be changed.
fn url(flag: &str, value: Option<String>, schemes: &[&str]) -> anyhow::Result<Option<String>> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if schemes.iter().any(|scheme| value.starts_with(scheme)) {
        return Ok(Some(value));
    }
    // The value is not repeated: it may hold a password.
    Err(Failure::usage(format!("--{flag} must be a URL that starts with {}", schemes.join(" or "))))
}

fn agent_url(value: Option<String>) -> anyhow::Result<Option<String>> {
    url("agent-url", value, &["wss://", "ws://", "https://", "http://"])
}

/// Less than an hour is a mistake: somebody wants to see what became of commands, and agents must
/// find the time to fetch the next credential.
fn at_least_an_hour(flag: &str, text: &str) -> anyhow::Result<Duration> {
    let time = humantime::parse_duration(text).ok();
    let time = time.filter(|time| *time >= Duration::from_secs(3600));
    time.ok_or_else(|| {
        let reason = "must be a time of an hour or more, as 12h or 30d";
        Failure::usage(format!("--{flag} {text:?} {reason}"))
    })
}

/// Less than an hour is a mistake: agents are away that long whenever a machine is mended.
fn forget_after(text: &str) -> anyhow::Result<Option<Duration>> {
    if text == "never" {
        return Ok(None);
    }
    let time = humantime::parse_duration(text).ok();
    let time = time.filter(|time| *time >= Duration::from_secs(3600));
    time.map(Some).ok_or_else(|| {
        Failure::usage(format!(
            "--forget-after {text:?} must be a time of an hour or more, as 12h or 30d, or never"
        ))
    })
}

/// Names that become subjects and keys.
pub(super) fn plain(flag: &str, name: &str) -> anyhow::Result<()> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=63).contains(&name.len()) && name.chars().all(safe) {
        return Ok(());
    }
    Err(Failure::usage(format!("--{flag} {name:?} must be 1 to 63 letters, digits, `-` or `_`")))
}
