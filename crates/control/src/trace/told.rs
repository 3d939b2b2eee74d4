//! What who listens is told: a gateway's entries as the API has them, and words about the trace.

use std::sync::Arc;

use bus::v1::tap_reply::entry::Content as Heard;
use bus::v1::tap_reply::{Entry, Fact, Hidden, Undecodable};
use bus::v1::{TapDirection, Transport};
use model::{RevisionRef, Timestamp};
use opamp::InstanceUid;
use opamp::v1::ServerToAgent;

use crate::Limits;
use crate::api::{convert, names};
use crate::error::within;
use crate::ledger::Ledger;
use crate::stream::{Ended, Queue};
use crate::v1::trace_agent_response::Content;
use crate::v1::{
    TraceAgentResponse, TraceDirection, TraceFact, TraceHiddenField, TraceNotice, TraceUndecodable,
    trace_notice,
};
use crate::view::View;

/// Tells of one agent.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) limits: Limits,
    pub(super) view: Arc<View>,
    pub(super) ledger: Ledger,
    pub(super) uid: InstanceUid,
    pub(super) queue: Queue<TraceAgentResponse>,
}

impl Teller {
    /// Tells one entry.
    pub(super) async fn entry(&self, gateway: &str, entry: Entry) -> Result<(), Ended> {
        let config_revision = match &entry.content {
            Some(Heard::ServerToAgent(message)) => self.revision(message).await,
            _ => String::new(),
        };
        self.queue.send(response(gateway, entry, config_revision)).await
    }

    /// Says something about the trace.
    pub(super) async fn notice(
        &self,
        gateway: &str,
        kind: trace_notice::Kind,
        entries: u64,
    ) -> Result<(), Ended> {
        let notice = TraceNotice { kind: kind.into(), entries };
        let response = TraceAgentResponse {
            gateway_id: gateway.to_owned(),
            content: Some(Content::Notice(notice)),
            ..Default::default()
        };
        self.queue.send(response).await
    }

    /// The revision that a message offers, if it is on offer now. An offer may be here before the
    /// news of it.
    async fn revision(&self, message: &ServerToAgent) -> String {
        let Some(config) = &message.remote_config else { return String::new() };
        let is_it = |offered: &RevisionRef| offered.hash.0[..] == config.config_hash[..];
        let shown = self.view.agent(&self.uid);
        let offered = shown.and_then(|shown| shown.entry.summary.config.offered.clone());
        let offered = match offered.filter(is_it) {
            Some(offered) => Some(offered),
            None => {
                let asked = self.ledger.assignments();
                let known = within(self.limits.store_timeout, "the ledger", asked).await.ok();
                let all = known.into_iter().flat_map(|(assignments, _)| assignments.list);
                all.filter_map(|found| found.content.config().cloned()).find(is_it)
            }
        };
        offered.map_or_else(String::new, |found| names::revision(&found.config, found.revision))
    }
}

fn response(gateway: &str, entry: Entry, config_revision: String) -> TraceAgentResponse {
    let direction = match entry.direction() {
        TapDirection::Unspecified => TraceDirection::Unspecified,
        TapDirection::In => TraceDirection::In,
        TapDirection::Out => TraceDirection::Out,
    };
    let transport = match entry.transport() {
        Transport::Unspecified => "",
        Transport::WebSocket => "websocket",
        Transport::Http => "http",
    };
    let hidden_fields = entry.hidden.into_iter().map(hidden).collect();
    TraceAgentResponse {
        time: Some(convert::time(Timestamp(entry.at_unix_ms))),
        gateway_id: gateway.to_owned(),
        position: entry.position,
        direction: direction.into(),
        transport: transport.to_owned(),
        size_bytes: entry.size_bytes,
        truncated: entry.truncated,
        content: entry.content.map(content),
        hidden_fields,
        http_status: number(entry.http_status),
        retry_after_seconds: number(entry.retry_after_seconds),
        config_revision,
    }
}

fn content(heard: Heard) -> Content {
    match heard {
        Heard::AgentToServer(message) => Content::AgentToServer(message),
        Heard::ServerToAgent(message) => Content::ServerToAgent(message),
        Heard::Undecodable(Undecodable { reason, head_hex }) => {
            Content::Undecodable(TraceUndecodable { reason, head_hex })
        }
        Heard::Fact(Fact { kind, close_code, epoch, remote_address }) => {
            // The numbers of kinds are the same on both sides.
            let close_code = number(close_code);
            Content::Fact(TraceFact { kind, close_code, epoch, remote_address })
        }
    }
}

fn hidden(field: Hidden) -> TraceHiddenField {
    TraceHiddenField {
        path: field.path,
        number: number(field.number),
        size_bytes: field.size_bytes,
        cut: field.cut,
    }
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use bus::v1::tap_reply::fact;

    use crate::v1::trace_fact;

    #[test]
    fn facts_have_the_same_numbers_on_the_bus_and_in_the_api() {
        let mut numbers = 0;
        for number in 0..100 {
            let bus = fact::Kind::try_from(number).map(|kind| kind.as_str_name().to_owned());
            let api = trace_fact::Kind::try_from(number).map(|kind| kind.as_str_name().to_owned());
            let api = api.map(|name| format!("KIND_{}", name.trim_start_matches("KIND_")));
            assert_eq!(bus.is_ok(), api.is_ok(), "{number}");
            if let (Ok(bus), Ok(api)) = (bus, api) {
                assert_eq!(bus, api);
                numbers += 1;
            }
        }
        assert_eq!(numbers, 7);
    }
}
