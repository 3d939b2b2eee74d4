//! What agents may ask of a gateway and how long they may be silent: bounds that operators set.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Layer;
use crate::exit::Failure;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Bounds of the OpAMP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// Bytes of one message from an agent.
    pub(crate) message_max_bytes: usize,
    /// Bytes of one message to an agent.
    pub(crate) reply_max_bytes: usize,
    /// Bytes of all messages from agents that are in hand at once.
    pub(crate) memory_max_bytes: usize,
    /// WebSockets at once.
    pub(crate) connections_max: usize,
    /// WebSocket handshakes in a second.
    pub(crate) handshakes_max: u32,
    /// Connections of one address; 0 is no bound.
    pub(crate) address_connections_max: usize,
    /// Time without progress in writing to a peer.
    pub(crate) write_deadline: Duration,
    /// Silence on a WebSocket before it is pinged.
    pub(crate) ping_interval: Duration,
    /// Bytes in which the last messages of agents are remembered; 0 for none.
    pub(crate) trace_bytes: usize,
    /// Silence of an agent that polls before it counts as gone.
    pub(crate) poll_lease: Duration,
}

impl Protocol {
    pub(super) fn check(layer: &Layer) -> anyhow::Result<Self> {
        let count = |flag, value: Option<u64>, default, range| {
            let value = within(flag, value.unwrap_or(default), range)?;
            Ok::<_, anyhow::Error>(usize::try_from(value).unwrap_or(usize::MAX))
        };
        // One message crosses the bus whole, and the bus takes 64 MiB.
        let message = 64 * KIB..=64 * MIB;
        let set = layer.opamp_message_max_bytes;
        let message_max_bytes = count("opamp-message-max-bytes", set, 64 * MIB, message.clone())?;
        let set = layer.opamp_reply_max_bytes;
        let reply_max_bytes = count("opamp-reply-max-bytes", set, 64 * MIB, message)?;
        let least = message_max_bytes as u64;
        let memory = least..=1 << 40;
        let set = layer.opamp_memory_max_bytes;
        let memory_max_bytes = count("opamp-memory-max-bytes", set, 512 * MIB, memory)?;
        let set = layer.opamp_connections_max;
        let connections_max = count("opamp-connections-max", set, 100_000, 1..=1_000_000)?;
        let handshakes_max = layer.opamp_handshakes_max.unwrap_or(5_000);
        let handshakes_max = within("opamp-handshakes-max", handshakes_max, 1..=100_000)?;
        let flag = "opamp-address-connections-max";
        let set = layer.opamp_address_connections_max;
        let bounded = set.map(|_| count(flag, set, 1, 1..=1_000_000)).transpose()?;
        let set = layer.opamp_write_deadline.as_deref();
        let write_deadline = time("opamp-write-deadline", set.unwrap_or("30s"))?;
        let set = layer.opamp_ping_after.as_deref();
        let ping_interval = time("opamp-ping-after", set.unwrap_or("30s"))?;
        // A few agents' last words at the least.
        let set = layer.opamp_trace_bytes.filter(|bytes| *bytes > 0);
        let remembered = set.map(|_| count("opamp-trace-bytes", set, 1, 256 * KIB..=1 << 30));
        let trace_bytes = match (layer.opamp_trace_bytes, remembered.transpose()?) {
            (None, _) => 4 << 20,
            (Some(_), remembered) => remembered.unwrap_or(0),
        };
        let poll_lease = time("poll-lease", layer.poll_lease.as_deref().unwrap_or("90s"))?;
        Ok(Self {
            message_max_bytes,
            reply_max_bytes,
            memory_max_bytes,
            connections_max,
            handshakes_max: u32::try_from(handshakes_max).unwrap_or(u32::MAX),
            address_connections_max: bounded.unwrap_or(0),
            write_deadline,
            ping_interval,
            trace_bytes,
            poll_lease,
        })
    }

    /// The gateway's limits with these bounds in them.
    pub(crate) fn apply_to_gateway(&self, limits: &mut gateway::Limits) {
        limits.receive_bytes_max = self.message_max_bytes;
        limits.send_bytes_max = self.reply_max_bytes;
        limits.inbound_bytes_max = self.memory_max_bytes;
        limits.connections_max = self.connections_max;
        limits.http_connections_max = self.connections_max;
        limits.connections_per_address_max = self.address_connections_max;
        // A second's worth at once.
        limits.handshakes =
            gateway::Rate { per_second: self.handshakes_max, burst: self.handshakes_max };
        limits.write_deadline = self.write_deadline;
        limits.ping_interval = self.ping_interval;
        limits.trace_ring_bytes = self.trace_bytes;
        // As long, at the most: what is gone is to be seen soon.
        limits.pong_deadline = limits.pong_deadline.min(self.ping_interval);
    }

