//! What may be seen, what may not, and that nothing breaks it.

mod canaries;
mod proto;
mod texts;

use opamp::v1::any_value::Value as Any;
use opamp::v1::*;
use proptest::prelude::*;

use super::*;

fn file(body: &str) -> AgentConfigFile {
    AgentConfigFile { body: body.to_owned().into(), ..Default::default() }
}

fn reporting(body: &str) -> AgentToServer {
    let config_map = [("a.yaml".to_owned(), file(body))].into();
    AgentToServer {
        instance_uid: vec![7; 16],
        sequence_num: 300,
        effective_config: Some(EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) }),
        ..Default::default()
    }
}

fn body(shown: &Shown<AgentToServer>) -> String {
    let config = shown.message.effective_config.as_ref().unwrap().config_map.as_ref().unwrap();
    String::from_utf8(config.config_map["a.yaml"].body.to_vec()).unwrap()
}

#[test]
fn bodies_are_told_by_size_and_hash_unless_they_are_asked_for() {
    let bytes = reporting("a: 1\npassword: p\n").encode_to_vec();
    let hidden = from_agent(&bytes, false, Bodies::Hidden).unwrap();
    let measured = body(&hidden);
    assert!(measured.starts_with("[17 bytes, sha256 ") && measured.len() == 83, "{measured}");
    let shown = from_agent(&bytes, false, Bodies::Shown).unwrap();
    assert_eq!(body(&shown), "a: 1\npassword: [redacted]\n");
}

#[test]
fn unknown_fields_are_told_by_number_and_size() {
    let mut bytes = reporting("a: 1").encode_to_vec();
    opamp::fields::write_bytes(&mut bytes, 99, b"unheard of");
    let mut nested = Vec::new();
    opamp::fields::write_bytes(&mut nested, 17, b"new");
    opamp::fields::write_bytes(&mut bytes, 5, &nested);
    let shown = from_agent(&bytes, false, Bodies::Shown).unwrap();
    let hidden = |path: &str, number, size_bytes| Hidden {
        path: path.to_owned(),
        number,
        size_bytes,
        cut: false,
    };
    assert_eq!(shown.hidden, [hidden("", 99, 10), hidden("health", 17, 3)]);
    assert!(!format!("{shown:?}").contains("unheard"));
}

#[test]
fn of_a_message_that_is_cut_off_the_rest_is_shown() {
    let mut message = reporting(&"x: 1\n".repeat(1_000));
    message.health = Some(ComponentHealth { healthy: true, ..Default::default() });
    let bytes = message.encode_to_vec();
    let shown = from_agent(&bytes[..200], true, Bodies::Shown).unwrap();
    assert_eq!(shown.message.sequence_num, 300);
    assert!(shown.message.health.as_ref().unwrap().healthy);
    assert_eq!(body(&shown), "", "no part of a body is taken for the whole");
    let path = "effective_config.config_map.config_map.value.body".to_owned();
    assert_eq!(shown.hidden, [Hidden { path, number: 1, size_bytes: 5_000, cut: true }]);
}

#[test]
fn what_is_no_message_shows_its_beginning_and_why() {
    let error = from_agent(&[0xff; 40], false, Bodies::Shown).unwrap_err();
    assert_eq!(error.head_hex, "ff".repeat(24));
    assert!(!error.reason.is_empty());
}

#[test]
fn attributes_that_name_secrets_are_masked() {
    let string = |text: &str| Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) });
    let value = |key: &str, text: &str| KeyValue { key: key.to_owned(), value: string(text) };
    let attributes = vec![value("db.password", "p"), value("host.name", "h")];
    let message = AgentToServer {
        agent_description: Some(AgentDescription {
            identifying_attributes: attributes,
            non_identifying_attributes: Vec::new(),
        }),
        ..Default::default()
    };
    let shown = from_agent(&message.encode_to_vec(), false, Bodies::Hidden).unwrap();
    let description = shown.message.agent_description.unwrap();
    assert_eq!(description.identifying_attributes[0].value, string(REDACTED));
    assert_eq!(description.identifying_attributes[1].value, string("h"));
}

proptest! {
    #[test]
    fn no_bytes_break_it(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        truncated: bool,
        shown: bool,
    ) {
        let bodies = if shown { Bodies::Shown } else { Bodies::Hidden };
        let _ = from_agent(&bytes, truncated, bodies);
        let _ = to_agent(&bytes, truncated, bodies);
    }

    /// Bytes that nearly are a message get further than any bytes do.
    #[test]
    fn no_damage_breaks_it(text in "(?s).{0,80}", at: prop::sample::Index, with: u8, cut: bool) {
        let mut bytes = reporting(&text).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if cut {
            bytes.truncate(at);
        }
        let _ = from_agent(&bytes, cut, Bodies::Shown);
        let _ = to_agent(&bytes, cut, Bodies::Shown);
    }

    #[test]
    fn no_text_breaks_it(text in "(?s).{0,300}") {
        mask(&text);
    }

    /// What is left of a truncated message is always a message.
    #[test]
    fn a_message_may_be_cut_anywhere(at: prop::sample::Index) {
        let bytes = reporting("a: 1\nb: 2\n").encode_to_vec();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(from_agent(cut, true, Bodies::Shown).is_ok());
    }
}
