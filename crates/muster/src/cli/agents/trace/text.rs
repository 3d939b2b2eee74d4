//! An entry for people: a line that says what it is, and below it what is set in it.

use control::v1::trace_agent_response::Content;
use control::v1::{
    TraceAgentResponse, TraceDirection, TraceFact, TraceHiddenField, TraceNotice, trace_fact,
    trace_notice,
};
use opamp::v1::server_error_response::Details;
use opamp::v1::{AgentToServer, ServerToAgent, ServerToAgentFlags};
use serde_json::Value;

use super::super::super::json::wire;
use super::super::super::names::short;
use super::super::super::time::rfc3339;
use super::super::printable;

/// Where the words of an entry begin.
const INDENT: usize = 25;
/// Room for what an entry is, before how it travelled.
const SUMMARY_CHARS: usize = 34;
/// Characters shown of a hash.
const HASH_CHARS: usize = 12;
/// Lines shown of one text.
const TEXT_LINES_MAX: usize = 200;

/// Entries one after the other.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// Day of the last entry.
    day: String,
    /// What was said last of capabilities, by the agent and by the server.
    capabilities: [Value; 2],
}

impl Text {
    pub(super) fn entry(&mut self, entry: &TraceAgentResponse) -> String {
        let Some((day, time)) = clock(entry) else {
            return format!("{}── {}\n", " ".repeat(INDENT - 11), summary(entry));
        };
        let mut text = String::new();
        if day != self.day {
            text += &format!("── {day}, UTC ──\n");
            self.day = day;
        }
        let arrow = match (entry.direction(), &entry.content) {
            (TraceDirection::In, _) => "agent ──▶",
            (TraceDirection::Out, _) => "agent ◀──",
            (TraceDirection::Unspecified, Some(Content::Fact(fact))) if ends(fact) => "agent ─╳─",
            (TraceDirection::Unspecified, _) => "agent ───",
        };
        let line = format!("{time}  {arrow}  {:SUMMARY_CHARS$}  {}", summary(entry), travel(entry));
        text += line.trim_end();
        text.push('\n');
        text + &self.details(entry)
    }

    /// What is set in a message, but for what its line says.
    fn details(&mut self, entry: &TraceAgentResponse) -> String {
        let (message, said) = match &entry.content {
            Some(Content::AgentToServer(message)) => (wire::from_agent(message), 0),
            Some(Content::ServerToAgent(message)) => (wire::to_agent(message), 1),
            Some(Content::Undecodable(undecodable)) => {
                let lines = [&undecodable.reason, &format!("begins with {}", undecodable.head_hex)];
                return lines.map(|line| format!("{:INDENT$}{}\n", "", printable(line))).concat();
            }
            Some(Content::Fact(_) | Content::Notice(_)) | None => return String::new(),
        };
        let mut text = String::new();
        if let Value::Object(mut members) = message {
            members.remove("instance_uid");
            members.remove("sequence_num");
            // Every heartbeat and every answer has these, and they hardly ever change.
            let same = members.get("capabilities") == Some(&self.capabilities[said]);
            if same || members.len() == 1 {
                members.remove("capabilities");
            } else if let Some(capabilities) = members.get("capabilities") {
                self.capabilities[said].clone_from(capabilities);
            }
            members.iter().for_each(|(key, value)| field(&mut text, key, value, INDENT));
        }
        entry.hidden_fields.iter().for_each(|hidden| text += &not_shown(hidden));
        text
    }
}

/// Day and time of day.
fn clock(entry: &TraceAgentResponse) -> Option<(String, String)> {
    let time = entry.time.as_ref()?;
    let seconds = u64::try_from(time.seconds).ok()?;
    let whole = rfc3339(seconds.saturating_mul(1000));
    let (day, clock) = whole.trim_end_matches('Z').split_once('T')?;
    Some((day.to_owned(), format!("{clock}.{:03}", time.nanos / 1_000_000)))
}