    /// Control's limits with these bounds in them: a config that no gateway could send is refused
    /// when it is applied.
    pub(crate) fn apply_to_control(&self, limits: &mut control::Limits) {
        let around = self.reply_max_bytes / REST_OF_REPLY;
        limits.config_bytes_max = limits.config_bytes_max.min(self.reply_max_bytes - around);
        limits.poll_lease_ms = u64::try_from(self.poll_lease.as_millis()).unwrap_or(u64::MAX);
    }
}

/// Share of a reply that is left for what surrounds a config.
const REST_OF_REPLY: usize = 64;

fn within(flag: &str, value: u64, range: RangeInclusive<u64>) -> anyhow::Result<u64> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    Err(Failure::usage(format!("--{flag} is {value}, it must be {least} to {most}")))
}

/// Below a second pings and polls would cross; beyond a day nobody would call it silence.
fn time(flag: &str, text: &str) -> anyhow::Result<Duration> {
    let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
    let time = humantime::parse_duration(text).ok().filter(|time| range.contains(time));
    let error = || Failure::usage(format!("--{flag} {text:?} must be a time of 1s to 1d, as 45s"));
    time.ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(layer: &Layer) -> String {
        format!("{:#}", Protocol::check(layer).unwrap_err())
    }

    #[test]
    fn defaults_are_those_of_the_gateway_and_of_control() {
        let protocol = Protocol::check(&Layer::default()).unwrap();
        let (mut gateway, mut control) = Default::default();
        let before = format!("{gateway:?} {control:?}");
        protocol.apply_to_gateway(&mut gateway);
        protocol.apply_to_control(&mut control);
        assert_eq!(format!("{gateway:?} {control:?}"), before);
    }

    #[test]
    fn what_cannot_work_is_named_with_its_range() {
        let layer = Layer { opamp_message_max_bytes: Some(1), ..Layer::default() };
        let expected = "--opamp-message-max-bytes is 1, it must be 65536 to 67108864";
        assert_eq!(refusal(&layer), expected);
        let layer = Layer { opamp_memory_max_bytes: Some(1 << 20), ..Layer::default() };
        assert!(refusal(&layer).contains("must be 67108864 to"), "one message must have room");
        for text in ["0s", "30", "2d"] {
            let layer = Layer { opamp_ping_after: Some(text.to_owned()), ..Layer::default() };
            assert!(refusal(&layer).starts_with("--opamp-ping-after"), "{text}");
            let set = Some(text.to_owned());
            let layer = Layer { opamp_write_deadline: set, ..Layer::default() };
            assert!(refusal(&layer).starts_with("--opamp-write-deadline"), "{text}");
            let layer = Layer { poll_lease: Some(text.to_owned()), ..Layer::default() };
            assert!(refusal(&layer).starts_with("--poll-lease"), "{text}");
        }
    }

    #[test]
    fn what_is_set_reaches_the_gateway() {
        let layer = Layer {
            opamp_handshakes_max: Some(7),
            opamp_address_connections_max: Some(8),
            opamp_write_deadline: Some("9s".to_owned()),
            opamp_trace_bytes: Some(0),
            ..Layer::default()
        };
        let mut limits = gateway::Limits::default();
        assert_eq!(limits.connections_per_address_max, 0, "no bound");
        Protocol::check(&layer).unwrap().apply_to_gateway(&mut limits);
        assert_eq!(limits.handshakes, gateway::Rate { per_second: 7, burst: 7 });
        assert_eq!(limits.connections_per_address_max, 8);
        assert_eq!(limits.write_deadline, Duration::from_secs(9));
        assert_eq!(limits.trace_ring_bytes, 0, "none");
        for layer in [
            Layer { opamp_handshakes_max: Some(0), ..Layer::default() },
            Layer { opamp_address_connections_max: Some(0), ..Layer::default() },
        ] {
            assert!(refusal(&layer).contains("it must be 1 to "), "{}", refusal(&layer));
        }
        let layer = Layer { opamp_trace_bytes: Some(1), ..Layer::default() };
        assert!(refusal(&layer).contains("it must be 262144 to "), "{}", refusal(&layer));
    }

    #[test]
    fn what_could_not_be_sent_is_not_taken() {
        let layer = Layer { opamp_reply_max_bytes: Some(64 << 10), ..Layer::default() };
        let mut limits = control::Limits::default();
        Protocol::check(&layer).unwrap().apply_to_control(&mut limits);
        assert_eq!(limits.config_bytes_max, 63 << 10);
    }
}
