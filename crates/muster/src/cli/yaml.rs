//! YAML as the values that JSON and TOML come to. JSON is YAML, so one reader does for both.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Nesting at the most.
const DEPTH_MAX: usize = 16;

/// The one document in this text. What is wrong is told by its place alone: what stands there may
/// be secret.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            event => return reader.value(event, DEPTH_MAX),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => {
                let (line, column) = (error.marker().line(), error.marker().col() + 1);
                Err(format!("not YAML at line {line}, column {column}"))
            }
        }
    }

    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Value, String> {
        let Some(below) = depth.checked_sub(1) else { return Err("nested too deeply".to_owned()) };
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(&text)),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => self.list(below),
            Event::MappingStart(..) => self.map(below),
            Event::Alias(_) => Err("anchors and aliases are not followed".to_owned()),
            _ => Ok(Value::Null),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(list)),
                event => list.push(self.value(event, depth)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(map)),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err("a key must be text".to_owned()),
            };
            let event = self.next()?;
            let value = self.value(event, depth)?;
            if map.insert(key.clone(), value).is_some() {
                return Err(format!("{key:?} is there twice"));
            }
        }
    }
}

/// A scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_come_to_the_same() {
        let expected = json!({"a": {"b": [1, true, null, "1", "x: y"]}, "c": "d e"});
        let yaml = "a:\n  b:\n  - 1\n  - true\n  - ~\n  - \"1\"\n  - 'x: y'\nc: d e\n";
        assert_eq!(parse(yaml), Ok(expected.clone()));
        assert_eq!(parse(&expected.to_string()), Ok(expected));
        assert_eq!(parse(""), Ok(Value::Null));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        for bad in ["a: [hunter2", "a: hunter2: b", "a: 1\na: hunter2", "[1]: hunter2", "a: *b"] {
            let said = parse(bad).unwrap_err();
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(parse(&"[".repeat(99)).is_err());
    }
}
