//! Lists of components that agents are made of: named by content, so that a list is kept once for
//! all who have it, and looked through for a component and a version.

use opamp::Message as _;
use opamp::v1::any_value::Value;
use opamp::v1::{AgentDescription, AvailableComponents, ComponentDetails, KeyValue};
use sha2::{Digest as _, Sha256};

use crate::hash::{self, digest};

digest! {
    /// Names a list by its content. Agents name their lists by hashes of their own, which are only
    /// their word.
    ListHash
}

/// Entries of one list that are looked through; gateways take no longer ones.
const ENTRIES_MAX: usize = 20_000;
/// Levels of a list that are looked through.
const DEPTH_MAX: usize = 8;

impl ListHash {
    /// The name of a list, which its agent's own hash is no part of.
    pub fn of(list: &AvailableComponents) -> Self {
        Self(Sha256::digest(encode(list)).into())
    }
}

/// A list in bytes, without its agent's own hash.
pub fn encode(list: &AvailableComponents) -> Vec<u8> {
    let components = list.components.clone();
    AvailableComponents { components, hash: Vec::new() }.encode_to_vec()
}

/// Under what a list is looked for that only an agent's own hash is known of: agents of one kind
/// and version share lists, others do not, whatever hashes they say.
pub fn key(description: Option<&AgentDescription>, hash: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let attributes = description.map_or(&[][..], |it| &it.identifying_attributes);
    let text = |name: &str| {
        let found = attributes.iter().find(|pair| pair.key == name);
        found.and_then(|pair| text(pair)).unwrap_or_default()
    };
    for part in [text("service.name").as_bytes(), text("service.version").as_bytes(), hash] {
        hash::field(&mut hasher, part);
    }
    hasher.finalize().into()
}

/// A component in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Names from the top, as in `receivers/otlp`.
    pub path: String,
    /// Its version, if it says one.
    pub version: String,
}

/// Every component in a list that has none below it, or a version; in the order of their names.
pub fn flatten(list: &AvailableComponents) -> Vec<Component> {
    let mut found = Vec::new();
    for (name, details) in &list.components {
        add(&mut found, name, details, DEPTH_MAX);
    }
    found
}

fn add(found: &mut Vec<Component>, path: &str, details: &ComponentDetails, depth: usize) {
    let version = version(&details.metadata);
    if (details.sub_component_map.is_empty() || !version.is_empty()) && found.len() < ENTRIES_MAX {
        found.push(Component { path: path.to_owned(), version });
    }
    if depth > 1 {
        for (name, below) in &details.sub_component_map {
            add(found, &format!("{path}/{name}"), below, depth - 1);
        }
    }
}

/// What a component says of its version: in so many words, or behind the path of its Go module.
fn version(metadata: &[KeyValue]) -> String {
    let of = |key: &str| metadata.iter().find(|pair| pair.key == key).and_then(text);
    if let Some(version) = of("version").or_else(|| of("service.version")) {
        return version.to_owned();
    }
    let module = of("code.namespace").unwrap_or_default();
    let behind = module.rsplit_once([' ', '@']).map_or("", |(_, version)| version);
    let is_version = behind.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    if is_version { behind.to_owned() } else { String::new() }
}

fn text(pair: &KeyValue) -> Option<&str> {
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Which components are meant: `otlp`, `receivers/otlp`, either with `@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    name: String,
    version: Option<String>,
}

impl Filter {
    /// Understands a filter, or says what is wrong with it.
    pub fn parse(said: &str) -> Result<Self, String> {
        let (name, version) = match said.rsplit_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (said, None),
        };
        if name.is_empty() || name.split('/').any(str::is_empty) {
            return Err(format!("{said:?} names no component: NAME, KIND/NAME, or with @VERSION"));
        }
        if version.is_some_and(str::is_empty) {
            return Err(format!("{said:?} has no version behind the @"));
        }
        Ok(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }

    /// Whether a component is meant: by its last names, and its version with or without a `v`.
    pub fn matches(&self, component: &Component) -> bool {
        let named = component.path == self.name
            || component.path.strip_suffix(&self.name).is_some_and(|before| before.ends_with('/'));
        let bare = |version: &str| version.trim_start_matches('v').to_owned();
        let version = self.version.as_ref();
        named && version.is_none_or(|wanted| bare(wanted) == bare(&component.version))
    }
}

#[cfg(test)]
mod tests {
    use opamp::v1::AnyValue;

    use super::*;

    fn pair(key: &str, value: &str) -> KeyValue {
        let value = Some(Value::StringValue(value.to_owned()));
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value }) }
    }

    fn list() -> AvailableComponents {
        let of = |key: &str, value: &str| ComponentDetails {
            metadata: vec![pair(key, value)],
            ..Default::default()
        };
        let module = of("code.namespace", "go.opentelemetry.io/collector/otlpreceiver v0.116.0");
        let receivers = [("otlp".to_owned(), module), ("hostmetrics".to_owned(), of("x", "y"))];
        let exporters = [("otlp".to_owned(), of("version", "1.2"))];
        let kind = |below: Vec<_>| ComponentDetails {
            sub_component_map: below.into_iter().collect(),
            ..Default::default()
        };
        let components = [
            ("receivers".to_owned(), kind(receivers.into())),
            ("exporters".to_owned(), kind(exporters.into())),
        ];
        AvailableComponents { components: components.into(), hash: vec![1] }
    }

    #[test]
    fn a_list_is_looked_through_by_name_kind_and_version() {
        let found = flatten(&list());
        let shown: Vec<_> = found.iter().map(|it| (it.path.as_str(), &it.version[..])).collect();
        let expected = [
            ("exporters/otlp", "1.2"),
            ("receivers/hostmetrics", ""),
            ("receivers/otlp", "v0.116.0"),
        ];
        assert_eq!(shown, expected);
        for (filter, count) in [
            ("otlp", 2),
            ("receivers/otlp", 1),
            ("otlp@0.116.0", 1),
            ("otlp@v0.116.0", 1),
            ("otlp@0.116", 0),
            ("lp", 0),
            ("receivers", 0),
        ] {
            let filter = Filter::parse(filter).unwrap();
            assert_eq!(found.iter().filter(|it| filter.matches(it)).count(), count, "{filter:?}");
        }
        for wrong in ["", "@1", "otlp@", "/otlp", "a//b"] {
            Filter::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn lists_are_named_by_content_and_looked_for_among_agents_of_a_kind() {
        let other = AvailableComponents { hash: vec![2], ..list() };
        assert_eq!(ListHash::of(&list()), ListHash::of(&other));
        let description = |name: &str| AgentDescription {
            identifying_attributes: vec![pair("service.name", name)],
            ..Default::default()
        };
        let (one, two) = (description("one"), description("two"));
        assert_ne!(key(Some(&one), b"h"), key(Some(&two), b"h"));
        assert_ne!(key(Some(&one), b"h"), key(Some(&one), b"i"));
        assert_eq!(key(Some(&one), b"h"), key(Some(&description("one")), b"h"));
    }
}
