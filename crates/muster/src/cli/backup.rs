//! `muster backup`.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use store::backup::{BackupError, Summary, check, take};
use tempfile::NamedTempFile;

use super::output::{Format, json as to_json, print};
use crate::config::StoreArgs;
use crate::exit::{Code, Failure};
use crate::serve::seams::unix_ms;
use crate::stores;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File to write; one that is there is replaced once the new one is whole
    file: PathBuf,
    /// How the result is shown
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    stores: StoreArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let format = args.output.unless_names()?;
    let settings = args.stores.resolve()?;
    let opened = stores::open(&settings, false).await?;
    let now = model::Timestamp(unix_ms());
    let named = || format!("writing {}", args.file.display());
    // In the same directory, so that it can take the name in one step.
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(named)?;
    let out = BufWriter::new(&mut file);
    let version = env!("CARGO_PKG_VERSION");
    let written = take(&*opened.ledger, &settings.fleet, version, now, out).await;
    let written = written.map_err(failure).with_context(named)?;
    file.as_file().sync_all().with_context(named)?;
    let reopened = File::open(file.path()).with_context(named)?;
    let read = check(BufReader::new(reopened)).context("reading back what was written")?;
    anyhow::ensure!(read == written, "what was read back is not what was written");
    file.persist(&args.file).with_context(named)?;
    print(match format {
        Format::Json => to_json(&shape(&read))?,
        _ => format!("{}: {}\n", args.file.display(), text(&read)),
    })
}

/// What is in a backup, for people.
pub(super) fn text(summary: &Summary) -> String {
    let held = if summary.held { ", offers held" } else { "" };
    format!(
        "{} configs with {} revisions, {} connection settings, {} versions of packages, {} \
         assignments (decision {}){held}, labels of {} agents, {} commands; taken {}, {} bytes, \
         whole",
        summary.configs,
        summary.revisions,
        summary.settings,
        summary.packages,
        summary.assignments,
        summary.decision,
        summary.labelled,
        summary.commands,
        super::time::rfc3339(summary.created.0),
        summary.bytes,
    )
}

/// The same for programs.
pub(super) fn shape(summary: &Summary) -> serde_json::Value {
    json!({
        "create_time": super::time::rfc3339(summary.created.0),
        "version": summary.version,
        "fleet": summary.fleet,
        "configs": summary.configs,
        "revisions": summary.revisions,
        "assignments": summary.assignments,
        "decision": summary.decision,
        "held": summary.held,
        "connection_settings": summary.settings,
        "package_versions": summary.packages,
        "labelled_agents": summary.labelled,
        "commands": summary.commands,
        "bytes": summary.bytes,
    })
}

/// The error with the exit code that it deserves.
pub(super) fn failure(error: BackupError) -> anyhow::Error {
    match &error {
        BackupError::Ledger(store::Error::Unavailable(_)) => {
            Failure::new(Code::Unreachable, error.to_string()).into()
        }
        _ => error.into(),
    }
}
