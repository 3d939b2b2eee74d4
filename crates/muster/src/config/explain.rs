//! Where each setting comes from, for people who wonder. Goes through the flags themselves, so
//! that no setting can be left out; what is not given says its default in its help.

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command};

use super::{ServeArgs, Settings};

/// What `serve` would run with, and whether it would.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) rows: Vec<Row>,
    /// Why it would not start.
    pub(crate) problems: Vec<String>,
}

/// A setting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its key in the file.
    pub(crate) key: String,
    /// What it is, secrets masked; `None` if nobody set it and it has no default.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// Who said it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(String),
    Environment(String),
    File(PathBuf),
    Default,
    Nobody,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Nobody => f.write_str("not set"),
        }
    }
}

/// Every flag of `serve`: each is a setting.
pub(crate) fn settings() -> Vec<Arg> {
    ServeArgs::augment_args(Command::new("serve")).get_arguments().cloned().collect()
}

/// Explains what was typed, with what the environment and the file add to it.
pub(crate) fn explain(matches: &ArgMatches, typed: ServeArgs) -> Explained {
    let path = typed.config.clone();
    let file = path.as_deref().and_then(table).unwrap_or_default();
    let rows: Vec<Row> =
        settings().iter().map(|arg| row(arg, matches, path.as_deref(), &file)).collect();
    let unreadable = unreadable(&rows);
    let readable = |settings: Settings| settings.open_doors().and_then(|_| settings.vault());
    let opened = typed.resolve().and_then(readable);
    let refused = opened.err().map(|error| format!("{error:#}"));
    // A file that is not there is said once.
    let known = |text: &String| unreadable.iter().any(|(path, _)| text.contains(path));
    let refused = refused.filter(|text| !known(text));
    let problems = refused.into_iter().chain(unreadable.iter().map(|(_, said)| said.clone()));
    Explained { problems: problems.collect(), rows }
}

/// The file as it stands: what is wrong with it is said by who reads it for real.
fn table(path: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

fn row(arg: &Arg, matches: &ArgMatches, path: Option<&Path>, file: &toml::Table) -> Row {
    let key = arg.get_id().to_string();
    let typed = || {
        let values = matches.get_raw(&key).into_iter().flatten();
        values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")
    };
    let (value, source) = match (matches.value_source(&key), file.get(&key), path) {
        (Some(ValueSource::CommandLine), ..) => {
            (Some(typed()), Source::Flag(arg.get_long().unwrap_or(&key).to_owned()))
        }
        (Some(ValueSource::EnvVariable), ..) => {
            let name = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            (Some(typed()), Source::Environment(name.unwrap_or_default()))
        }
        (_, Some(value), Some(path)) if !is_empty_list(value) => {
            (Some(plain(value)), Source::File(path.to_owned()))
        }
        _ => match default(arg) {
            Some(default) => (Some(default), Source::Default),
            None => (None, Source::Nobody),
        },
    };
    let secret = arg.is_hide_env_values_set();
    Row { key, value: value.map(|value| masked(&value, secret)), source }
}

/// An empty list in the file leaves the setting to others.
fn is_empty_list(value: &toml::Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// What the help says it is; switches are off.
pub(super) fn default(arg: &Arg) -> Option<String> {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let said = help.rsplit_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
    let switch = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| name.as_str() == "BOOL").then(|| "false".to_owned())
    };
    said.map(|(default, _)| default.to_owned()).or_else(switch)
}

/// Takes out what stands before the hosts of URLs, but for the user's name where a password
/// follows it. A secret that is no URL goes as a whole.
fn masked(value: &str, secret: bool) -> String {
    let mut parts = value.split("://");
    let scheme = parts.next().unwrap_or_default().to_owned();
    if secret && scheme == value && !value.is_empty() {
        return "***".to_owned();
    }
    parts.fold(scheme, |text, part| format!("{text}://{}", masked_part(part)))
}

/// What follows a scheme, as far as the next one: a password that was not percent-encoded may
/// hold any character, so the last `@` is where it ends.
fn masked_part(part: &str) -> String {
    match part.rsplit_once('@') {
        None => part.to_owned(),
        Some((before, host)) => match before.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("***@{host}"),
        },
    }
}

/// Files that settings name and this process cannot read, and why.
fn unreadable(rows: &[Row]) -> Vec<(String, String)> {
    let settings = settings();
    let named = |row: &Row| {
        let arg = settings.iter().find(|arg| arg.get_id().as_str() == row.key);
        let names = arg.and_then(Arg::get_value_names).unwrap_or_default();
        let file = names.iter().any(|name| name.as_str() == "FILE");
        let value = row.value.clone().filter(|_| file).unwrap_or_default();
        let paths: Vec<String> = match arg.and_then(Arg::get_value_delimiter) {
            Some(delimiter) => value.split(delimiter).map(str::to_owned).collect(),
            None => vec![value],
        };
        paths.into_iter().filter(|path| !path.is_empty())
    };
    let problem = |row: &Row, path: String| {
        let error = std::fs::File::open(&path).err()?;
        let said = format!("{} ({}): reading {path}: {error}", row.key, row.source);
        Some((path, said))
    };
    rows.iter().flat_map(|row| named(row).filter_map(|path| problem(row, path))).collect()
}

#[cfg(test)]
mod tests;
