//! `muster config-check`: what `muster serve` would run with, and whether it would.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};
use serde_json::json;

use super::Cli;
use super::output::{Format, Table, json as to_json, note, print};
use crate::config::{Explained, Row, ServeArgs, explain};
use crate::exit::{Code, Failure};

/// Flags of `muster config-check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How the settings are shown
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let format = args.output.unless_names()?;
    // Parsed once more: only the matches tell where a value comes from.
    let matches = Cli::command().get_matches();
    let own = matches.subcommand_matches("config-check").expect("this command was typed");
    let (explained, warnings) = (explain(own, args.serve), unknown_variables());
    print(match format {
        Format::Json => to_json(&shown(&explained, &warnings))?,
        _ => table(&explained),
    })?;
    if format != Format::Json {
        warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
        explained.problems.iter().for_each(|problem| note(&format!("error: {problem}")));
    }
    match explained.problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::silent(Code::Usage)),
    }
}

fn table(explained: &Explained) -> String {
    let mut table = Table::new(["SETTING", "VALUE", "SOURCE"]);
    for row in &explained.rows {
        let value = row.value.clone().unwrap_or_default();
        table.row([row.key.clone(), value, row.source.to_string()]);
    }
    table.text()
}

fn shown(explained: &Explained, warnings: &[String]) -> serde_json::Value {
    let row = |row: &Row| {
        let source = row.source.to_string();
        json!({ "setting": row.key, "value": row.value, "source": source })
    };
    json!({
        "valid": explained.problems.is_empty(),
        "problems": explained.problems,
        "warnings": warnings,
        "settings": explained.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Variables that look like ours and are read by nothing: misspelt, or of another version.
fn unknown_variables() -> Vec<String> {
    let mut known = BTreeSet::new();
    collect(&Cli::command(), &mut known);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let ours: BTreeSet<String> = names.filter(|name| name.starts_with("MUSTER_")).collect();
    ours.difference(&known).map(|name| stranger(name, &known)).collect()
}

fn collect(command: &Command, known: &mut BTreeSet<String>) {
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|below| collect(below, known));
}

fn stranger(name: &str, known: &BTreeSet<String>) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    match similar::get_close_matches(name, &known, 1, 0.8).first() {
        Some(close) => format!("{name} is not read by anything; {close} is"),
        None => format!("{name} is not read by anything"),
    }
}
