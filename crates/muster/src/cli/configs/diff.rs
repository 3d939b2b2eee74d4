//! `muster config diff`: what changes from one revision to another, or to files at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

use control::v1::GetConfigRevisionRequest;
use opamp::v1::AgentConfigFile;
use serde_json::json;
use similar::TextDiff;

use super::super::output::{Format, json as to_json, print};
use super::super::{Client, call, files, names};
use crate::exit::{Code, Failure};
use crate::limits;

/// Flags of `muster config diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The old side; without a revision the newest one
    #[arg(value_name = "NAME[@REVISION]")]
    old: String,
    /// The new side [default: the newest revision of the same config]
    #[arg(value_name = "NAME@REVISION", conflicts_with = "files")]
    new: Option<String>,
    /// File to compare with instead, as `config apply` takes it (`-` is standard input)
    #[arg(short = 'f', long = "file", value_name = "[KEY=]FILE")]
    files: Vec<String>,
}

type Files = BTreeMap<String, AgentConfigFile>;

/// A side of the comparison and what it is called.
#[derive(Debug)]
struct Side {
    name: String,
    files: Files,
}

/// A file that is not the same on both sides.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    key: String,
    kind: &'static str,
    /// Unified diff.
    text: String,
}

pub(super) async fn run(client: &Client, args: &Args) -> anyhow::Result<()> {
    let format = client.output.unless_names()?;
    let (old, new) = match client.call(|channel| sides(channel, args)).await {
        Ok(sides) => sides,
        Err(error) => return Err(trouble(error)),
    };
    let changes = compare(&old, &new);
    print(match format {
        Format::Json => to_json(&shown(&old, &new, &changes))?,
        _ => changes.iter().map(|change| painted(&change.text, colours())).collect(),
    })?;
    match changes.is_empty() {
        true => Ok(()),
        false => Err(Failure::silent(Code::Error)),
    }
}

/// Code 1 says that the sides differ, so what fails otherwise must not.
fn trouble(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.code != Code::Error => error,
        _ => Failure::usage(format!("{error:#}")),
    }
}

async fn sides(channel: super::Channel, args: &Args) -> anyhow::Result<(Side, Side)> {
    let old = revision(channel.clone(), &args.old).await?;
    let new = match &args.new {
        _ if !args.files.is_empty() => candidate(&args.files)?,
        Some(new) => revision(channel, new).await?,
        None => {
            let name = args.old.split('@').next().unwrap_or_default();
            revision(channel, name).await?
        }
    };
    Ok((old, new))
}

async fn revision(channel: super::Channel, name: &str) -> anyhow::Result<Side> {
    let request = GetConfigRevisionRequest { name: names::revision(name) };
    let revision = call::answer(super::client(channel).get_config_revision(request).await)?;
    Ok(Side { name: names::short(&revision.name), files: revision.files })
}

fn candidate(arguments: &[String]) -> anyhow::Result<Side> {
    let name = match arguments {
        [lone] => lone.split_once('=').map_or(lone.as_str(), |(_, path)| path),
        _ => "files",
    };
    Ok(Side { name: name.to_owned(), files: files::read(arguments)? })
}

fn compare(old: &Side, new: &Side) -> Vec<Change> {
    let keys: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let change = |key: &String| {
        let (before, after) = (old.files.get(key), new.files.get(key));
        if before == after {
            return None;
        }
        let kind = match (before, after) {
            (None, _) => "ADDED",
            (_, None) => "REMOVED",
            _ => "MODIFIED",
        };
        let label = |side: &Side, file: Option<&AgentConfigFile>| match (file, key.as_str()) {
            (None, _) => "/dev/null".to_owned(),
            (_, "") => side.name.clone(),
            (_, key) => format!("{}:{key}", side.name),
        };
        let names = [label(old, before), label(new, after)];
        let text = unified(&names, before, after);
        Some(Change { key: key.clone(), kind, text })
    };
    keys.into_iter().filter_map(change).collect()
}

fn unified(
    names: &[String; 2],
    before: Option<&AgentConfigFile>,
    after: Option<&AgentConfigFile>,
) -> String {
    let [old, new] = names;
    let body = |file: Option<&AgentConfigFile>| file.map_or_else(Vec::new, |f| f.body.to_vec());
    let mut text = match (String::from_utf8(body(before)), String::from_utf8(body(after))) {
        (Ok(before), Ok(after)) => TextDiff::configure()
            .timeout(limits::DIFF)
            .diff_lines(&before, &after)
            .unified_diff()
            .header(old, new)
            .to_string(),
        _ if body(before) != body(after) => format!("Binary files {old} and {new} differ\n"),
        _ => String::new(),
    };
    if text.is_empty() {
        text = format!("--- {old}\n+++ {new}\n");
    }
    let types = |file: Option<&AgentConfigFile>| {
        file.map(|file| format!("content type {:?}, role {:?}", file.content_type, file.role))
    };
    if let (Some(before), Some(after)) = (types(before), types(after))
        && before != after
    {
        text += &format!("was {before}; is {after}\n");
    }
    text
}

fn shown(old: &Side, new: &Side, changes: &[Change]) -> serde_json::Value {
    let change =
        |change: &Change| json!({ "key": change.key, "change": change.kind, "diff": change.text });
    json!({
        "old": old.name,
        "new": new.name,
        "same": changes.is_empty(),
        "files": changes.iter().map(change).collect::<Vec<_>>(),
    })
}

/// Whether somebody looks at it who did not ask for plain text (no-color.org).
fn colours() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && std::io::stdout().is_terminal()
}

fn painted(diff: &str, colours: bool) -> String {
    if !colours {
        return diff.to_owned();
    }
    let paint = |line: &str| {
        let colour = match line {
            line if line.starts_with("---") || line.starts_with("+++") => "1",
            line if line.starts_with("@@") => "36",
            line if line.starts_with('-') => "31",
            line if line.starts_with('+') => "32",
            _ => return format!("{line}\n"),
        };
        format!("\u{1b}[{colour}m{line}\u{1b}[0m\n")
    };
    diff.lines().map(paint).collect()
}

#[cfg(test)]
mod tests;
