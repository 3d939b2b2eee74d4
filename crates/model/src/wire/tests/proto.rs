//! The protocol's own files, read as far as tests need them.

use std::collections::BTreeMap;

use super::super::schema;

const FILES: [&str; 2] = [
    include_str!("../../../../../proto/opamp/v1/opamp.proto"),
    include_str!("../../../../../proto/opamp/v1/anyvalue.proto"),
];

/// A field as the file has it.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) number: u32,
    /// Only one of those of the same name is there at once.
    pub(super) one_of: Option<String>,
}

/// Messages by name. Maps are messages of their own.
pub(super) fn messages() -> BTreeMap<String, Vec<Field>> {
    let mut messages = BTreeMap::new();
    for text in FILES {
        let (mut message, mut one_of, mut in_enum) = (None::<String>, None::<String>, false);
        for line in text.lines() {
            let line = line.split("//").next().unwrap().trim();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["message", name, ..] => {
                    messages.insert(name.to_owned(), Vec::new());
                    message = (!line.ends_with('}')).then(|| name.to_owned());
                }
                ["enum", ..] => in_enum = true,
                ["oneof", name, ..] => one_of = Some(name.to_owned()),
                ["}"] if in_enum => in_enum = false,
                ["}"] if one_of.is_some() => one_of = None,
                ["}"] => message = None,
                _ if !in_enum && line.contains(" = ") => {
                    let Some(message) = &message else { continue };
                    let (before, number) = line.split_once(" = ").unwrap();
                    let number = number.split_whitespace().next().unwrap();
                    let (before, name) = before.rsplit_once(' ').unwrap();
                    let number: String = number.chars().filter(char::is_ascii_digit).collect();
                    let kind = before.replace("repeated", "");
                    let mut kind = kind.trim().to_owned();
                    if let Some(value) = kind.strip_prefix("map<") {
                        let value = value.split(',').nth(1).unwrap().trim_end_matches('>').trim();
                        let field = |kind: &str, name: &str, number| Field {
                            kind: kind.to_owned(),
                            name: name.to_owned(),
                            number,
                            one_of: None,
                        };
                        let entry = vec![field("string", "key", 1), field(value, "value", 2)];
                        kind = format!("map of {value}");
                        messages.insert(kind.clone(), entry);
                    }
                    let number = number.parse().unwrap();
                    let field =
                        Field { kind, name: name.to_owned(), number, one_of: one_of.clone() };
                    messages.get_mut(message).unwrap().push(field);
                }
                _ => {}
            }
        }
    }
    messages
}

/// Compares a message and all in it with the schema.
fn compare(
    proto: &BTreeMap<String, Vec<Field>>,
    name: &str,
    known: &'static schema::Message,
    seen: &mut Vec<String>,
) {
    if seen.iter().any(|seen| seen == name) {
        return;
    }
    seen.push(name.to_owned());
    let fields = &proto[name];
    let here: Vec<(u32, &str)> =
        known.fields.iter().map(|field| (field.number, field.name)).collect();
    let there: Vec<(u32, &str)> =
        fields.iter().map(|field| (field.number, field.name.as_str())).collect();
    assert_eq!(here, there, "{name}");
    for field in fields {
        match (proto.contains_key(&field.kind), known.field(field.number).unwrap().inner) {
            (true, Some(inner)) => compare(proto, &field.kind, inner, seen),
            (false, None) => {}
            (holds, _) => panic!("{name}.{}: holds messages: {holds}", field.name),
        }
    }
}

#[test]
fn the_schema_is_that_of_the_protocol() {
    let proto = messages();
    let mut seen = Vec::new();
    compare(&proto, "AgentToServer", &schema::AGENT_TO_SERVER, &mut seen);
    compare(&proto, "ServerToAgent", &schema::SERVER_TO_AGENT, &mut seen);
    assert_eq!(seen.len(), schema::ALL.len(), "{seen:?}");
}
