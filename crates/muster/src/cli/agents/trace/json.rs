//! An entry for programs: one object a line.

use control::v1::trace_agent_response::Content;
use control::v1::{TraceAgentResponse, TraceDirection, TraceHiddenField};
use serde_json::{Map, Value, json};

use super::super::super::json::{time, wire};
use super::super::super::names::short;
use super::text;

/// Members that say nothing are left out.
pub(super) fn entry(entry: &TraceAgentResponse) -> Value {
    let direction = match entry.direction() {
        TraceDirection::Unspecified => None,
        TraceDirection::In => Some("in"),
        TraceDirection::Out => Some("out"),
    };
    let mut value = Map::new();
    let mut put = |key: &str, member: Value| {
        let empty = matches!(&member, Value::Null) || member == json!("") || member == json!(0);
        if !empty {
            value.insert(key.to_owned(), member);
        }
    };
    put("time", time(entry.time.as_ref()).into());
    put("gateway", entry.gateway_id.clone().into());
    put("position", entry.position.into());
    put("direction", direction.into());
    put("transport", entry.transport.clone().into());
    put("size_bytes", entry.size_bytes.into());
    put("truncated", entry.truncated.then_some(true).into());
    put("summary", text::summary(entry).into());
    put("config", short(&entry.config_revision).into());
    put("http_status", entry.http_status.into());
    put("retry_after_seconds", entry.retry_after_seconds.into());
    let hidden: Vec<Value> = entry.hidden_fields.iter().map(hidden).collect();
    put("hidden_fields", (!hidden.is_empty()).then_some(hidden).into());
    match &entry.content {
        None => {}
        Some(Content::AgentToServer(message)) => put("message", wire::from_agent(message)),
        Some(Content::ServerToAgent(message)) => put("message", wire::to_agent(message)),
        Some(Content::Undecodable(undecodable)) => put(
            "undecodable",
            json!({ "reason": undecodable.reason, "head_hex": undecodable.head_hex }),
        ),
        Some(Content::Fact(fact)) => put(
            "event",
            json!({
                "kind": fact.kind().as_str_name(),
                "close_code": fact.close_code,
                "epoch": fact.epoch,
                "remote_address": fact.remote_address,
            }),
        ),
        Some(Content::Notice(notice)) => {
            put(
                "notice",
                json!({ "kind": notice.kind().as_str_name(), "entries": notice.entries }),
            );
        }
    }
    Value::Object(value)
}

fn hidden(field: &TraceHiddenField) -> Value {
    json!({
        "path": field.path,
        "number": field.number,
        "size_bytes": field.size_bytes,
        "cut": field.cut,
    })
}
