//! A word in every string of every message: which of them may be seen is a list.

use std::collections::{BTreeMap, BTreeSet};

use opamp::Message;
use opamp::fields::write_bytes;
use proptest::prelude::*;

use super::super::{Bodies, from_agent, to_agent};
use super::proto::{self, Field};

/// What may be seen of a message as it is. All else is masked, measured or left out.
const SEEN: &[&str] = &[
    "agent_description.identifying_attributes.key",
    "agent_description.identifying_attributes.value.array_value.values.kvlist_value.values.key",
    "agent_description.identifying_attributes.value.array_value.values.string_value",
    "agent_description.identifying_attributes.value.kvlist_value.values.key",
    "agent_description.identifying_attributes.value.kvlist_value.values.value.string_value",
    "agent_description.identifying_attributes.value.string_value",
    "agent_identification.new_instance_uid",
    "available_components.components.key",
    "available_components.hash",
    "connection_settings.hash",
    "connection_settings.opamp.destination_endpoint",
    "connection_settings.opamp.headers.headers.key",
    "connection_settings.opamp.other_settings.key",
    "connection_settings.opamp.proxy.connect_headers.headers.key",
    "connection_settings.opamp.proxy.url",
    "connection_settings.opamp.tls.cipher_suites",
    "connection_settings.opamp.tls.max_version",
    "connection_settings.opamp.tls.min_version",
    "connection_settings.other_connections.key",
    "connection_settings_status.error_message",
    "connection_settings_status.last_connection_settings_hash",
    "custom_capabilities.capabilities",
    "custom_message.capability",
    "custom_message.type",
    "effective_config.config_map.config_map.key",
    "effective_config.config_map.config_map.value.content_type",
    "effective_config.config_map.config_map.value.role",
    "error_response.error_message",
    "health.component_health_map.key",
    "health.last_error",
    "health.status",
    "instance_uid",
    "package_statuses.error_message",
    "package_statuses.packages.key",
    "package_statuses.packages.value.agent_has_hash",
    "package_statuses.packages.value.agent_has_version",
    "package_statuses.packages.value.error_message",
    "package_statuses.packages.value.name",
    "package_statuses.packages.value.server_offered_hash",
    "package_statuses.packages.value.server_offered_version",
    "package_statuses.server_provided_all_packages_hash",
    "packages_available.all_packages_hash",
    "packages_available.packages.key",
    "packages_available.packages.value.file.content_hash",
    "packages_available.packages.value.file.download_url",
    "packages_available.packages.value.file.headers.headers.key",
    "packages_available.packages.value.file.signature",
    "packages_available.packages.value.hash",
    "packages_available.packages.value.version",
    "remote_config.config_hash",
    "remote_config_status.error_message",
    "remote_config_status.last_remote_config_hash",
];

/// Parts of paths that stand for others of the same kind in the list.
const ALIKE: &[(&str, &str)] = &[
    ("non_identifying_attributes", "identifying_attributes"),
    ("available_components.components.value.metadata", "agent_description.identifying_attributes"),
    ("health.attributes", "agent_description.identifying_attributes"),
    ("own_metrics", "opamp"),
    ("own_traces", "opamp"),
    ("own_logs", "opamp"),
    ("other_connections.value", "opamp"),
    ("remote_config.config.config_map", "effective_config.config_map.config_map"),
];

/// Kinds of values.
const CHOICES: usize = 7;
/// Levels of what holds its own kind.
const REPEATS_MAX: usize = 2;

/// Fills every string with a word of its own.
struct Filler {
    messages: BTreeMap<String, Vec<Field>>,
    /// Which alternative is taken where there are some.
    choice: usize,
    word: String,
    words: Vec<(String, String)>,
    /// Texts are URLs with the word as a password, and bytes nothing of interest.
    urls: bool,
}

