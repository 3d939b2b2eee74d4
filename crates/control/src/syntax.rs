//! Whether a file is what its content type says, before any agent gets to see it: a config that
//! does not parse would fail on every one of them. What a config means is the agent's business.

use std::fmt;

use opamp::v1::AgentConfigFile;
use saphyr_parser::Parser;

/// Where a file stops being what it says it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    format: &'static str,
    line: usize,
    column: usize,
    reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, line, column, reason } = self;
        write!(f, "not {format}: {reason} at line {line}, column {column}")
    }
}

/// Checks a file whose content type names YAML, JSON or TOML; any other is taken as it is.
pub(crate) fn check(file: &AgentConfigFile) -> Result<(), Fault> {
    let media_type = file.content_type.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "text/yaml" | "text/x-yaml" | "application/yaml" | "application/x-yaml" => {
            yaml(text("YAML", &file.body)?)
        }
        "application/json" | "text/json" => json(text("JSON", &file.body)?),
        "application/toml" | "text/toml" => toml(text("TOML", &file.body)?),
        _ => Ok(()),
    }
}

fn yaml(text: &str) -> Result<(), Fault> {
    let mut events = Parser::new_from_str(text);
    events.try_for_each(|event| event.map(drop)).map_err(|error| Fault {
        format: "YAML",
        line: error.marker().line(),
        column: error.marker().col() + 1,
        reason: error.info().to_owned(),
    })
}

fn json(text: &str) -> Result<(), Fault> {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    parsed.map(drop).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = error.to_string().replace(&place, "");
        Fault { format: "JSON", line: error.line(), column: error.column(), reason }
    })
}

fn toml(text: &str) -> Result<(), Fault> {
    toml::from_str::<toml::Table>(text).map(drop).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = place(text, at);
        Fault { format: "TOML", line, column, reason: error.message().to_owned() }
    })
}

fn text<'a>(format: &'static str, body: &'a [u8]) -> Result<&'a str, Fault> {
    std::str::from_utf8(body).map_err(|error| {
        let good = String::from_utf8_lossy(&body[..error.valid_up_to()]);
        let (line, column) = place(&good, good.len());
        Fault { format, line, column, reason: "bytes that are not UTF-8".to_owned() }
    })
}

/// Line and column of a byte, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &[u8]) -> Result<(), (usize, usize)> {
        let file = AgentConfigFile {
            body: body.to_vec().into(),
            content_type: content_type.to_owned(),
            ..Default::default()
        };
        super::check(&file).map_err(|fault| (fault.line, fault.column))
    }

    #[test]
    fn what_parses_is_taken() {
        assert_eq!(check("text/yaml", b"receivers:\n  otlp: {}\n---\nb: 1\n"), Ok(()));
        assert_eq!(check("application/json; charset=utf-8", b"{\"a\": [1]}"), Ok(()));
        assert_eq!(check("application/toml", b"a = 1\n[b]\n"), Ok(()));
        assert_eq!(check("", b"\xff{{{"), Ok(()), "nothing is claimed");
    }

    #[test]
    fn a_fault_has_a_place() {
        assert_eq!(check("application/json", b"{\n  \"a\": ,\n}"), Err((2, 8)));
        assert_eq!(check("application/toml", b"a = 1\nb = \n").unwrap_err().0, 2);
        assert_eq!(check("text/yaml", b"a: 1\nb: [1, 2\nc: 3\n").unwrap_err().0, 3);
        assert_eq!(check("text/yaml", b"a: 1\n\xff"), Err((2, 1)));
    }
}
