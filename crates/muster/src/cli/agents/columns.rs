//! The columns of `muster agents list`: what they are called, what they show, and what the server
//! orders by where a list is sorted by one.

use std::fmt;
use std::str::FromStr;

use control::v1::Agent;
use control::v1::agent_connection_settings::Offered;

use super::super::{json, names, time};
use super::{config, health};

/// Shown unless told otherwise.
pub(super) const DEFAULT: &str = "uid,name,version,status,health,config,last-seen";

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Fixed(&'static Fixed),
    /// A label that operators gave.
    Label(String),
    /// An attribute that the agent reported.
    Attribute(String),
}

/// A column without a key of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    name: &'static str,
    heading: &'static str,
    /// Field of the API that orders like it; empty if none does.
    order_by: &'static str,
    cell: Cell,
}

#[derive(Debug, PartialEq, Eq)]
enum Cell {
    Uid,
    Attribute(&'static str),
    Status,
    Health,
    Config,
    ConfigStatus,
    Error,
    LastSeen,
    FirstSeen,
    Gateway,
    Transport,
    Address,
    Labels,
    Capabilities,
    Custom,
    Packages,
    PackagesStatus,
    Settings,
    SettingsStatus,
}

const fn fixed(
    name: &'static str,
    heading: &'static str,
    order_by: &'static str,
    cell: Cell,
) -> Fixed {
    Fixed { name, heading, order_by, cell }
}

static COLUMNS: [Fixed; 22] = [
    fixed("uid", "INSTANCE UID", "instance_uid", Cell::Uid),
    fixed("name", "NAME", "attributes.service.name", Cell::Attribute("service.name")),
    fixed("version", "VERSION", "attributes.service.version", Cell::Attribute("service.version")),
    fixed("status", "STATUS", "status", Cell::Status),
    fixed("health", "HEALTH", "health.healthy", Cell::Health),
    fixed("config", "CONFIG", "config.offered_revision", Cell::Config),
    fixed("config-status", "CONFIG STATUS", "config.status", Cell::ConfigStatus),
    fixed("error", "ERROR", "", Cell::Error),
    fixed("last-seen", "LAST SEEN", "last_seen_time", Cell::LastSeen),
    fixed("first-seen", "FIRST SEEN", "first_seen_time", Cell::FirstSeen),
    fixed("gateway", "GATEWAY", "gateway_id", Cell::Gateway),
    fixed("transport", "TRANSPORT", "transport", Cell::Transport),
    fixed("address", "ADDRESS", "", Cell::Address),
    fixed("host", "HOST", "attributes.host.name", Cell::Attribute("host.name")),
    fixed("os", "OS", "attributes.os.type", Cell::Attribute("os.type")),
    fixed("labels", "LABELS", "", Cell::Labels),
    fixed("capabilities", "CAPABILITIES", "", Cell::Capabilities),
    fixed("custom", "CUSTOM CAPABILITIES", "", Cell::Custom),
    fixed("packages", "PACKAGES", "", Cell::Packages),
    fixed("packages-status", "PACKAGES STATUS", "", Cell::PackagesStatus),
    fixed("settings", "SETTINGS", "", Cell::Settings),
    fixed("settings-status", "SETTINGS STATUS", "", Cell::SettingsStatus),
];

/// The names of all columns, for help and errors.
pub(super) fn known() -> String {
    let names = COLUMNS.iter().map(|column| column.name);
    names.chain(["label:KEY", "attr:KEY"]).collect::<Vec<_>>().join(", ")
}

impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("label", key)) if !key.is_empty() => return Ok(Self::Label(key.to_owned())),
            Some(("attr", key)) if !key.is_empty() => return Ok(Self::Attribute(key.to_owned())),
            _ => {}
        }
        let found = COLUMNS.iter().find(|column| column.name == text);
        found.map(Self::Fixed).ok_or_else(|| format!("no column {text:?}; known: {}", known()))
    }
}

impl Column {
    /// What stands above it.
    pub(super) fn heading(&self) -> String {
        match self {
            Self::Fixed(column) => column.heading.to_owned(),
            Self::Label(key) | Self::Attribute(key) => key.to_uppercase(),
        }
    }

    /// What it says of an agent.
    pub(super) fn cell(&self, agent: &Agent, now_ms: u64) -> String {
        match self {
            Self::Fixed(column) => column.cell.of(agent, now_ms),
            Self::Label(key) => agent.labels.get(key).cloned().unwrap_or_default(),
            Self::Attribute(key) => attribute(agent, key),
        }
    }
}