impl Filler {
    fn message(&mut self, name: &str, path: &mut Vec<String>, kinds: &mut Vec<String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let fields = self.messages[name].clone();
        let mut choices: BTreeMap<&str, Vec<&Field>> = BTreeMap::new();
        for field in &fields {
            choices.entry(field.one_of.as_deref().unwrap_or(&field.name)).or_default().push(field);
        }
        for alternatives in choices.values() {
            // Inside of a value another one may be taken.
            let values = kinds.iter().filter(|kind| *kind == "AnyValue").count();
            let choice = if values > 1 { self.choice / CHOICES } else { self.choice };
            let field = alternatives[choice % CHOICES % alternatives.len()];
            path.push(field.name.clone());
            if self.messages.contains_key(&field.kind) {
                if kinds.iter().filter(|kind| **kind == field.kind).count() < REPEATS_MAX {
                    kinds.push(field.kind.clone());
                    let inner = self.message(&field.kind, path, kinds);
                    write_bytes(&mut bytes, field.number, &inner);
                    kinds.pop();
                }
            } else if matches!(field.kind.as_str(), "string" | "bytes") {
                let word = format!("{}n{}n", self.word, self.words.len());
                let text = match (self.urls, &*field.kind) {
                    (false, _) => word.clone(),
                    (true, "string") => format!("https://u:{word}@host/p?q={word}"),
                    (true, _) => "bytes".to_owned(),
                };
                write_bytes(&mut bytes, field.number, text.as_bytes());
                self.words.push((path.join("."), word));
            }
            path.pop();
        }
        bytes
    }
}

fn filled(name: &str, choice: usize, word: &str, urls: bool) -> (Vec<u8>, Vec<(String, String)>) {
    let (messages, word) = (proto::messages(), word.to_owned());
    let mut filler = Filler { messages, choice, word, words: Vec::new(), urls };
    let bytes = filler.message(name, &mut Vec::new(), &mut Vec::new());
    (bytes, filler.words)
}

/// The typed message as anybody could see it: its text and its bytes.
fn seen(message: &(impl Message + std::fmt::Debug)) -> String {
    let bytes = message.encode_to_vec();
    format!("{message:?} {}", String::from_utf8_lossy(&bytes))
}

fn alike(path: &str) -> String {
    // What holds its own kind shows the same of it.
    let mut path = path.replace("component_health_map.value.", "");
    path = path
        .replace("sub_component_map", "components")
        .replace("components.value.components", "components");
    path = path.replace("array_value.values.array_value.values", "array_value.values");
    path = path.replace("kvlist_value.values.value.kvlist_value.values", "kvlist_value.values");
    for (part, same) in ALIKE {
        path = path.replace(part, same);
    }
    path.replace("non_identifying", "identifying")
}

fn shown(name: &str, bytes: &[u8], truncated: bool) -> Option<String> {
    match name {
        "AgentToServer" => Some(seen(&from_agent(bytes, truncated, Bodies::Hidden).ok()?.message)),
        _ => Some(seen(&to_agent(bytes, truncated, Bodies::Hidden).ok()?.message)),
    }
}

#[test]
fn what_may_be_seen_is_a_list() {
    let mut found = BTreeSet::new();
    for name in ["AgentToServer", "ServerToAgent"] {
        for choice in 0..CHOICES * CHOICES {
            let (bytes, words) = filled(name, choice, "canary", false);
            assert!(words.len() > 20, "{words:?}");
            let text = shown(name, &bytes, false).unwrap();
            let visible = words.iter().filter(|(_, word)| text.contains(word));
            found.extend(visible.map(|(path, _)| alike(path)));
        }
    }
    let list: BTreeSet<String> = SEEN.iter().map(ToString::to_string).collect();
    assert_eq!(found, list);
}

#[test]
fn passwords_of_urls_are_seen_nowhere() {
    for name in ["AgentToServer", "ServerToAgent"] {
        for choice in 0..CHOICES * CHOICES {
            let (bytes, words) = filled(name, choice, "canary", true);
            let text = shown(name, &bytes, false).unwrap();
            assert!(text.contains("https://[redacted]@host/p?[redacted]"), "{text}");
            for (path, word) in &words {
                assert!(!text.contains(word), "{path}");
            }
        }
    }
}

proptest! {
    /// Wherever a message breaks off, and whatever the words are.
    #[test]
    fn nothing_else_is_seen_of_a_part_either(
        word in "[a-zA-Z0-9]{8}",
        choice in 0..CHOICES * CHOICES,
        at: prop::sample::Index,
        agent: bool,
    ) {
        let name = if agent { "AgentToServer" } else { "ServerToAgent" };
        let (bytes, words) = filled(name, choice, &word, false);
        let text = shown(name, &bytes[..at.index(bytes.len() + 1)], true).unwrap_or_default();
        for (path, word) in words.iter().filter(|(path, _)| !SEEN.contains(&&*alike(path))) {
            prop_assert!(!text.contains(word), "{path}");
        }
    }
}