/// How it travelled, and how large it was.
fn travel(entry: &TraceAgentResponse) -> String {
    let mut words = Vec::new();
    if !matches!(entry.content, Some(Content::Fact(_))) {
        let cut = if entry.truncated { ", cut" } else { "" };
        words.push(format!("{} bytes{cut}", entry.size_bytes));
        words.push(match (&entry.transport[..], entry.http_status) {
            (transport, 0) => transport.to_owned(),
            (transport, status) => format!("{transport} {status}"),
        });
        if entry.retry_after_seconds > 0 {
            words.push(format!("Retry-After {} s", entry.retry_after_seconds));
        }
    }
    words.push(entry.gateway_id.clone());
    printable(&words.join("  "))
}

/// What an entry is, in a few words.
pub(super) fn summary(entry: &TraceAgentResponse) -> String {
    let summary = match &entry.content {
        None => "of a kind that this version does not know".to_owned(),
        Some(Content::AgentToServer(message)) => heard(message),
        Some(Content::ServerToAgent(message)) => said(message, entry),
        Some(Content::Undecodable(_)) => "undecodable".to_owned(),
        Some(Content::Fact(fact)) => happened(fact),
        Some(Content::Notice(notice)) => noticed(notice, &entry.gateway_id),
    };
    printable(&summary)
}

fn heard(message: &AgentToServer) -> String {
    let number = message.sequence_num;
    if message.agent_disconnect.is_some() {
        return format!("goodbye #{number}");
    }
    if message.agent_description.is_some() {
        return format!("full state #{number}");
    }
    let about: Vec<&str> = [
        (message.health.is_some(), "health"),
        (message.effective_config.is_some(), "effective config"),
        (message.remote_config_status.is_some(), "config status"),
        (message.package_statuses.is_some(), "packages"),
        (message.connection_settings_request.is_some(), "certificate request"),
        (message.custom_capabilities.is_some(), "custom capabilities"),
        (message.custom_message.is_some(), "custom message"),
        (message.available_components.is_some(), "components"),
        (message.connection_settings_status.is_some(), "connection status"),
        (message.flags != 0, "flags"),
    ]
    .into_iter()
    .filter_map(|(there, name)| there.then_some(name))
    .collect();
    match &about[..] {
        [] => format!("heartbeat #{number}"),
        about => format!("{} #{number}", about.join(" + ")),
    }
}

fn said(message: &ServerToAgent, entry: &TraceAgentResponse) -> String {
    let mut words = Vec::new();
    if let Some(error) = &message.error_response {
        let kind = error.r#type().as_str_name();
        words.push(format!("error {}", kind.rsplit('_').next().unwrap_or(kind)));
        if let Some(Details::RetryInfo(info)) = &error.details {
            let seconds = info.retry_after_nanoseconds.div_ceil(1_000_000_000);
            words.push(format!("come back in {seconds} s"));
        }
    }
    if let Some(config) = &message.remote_config {
        let named = match &entry.config_revision[..] {
            "" => hash(
                &config
                    .config_hash
                    .iter()
                    .fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
            ),
            revision => short(revision),
        };
        words.push(format!("offer {named}"));
    }
    if let Some(command) = &message.command {
        let kind = command.r#type().as_str_name();
        words.push(format!("command {}", kind.rsplit('_').next().unwrap_or(kind).to_lowercase()));
    }
    let wants = |flag: ServerToAgentFlags| message.flags & flag as u64 != 0;
    for (there, name) in [
        (message.connection_settings.is_some(), "connection settings"),
        (message.packages_available.is_some(), "packages"),
        (message.agent_identification.is_some(), "new uid"),
        (message.custom_message.is_some(), "custom message"),
        (wants(ServerToAgentFlags::ReportFullState), "asks for full state"),
        (wants(ServerToAgentFlags::ReportAvailableComponents), "asks for components"),
    ] {
        if there {
            words.push(name.to_owned());
        }
    }
    match &words[..] {
        [] => "acknowledgement".to_owned(),
        words => words.join(" + "),
    }
}

fn ends(fact: &TraceFact) -> bool {
    use trace_fact::Kind::{Broken, ClosedByAgent, ClosedByServer, Superseded};
    matches!(fact.kind(), ClosedByAgent | ClosedByServer | Broken | Superseded)
}

