//! Contexts: servers under names, kept in a file, one of them in use.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::exit::{Code, Failure};

/// A server and how it is reached. What it does not say is left to the defaults. Secrets stay in
/// files of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cert_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_file: Option<PathBuf>,
}

/// The file of contexts.
#[derive(Debug)]
pub(super) struct Contexts {
    path: PathBuf,
    pub(super) kept: Kept,
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Kept {
    /// Name of the one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    pub(super) contexts: BTreeMap<String, Context>,
}

impl Context {
    /// This, and where it is silent what another one says.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            server: self.server.or(below.server),
            ca_file: self.ca_file.or(below.ca_file),
            token_file: self.token_file.or(below.token_file),
            cert_file: self.cert_file.or(below.cert_file),
            key_file: self.key_file.or(below.key_file),
        }
    }

    /// The same with paths that mean the same from anywhere.
    pub(super) fn anchored(mut self) -> anyhow::Result<Self> {
        let paths =
            [&mut self.ca_file, &mut self.token_file, &mut self.cert_file, &mut self.key_file];
        for path in paths.into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }
}

impl Contexts {
    /// Reads the file; one that is not there has none.
    pub(super) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path.or_else(default_path) else {
            return Ok(Self { path: PathBuf::new(), kept: Kept::default() });
        };
        let kept = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| Failure::usage(error.to_string().trim_end().to_owned()))
                .with_context(|| format!("reading {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
        };
        Ok(Self { path, kept })
    }

    /// The context of a name, or the one in use; an empty one if none is.
    pub(super) fn find(&self, name: Option<&str>) -> anyhow::Result<Context> {
        let name = name.filter(|name| !name.is_empty()).or(self.kept.current.as_deref());
        let Some(name) = name else { return Ok(Context::default()) };
        let found = self.kept.contexts.get(name).cloned();
        found.ok_or_else(|| self.missing(name))
    }

    /// Says that there is no such context.
    pub(super) fn missing(&self, name: &str) -> anyhow::Error {
        let known: Vec<&str> = self.kept.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let text = format!("context {name:?} does not exist; there are: {known}");
        Failure::new(Code::NotFound, text).into()
    }

    /// Writes the file anew, readable by its owner alone: a crash leaves the old one or the new.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        let write = || {
            std::fs::create_dir_all(dir)?;
            // Made with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(toml::to_string(&self.kept)?.as_bytes())?;
            file.persist(&self.path)?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("writing {}", self.path.display()))
    }
}

fn default_path() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".config/muster/contexts.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/contexts.toml");
        let mut contexts = Contexts::open(Some(path.clone())).unwrap();
        assert_eq!(contexts.find(None).unwrap(), Context::default());
        let prod = Context { server: Some("https://prod:4321".to_owned()), ..Context::default() };
        contexts.kept.contexts.insert("prod".to_owned(), prod.clone());
        contexts.kept.current = Some("prod".to_owned());
        contexts.save().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Contexts::open(Some(path)).unwrap();
        assert_eq!((again.find(None).unwrap(), &again.kept), (prod, &contexts.kept));
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.toml");
        std::fs::write(&path, "[contexts.a]\nsevrer = \"x\"\n").unwrap();
        let error = format!("{:#}", Contexts::open(Some(path)).unwrap_err());
        assert!(error.contains("contexts.toml") && error.contains("line 2"), "{error}");
        assert!(error.contains("sevrer"), "{error}");
    }
}
