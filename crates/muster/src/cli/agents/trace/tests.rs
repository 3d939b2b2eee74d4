//! What people and programs see of a trace.

use control::v1::{TraceFact, TraceHiddenField, TraceNotice, TraceUndecodable, trace_fact};
use opamp::v1::*;

use super::*;

fn entry(seconds: i64, direction: TraceDirection, content: Content) -> TraceAgentResponse {
    TraceAgentResponse {
        time: Some(prost_types::Timestamp { seconds, nanos: 345_000_000 }),
        gateway_id: "g1".to_owned(),
        position: u64::try_from(seconds).unwrap(),
        direction: direction.into(),
        transport: "websocket".to_owned(),
        size_bytes: 24,
        content: Some(content),
        ..Default::default()
    }
}

fn heartbeat() -> TraceAgentResponse {
    let message = AgentToServer {
        instance_uid: vec![7; 16],
        sequence_num: 42,
        capabilities: 0x3007,
        ..Default::default()
    };
    entry(1_700_000_000, TraceDirection::In, Content::AgentToServer(message))
}

fn offer() -> TraceAgentResponse {
    let measure = format!("[1234 bytes, sha256 {}]", "ab".repeat(32));
    let file = AgentConfigFile {
        body: measure.into(),
        content_type: "text/yaml".to_owned(),
        ..Default::default()
    };
    let config = Some(AgentConfigMap { config_map: [("main.yaml".to_owned(), file)].into() });
    let message = ServerToAgent {
        instance_uid: vec![7; 16],
        flags: 1,
        remote_config: Some(AgentRemoteConfig { config, config_hash: vec![0xcd; 32] }),
        ..Default::default()
    };
    let offer = entry(1_700_000_001, TraceDirection::Out, Content::ServerToAgent(message));
    let config_revision = "configs/collector/revisions/2".to_owned();
    TraceAgentResponse { config_revision, ..offer }
}

fn text(entries: &[TraceAgentResponse]) -> String {
    let mut printer = Printer::new(Format::Table, false);
    entries.iter().map(|entry| printer.shown(entry)).collect()
}

#[test]
fn a_heartbeat_is_one_line_under_its_day() {
    let expected = "\
── 2023-11-14, UTC ──
22:13:20.345  agent ──▶  heartbeat #42                       24 bytes  websocket  g1
";
    assert_eq!(text(&[heartbeat()]), expected);
}

#[test]
fn an_offer_shows_what_is_set_in_it_and_no_more() {
    let expected = "\
22:13:21.345  agent ◀──  offer collector@2 + asks for full state  24 bytes  websocket  g1
                         flags: ReportFullState
                         remote_config:
                           files:
                             main.yaml: [1234 bytes, sha256 abababababab…] text/yaml
                           hash: cdcdcdcdcdcd…
";
    let both = text(&[heartbeat(), offer()]);
    assert!(both.ends_with(expected), "{both}");
}

#[test]
fn facts_notices_and_damage_are_told() {
    let fact = TraceFact {
        kind: trace_fact::Kind::ClosedByServer.into(),
        close_code: 1001,
        ..Default::default()
    };
    let closed = entry(1_700_000_000, TraceDirection::Unspecified, Content::Fact(fact));
    let undecodable =
        TraceUndecodable { reason: "no\u{1b}[31m".to_owned(), head_hex: "ff".to_owned() };
    let undecodable = entry(1_700_000_000, TraceDirection::In, Content::Undecodable(undecodable));
    let notice = TraceNotice { kind: Kind::Lost.into(), entries: 7 };
    let lost = TraceAgentResponse {
        gateway_id: "g1".to_owned(),
        content: Some(Content::Notice(notice)),
        ..Default::default()
    };
    let mut cut = heartbeat();
    cut.truncated = true;
    cut.hidden_fields = vec![
        TraceHiddenField { path: "health".to_owned(), number: 5, size_bytes: 99, cut: true },
        TraceHiddenField { path: String::new(), number: 77, size_bytes: 3, cut: false },
    ];
    let expected = "\
── 2023-11-14, UTC ──
22:13:20.345  agent ─╳─  closed by the server, code 1001     g1
22:13:20.345  agent ──▶  undecodable                         24 bytes  websocket  g1
                         no [31m
                         begins with ff
              ── 7 entries of gateway g1 were dropped ──
22:13:20.345  agent ──▶  heartbeat #42                       24 bytes, cut  websocket  g1
                         health: cut off, 99 bytes
                         unknown field 77: 3 bytes
";
    assert_eq!(text(&[closed, undecodable, lost, cut]), expected);
}

#[test]
fn a_refused_poll_says_when_to_come_back() {
    let details = server_error_response::Details::RetryInfo(RetryInfo {
        retry_after_nanoseconds: 30_000_000_001,
    });
    let message = ServerToAgent {
        error_response: Some(ServerErrorResponse {
            r#type: ServerErrorResponseType::Unavailable.into(),
            error_message: "later".to_owned(),
            details: Some(details),
        }),
        ..Default::default()
    };
    let mut refused = entry(1_700_000_000, TraceDirection::Out, Content::ServerToAgent(message));
    refused.transport = "http".to_owned();
    (refused.http_status, refused.retry_after_seconds) = (503, 31);
    let shown = text(&[refused.clone()]);
    assert!(shown.contains("error Unavailable + come back in 31 s"), "{shown}");
    assert!(shown.contains("http 503  Retry-After 31 s  g1"), "{shown}");
    let value = json::entry(&refused);
    assert_eq!(value["message"]["error_response"]["retry_after_seconds"], 31);
    assert_eq!((&value["http_status"], &value["direction"]), (&503.into(), &"out".into()));
}

#[test]
fn json_is_one_object_a_line() {
    let mut printer = Printer::new(Format::Json, false);
    let line = printer.shown(&offer());
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["summary"], "offer collector@2 + asks for full state");
    assert_eq!(value["config"], "collector@2");
    assert_eq!(value["message"]["instance_uid"], "07070707-0707-0707-0707-070707070707");
    assert_eq!(value["message"]["remote_config"]["hash"], "cd".repeat(32));
    assert_eq!(value["message"]["flags"][0], "ReportFullState");
    assert!(value.get("truncated").is_none());
}

#[test]
fn nothing_is_printed_twice_when_a_trace_goes_on() {
    let mut printer = Printer::new(Format::Table, false);
    assert!(printer.is_news(&heartbeat()) && printer.is_news(&offer()));
    assert!(!printer.is_news(&heartbeat()) && !printer.is_news(&offer()));
    let notice = |kind: Kind| {
        let notice = TraceNotice { kind: kind.into(), entries: 0 };
        TraceAgentResponse { content: Some(Content::Notice(notice)), ..Default::default() }
    };
    assert!(printer.is_news(&notice(Kind::Following)));
    assert!(!printer.is_news(&notice(Kind::Following)), "a sign of life");
    assert!(printer.is_news(&notice(Kind::Lost)) && printer.is_news(&notice(Kind::Lost)));
}