/// The first thing that an agent says went wrong with what it is offered.
fn error(agent: &Agent) -> String {
    let config = agent.config.as_ref().map(|it| &it.error_message);
    let packages = agent.packages.as_ref().map(|it| &it.error_message);
    let settings = agent.connection_settings.as_ref().map(|it| &it.error_message);
    let all = [config, packages, settings].into_iter().flatten();
    let mut all = all.filter(|error| !error.is_empty());
    all.next().cloned().unwrap_or_default()
}

impl Cell {
    fn of(&self, agent: &Agent, now_ms: u64) -> String {
        let ago = |seen: Option<prost_types::Timestamp>| {
            seen.map_or_else(String::new, |seen| time::ago(now_ms, seen.seconds))
        };
        let standing = agent.config.as_ref();
        match self {
            Self::Uid => agent.instance_uid.clone(),
            Self::Attribute(key) => attribute(agent, key),
            Self::Status => json::connection_status(agent.status).to_owned(),
            Self::Health => health(agent),
            Self::Config => config(agent),
            Self::ConfigStatus => standing
                .map_or_else(String::new, |config| json::config_status(config.status).to_owned()),
            Self::Error => error(agent),
            Self::LastSeen => ago(agent.last_seen_time),
            Self::FirstSeen => ago(agent.first_seen_time),
            Self::Gateway => names::short(&agent.gateway_id),
            Self::Transport => agent.transport.clone(),
            Self::Address => agent.remote_address.clone(),
            Self::Labels => {
                let labels = agent.labels.iter().map(|(key, value)| format!("{key}={value}"));
                labels.collect::<Vec<_>>().join(",")
            }
            Self::Capabilities => opamp::capability::names(agent.capabilities).join(","),
            Self::Custom => agent.custom_capabilities.join(","),
            Self::Packages => agent
                .packages
                .as_ref()
                .map_or_else(String::new, |it| names::short(&it.offered_revision)),
            Self::PackagesStatus => agent.packages.as_ref().map_or_else(String::new, |it| {
                let percent = it.download_percent.map(|percent| format!(" {percent:.0}%"));
                it.status().as_str_name().to_owned() + &percent.unwrap_or_default()
            }),
            Self::Settings => agent.connection_settings.as_ref().map_or_else(String::new, |it| {
                let offered = it.offered.iter();
                let one = |it: &Offered| format!("{}={}", it.class, names::short(&it.revision));
                offered.map(one).collect::<Vec<_>>().join(",")
            }),
            Self::SettingsStatus => agent
                .connection_settings
                .as_ref()
                .map_or_else(String::new, |it| it.status().as_str_name().to_owned()),
        }
    }
}

/// Attributes that identify an agent come before those that describe it.
fn attribute(agent: &Agent, key: &str) -> String {
    json::attribute(&agent.identifying_attributes, key)
        .or_else(|| json::attribute(&agent.non_identifying_attributes, key))
        .unwrap_or_default()
}

/// A column to sort by: `NAME`, `NAME:asc` or `NAME:desc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sort {
    order_by: String,
    descending: bool,
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, descending) = match text.rsplit_once(':') {
            Some((column, "desc")) => (column, true),
            Some((column, "asc")) => (column, false),
            _ => (text, false),
        };
        let order_by = match column.parse()? {
            Column::Fixed(Fixed { order_by: "", name, .. }) => {
                return Err(format!("column {name:?} cannot be sorted by"));
            }
            Column::Fixed(column) => column.order_by.to_owned(),
            Column::Label(key) => format!("labels.{key}"),
            Column::Attribute(key) => format!("attributes.{key}"),
        };
        Ok(Self { order_by, descending })
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.order_by)?;
        if self.descending { f.write_str(" desc") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_known_by_one_name() {
        for column in &COLUMNS {
            let read: Column = column.name.parse().unwrap();
            assert_eq!(read, Column::Fixed(column), "{}", column.name);
        }
        for name in DEFAULT.split(',') {
            name.parse::<Column>().unwrap();
        }
        let error = "colour".parse::<Column>().unwrap_err();
        assert!(error.contains("\"colour\"") && error.contains("last-seen, "), "{error}");
        assert!("label:".parse::<Column>().is_err(), "a key is part of it");
    }

    #[test]
    fn a_column_to_sort_by_becomes_a_field_of_the_api() {
        let said = |text: &str| text.parse::<Sort>().map(|sort| sort.to_string());
        assert_eq!(said("last-seen:desc").unwrap(), "last_seen_time desc");
        assert_eq!(said("name").unwrap(), "attributes.service.name");
        assert_eq!(said("label:zone:asc").unwrap(), "labels.zone");
        assert_eq!(said("attr:a:b:desc").unwrap(), "attributes.a:b desc");
        assert!(said("labels").unwrap_err().contains("cannot be sorted"));
    }
}