fn happened(fact: &TraceFact) -> String {
    let code = match fact.close_code {
        0 => String::new(),
        code => format!(", code {code}"),
    };
    match fact.kind() {
        trace_fact::Kind::Unspecified => "something else happened".to_owned(),
        trace_fact::Kind::Opened => format!("connected from {}", fact.remote_address),
        trace_fact::Kind::Claimed => format!("session begins, epoch {}", fact.epoch),
        trace_fact::Kind::ClosedByAgent => format!("closed by the agent{code}"),
        trace_fact::Kind::ClosedByServer => format!("closed by the server{code}"),
        trace_fact::Kind::Broken => "connection lost".to_owned(),
        trace_fact::Kind::Superseded => format!("superseded, epoch {}", fact.epoch),
    }
}

fn noticed(notice: &TraceNotice, gateway: &str) -> String {
    match notice.kind() {
        trace_notice::Kind::Unspecified => "a notice of another version".to_owned(),
        trace_notice::Kind::Following => "live from here on ──".to_owned(),
        trace_notice::Kind::Lost => {
            format!("{} entries of gateway {gateway} were dropped ──", notice.entries)
        }
        trace_notice::Kind::Silent => {
            format!("gateway {gateway} does not answer: what it hears is missing ──")
        }
        trace_notice::Kind::Heard => format!("gateway {gateway} answers again ──"),
    }
}

fn not_shown(hidden: &TraceHiddenField) -> String {
    let TraceHiddenField { path, number, size_bytes, cut } = hidden;
    let path = printable(path);
    match (cut, &path[..]) {
        (true, path) => format!("{:INDENT$}{path}: cut off, {size_bytes} bytes\n", ""),
        (false, "") => format!("{:INDENT$}unknown field {number}: {size_bytes} bytes\n", ""),
        (false, path) => {
            format!("{:INDENT$}{path}: unknown field {number}, {size_bytes} bytes\n", "")
        }
    }
}

/// One member, on a line or as a block of its own.
fn field(text: &mut String, key: &str, value: &Value, indent: usize) {
    let key = if key.is_empty() { "\"\"".to_owned() } else { printable(key) };
    *text += &format!("{:indent$}{key}:", "");
    match value {
        Value::Object(members) if members.is_empty() => text.push_str(" -\n"),
        Value::Object(members) => match one_line(members) {
            Some(line) => *text += &format!(" {line}\n"),
            None => {
                text.push('\n');
                members.iter().for_each(|(key, value)| field(text, key, value, indent + 2));
            }
        },
        Value::String(words) if words.contains('\n') => {
            text.push('\n');
            let mut lines = words.lines();
            for line in lines.by_ref().take(TEXT_LINES_MAX) {
                *text += &format!("{:width$}{}\n", "", printable(line), width = indent + 2);
            }
            match lines.count() {
                0 => {}
                more => *text += &format!("{:width$}… {more} more lines\n", "", width = indent + 2),
            }
        }
        value => *text += &format!(" {}\n", plain(&key, value)),
    }
}

/// A file of which only its measure is shown takes no block.
fn one_line(members: &serde_json::Map<String, Value>) -> Option<String> {
    let body = members.get("body")?.as_str().filter(|body| body.starts_with('['))?;
    let kind = members.get("content_type").and_then(Value::as_str);
    (members.len() <= 2).then(|| match kind {
        Some(kind) => format!("{} {}", plain("body", &body.into()), printable(kind)),
        None => plain("body", &body.into()),
    })
}

fn plain(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if key.ends_with("hash") => hash(text),
        Value::String(text) => printable(&measured(text)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| plain("", item)).collect();
            items.join(", ")
        }
        value => printable(&value.to_string()),
    }
}

/// The beginning of a hash.
fn hash(text: &str) -> String {
    match text.char_indices().nth(HASH_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A measure with the beginning of its hash.
fn measured(text: &str) -> String {
    match text.split_once(", sha256 ") {
        Some((size, sum)) if text.starts_with('[') && text.ends_with(']') => {
            format!("{size}, sha256 {}]", hash(sum.trim_end_matches(']')))
        }
        _ => text.to_owned(),
    }
}
