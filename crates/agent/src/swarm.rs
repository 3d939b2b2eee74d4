//! Many agents that differ as real ones do, described by their number alone.

use std::sync::Arc;
use std::time::Duration;

use opamp::InstanceUid;
use opamp::v1::{
    AgentDescription, AnyValue, AvailableComponents, ComponentDetails, KeyValue, any_value::Value,
};

use crate::core::Settings;
use crate::link::{Endpoint, Trust};
use crate::run::{start_after, unix_nano};
use crate::{Error, Handle};

/// How a swarm is made.
#[derive(Debug, Clone)]
pub struct Swarm {
    /// Whether they say what they are made of.
    pub components: bool,
    /// How many agents.
    pub agents: usize,
    /// Number of the first one: swarms in other processes take other numbers.
    pub first: usize,
    /// URLs of gateways, taken in turn.
    pub urls: Vec<String>,
    /// How often each speaks when there is nothing to say.
    pub heartbeat: Duration,
    /// Connections begun per second; 0 begins all at once.
    pub connects_per_second: u32,
    /// Custom capabilities that all of them declare.
    pub custom_capabilities: Vec<String>,
    /// Whether ledgers keep entries.
    pub keeps_entries: bool,
    /// Whom all of them trust, and what they show.
    pub trust: Trust,
}

impl Swarm {
    /// Starts the agents. They connect one after the other.
    pub fn start(&self) -> Result<Vec<Handle>, Error> {
        let begun = unix_nano();
        (0..self.agents)
            .map(|index| {
                let settings = Settings {
                    heartbeat_ms: u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX),
                    components: self.components.then(|| components(self.first + index)),
                    custom_capabilities: self.custom_capabilities.clone(),
                    keeps_entries: self.keeps_entries,
                    start_time_unix_nano: begun,
                    ..settings(self.first + index)
                };
                let url = &self.urls[index % self.urls.len()];
                let delay = match self.connects_per_second {
                    0 => Duration::ZERO,
                    rate => {
                        Duration::from_secs(1) * u32::try_from(index).unwrap_or(u32::MAX) / rate
                    }
                };
                let endpoint = Endpoint::parse(url)?.trusting(self.trust.clone());
                Ok(start_after(settings, endpoint, delay))
            })
            .collect()
    }
}

/// The settings of the agent of this number. The same number is the same agent, run after run.
pub fn settings(number: usize) -> Settings {
    let mut bytes = *b"muster-swarm\0\0\0\0";
    bytes[12..].copy_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    // The version and variant bits of a UUIDv8, whose other bits are free.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Settings { description: description(number), ..Settings::new(InstanceUid::from_bytes(bytes)) }
}

/// Versions of the agents.
const VERSIONS: [&str; 2] = ["0.140.0", "0.141.0"];
/// What they are made of, as Collectors list it.
const COMPONENTS: [(&str, &[&str]); 3] = [
    ("receivers", &["otlp", "hostmetrics", "filelog"]),
    ("processors", &["batch", "memory_limiter"]),
    ("exporters", &["otlp", "debug"]),
];

fn components(number: usize) -> Arc<AvailableComponents> {
    let version = VERSIONS[number % VERSIONS.len()];
    let module = |kind: &str, name: &str| {
        let kind = kind.trim_end_matches('s');
        format!("go.opentelemetry.io/collector/{kind}/{name}{kind} v{version}")
    };
    let component = |kind: &str, name: &str| ComponentDetails {
        metadata: vec![text("code.namespace", module(kind, name))],
        ..Default::default()
    };
    let kind = |(kind, names): &(&str, &[&str])| {
        let below = names.iter().map(|name| ((*name).to_owned(), component(kind, name)));
        let details = ComponentDetails { sub_component_map: below.collect(), ..Default::default() };
        ((*kind).to_owned(), details)
    };
    let components = COMPONENTS.iter().map(kind).collect();
    // Agents name their lists as they like.
    let hash = format!("components of {version}").into_bytes();
    Arc::new(AvailableComponents { components, hash })
}

fn text(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
    }
}

fn description(number: usize) -> AgentDescription {
    let pick = |list: &[&'static str]| list[number % list.len()];
    AgentDescription {
        identifying_attributes: vec![
            text("service.name", pick(&["otelcol", "otelcol", "otelcol-contrib"]).to_owned()),
            text("service.version", pick(&VERSIONS).to_owned()),
            text("service.instance.id", format!("agent-{number}")),
        ],
        non_identifying_attributes: vec![
            text("os.type", pick(&["linux", "linux", "windows"]).to_owned()),
            text("host.name", format!("host-{number}")),
            text("env", pick(&["prod", "staging", "dev"]).to_owned()),
            text("region", pick(&["eu-west-1", "us-east-1"]).to_owned()),
        ],
    }
}
