//! What is known of agents that speak without changing anything: written by workers in one
//! command per batch, read when an agent turns up without a session that vouches for its numbers.

use bus::{Client, Subject, v1};
use model::{AgentRecord, Timestamp};
use store::{POLLS, Presence};

/// Holder of the uids that were given out and maybe not adopted yet.
pub(crate) const ASSIGNED: &str = "assigned";

/// Where the newest number of an agent may lie, apart from its record.
pub(crate) fn holder(record: &AgentRecord) -> Option<String> {
    if record.polls {
        return Some(POLLS.to_owned());
    }
    record.last_gateway.as_ref().map(|gateway| gateway.as_str().to_owned())
}

/// The last number answered, by record and presence together; `None` if presence adds nothing.
pub(crate) fn answered(record: &AgentRecord, found: &Presence) -> Option<u64> {
    let adds = if record.polls {
        // Polls are noted at every poll; only a record written since knows better.
        found.seen >= record.last_seen
    } else {
        found.epoch == record.epoch && Some(found.sequence_num) > record.sequence_num
    };
    adds.then_some(found.sequence_num)
}

/// Tells the views which agents polled. Lost, it only ages their last-seen.
pub(crate) async fn publish_polls(bus: &Client, seen: &[Presence], now: Timestamp) {
    let seen = seen
        .iter()
        .map(|presence| v1::presence::Seen {
            instance_uid: presence.instance_uid.as_bytes().to_vec().into(),
            epoch: 0,
            sequence_num: presence.sequence_num,
            seen_unix_ms: presence.seen.0,
        })
        .collect();
    let presence = v1::Presence { gateway_id: String::new(), seen, sessions: 0, at_unix_ms: now.0 };
    if let Err(error) = bus.publish(&Subject::Presence, &presence).await {
        tracing::debug!(%error, "polls not announced");
    }
}

/// The entries of a gateway's batch that can be read.
pub(crate) fn entries(batch: &v1::Presence) -> Vec<Presence> {
    let entry = |seen: &v1::presence::Seen| {
        Some(Presence {
            instance_uid: (&seen.instance_uid[..]).try_into().ok()?,
            epoch: seen.epoch,
            sequence_num: seen.sequence_num,
            seen: Timestamp(seen.seen_unix_ms),
        })
    };
    batch.seen.iter().filter_map(entry).collect()
}
