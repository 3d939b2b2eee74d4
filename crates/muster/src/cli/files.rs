//! The files of a config as given on the command line: `-f FILE` or `-f KEY=FILE`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use opamp::v1::AgentConfigFile;

use crate::exit::Failure;

/// Reads the files. A lone file has the empty key, which agents take as "the config".
pub(super) fn read(arguments: &[String]) -> anyhow::Result<BTreeMap<String, AgentConfigFile>> {
    let mut files = BTreeMap::new();
    for argument in arguments {
        let (key, path) = argument.split_once('=').unwrap_or(("", argument));
        let body = body(path).with_context(|| format!("reading {path}"))?;
        let file = AgentConfigFile {
            body: body.into(),
            content_type: content_type(path).to_owned(),
            ..Default::default()
        };
        if files.insert(key.to_owned(), file).is_some() {
            return Err(Failure::usage(if key.is_empty() {
                "several files need names: -f KEY=FILE".to_owned()
            } else {
                format!("two files are named {key:?}")
            }));
        }
    }
    Ok(files)
}

/// What is in a file; `-` is standard input.
pub(super) fn body(path: &str) -> anyhow::Result<Vec<u8>> {
    if path == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body)?;
        return Ok(body);
    }
    Ok(std::fs::read(path)?)
}

fn content_type(path: &str) -> &'static str {
    let extension = Path::new(path).extension();
    match extension.and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => "text/yaml",
        Some("json") => "application/json",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_file_has_the_empty_key_and_its_type_is_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            path.display().to_string()
        };
        let (yaml, json, other) = (file("a.yaml"), file("b.json"), file("c.conf"));

        let files = read(std::slice::from_ref(&yaml)).unwrap();
        assert_eq!(files[""].content_type, "text/yaml");
        assert_eq!(&files[""].body[..], b"a.yaml");

        let named = [format!("b={json}"), format!("c={other}")];
        let files = read(&named).unwrap();
        assert_eq!(files["b"].content_type, "application/json");
        assert_eq!(files["c"].content_type, "");

        let error = read(&[yaml, json.clone()]).unwrap_err();
        assert!(error.to_string().contains("KEY=FILE"), "{error}");
        let error = read(&[format!("b={json}"), format!("b={other}")]).unwrap_err();
        assert!(error.to_string().contains("\"b\""), "{error}");
        let error = format!("{:#}", read(&["missing.yaml".to_owned()]).unwrap_err());
        assert!(error.starts_with("reading missing.yaml: "), "{error}");
    }
}
