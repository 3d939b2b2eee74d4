//! Many agents that differ as real ones do, described by their number alone.

use std::time::Duration;

use opamp::InstanceUid;
use opamp::v1::{AgentDescription, AnyValue, KeyValue, any_value::Value};

use crate::core::Settings;
use crate::link::{Endpoint, Trust};
use crate::run::{start_after, unix_nano};
use crate::{Error, Handle};

/// How a swarm is made.
#[derive(Debug, Clone)]
pub struct Swarm {
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

fn description(number: usize) -> AgentDescription {
    let pick = |list: &[&'static str]| list[number % list.len()];
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
    };
    AgentDescription {
        identifying_attributes: vec![
            text("service.name", pick(&["otelcol", "otelcol", "otelcol-contrib"]).to_owned()),
            text("service.version", pick(&["0.140.0", "0.141.0"]).to_owned()),
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
