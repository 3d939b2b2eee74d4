//! `muster restore`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context as _;
use model::Timestamp;
use model::assign::Hold;
use serde_json::json;
use store::Version;
use store::backup::{BackupError, Restore, Summary, check, newest_decision, restore};

use super::backup::{failure, shape, text};
use super::output::{Format, json as to_json, note, print};
use crate::config::StoreArgs;
use crate::exit::Failure;
use crate::serve::seams::unix_ms;
use crate::stores::{self, Opened};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File that `muster backup` wrote
    file: PathBuf,
    /// Only check the file, and say what is in it
    #[arg(long)]
    dry_run: bool,
    /// Replace what is in the ledger: afterwards it holds what the file holds and nothing else
    #[arg(long)]
    replace: bool,
    /// How the result is shown
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    stores: StoreArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let format = args.output.unless_names()?;
    let settings = args.stores.resolve()?;
    let named = || format!("reading {}", args.file.display());
    let mut file = BufReader::new(File::open(&args.file).with_context(named)?);
    let summary = check(&mut file).with_context(named)?;
    if args.dry_run {
        return print(match format {
            Format::Json => to_json(&shape(&summary))?,
            _ => format!("{}: {}\n", args.file.display(), text(&summary)),
        });
    }
    if summary.fleet != settings.fleet {
        let (theirs, ours) = (&summary.fleet, &settings.fleet);
        note(&format!("warning: it is of fleet {theirs:?} and becomes that of {ours:?}"));
    }
    let opened = stores::open(&settings, true).await?;
    let known = known(&opened).await?;
    let how = how(&summary, known, args.replace);
    let restored = restore(&*opened.ledger, file, &how).await.map_err(explained)?;
    print(match format {
        Format::Json => {
            let held = how.hold.is_some() || summary.held;
            to_json(&json!({
                "backup": shape(&summary),
                "decision": restored.decision,
                "newest_decision_of_agents": known,
                "held": held,
            }))?
        }
        _ => format!("restored: {}\n", text(&summary)),
    })?;
    if how.hold.is_some() {
        note(&format!(
            "agents know of decision {known}, the backup ends at {}: offers are on hold; look at \
             muster status and muster assign list, then muster resume",
            summary.decision
        ));
    }
    Ok(())
}

/// The newest decision that agents know of.
async fn known(opened: &Opened) -> anyhow::Result<u64> {
    let records = opened.records.as_ref().ok_or_else(|| {
        Failure::usage("--store is missing: the agents' records say above which decision to go on")
    })?;
    newest_decision(&**records).await.map_err(failure).context("reading the agents' records")
}

/// Numbers go on from the time of day, which no count of decisions reaches: processes that run may
/// know of more decisions than any agent does.
fn how(summary: &Summary, known: u64, replace: bool) -> Restore {
    let now = unix_ms();
    let newest = known.max(summary.decision);
    let hold = (known > summary.decision).then(|| Hold {
        since: Timestamp(now),
        reason: format!("restored a backup of {}", super::time::rfc3339(summary.created.0)),
        actor: String::new(),
    });
    Restore { at_least: Version(now.max(newest.saturating_add(1))), hold, replace }
}

fn explained(error: BackupError) -> anyhow::Error {
    match error {
        BackupError::NotEmpty(what) => Failure::usage(format!(
            "the ledger is not empty ({what}): --replace puts the backup in its place"
        )),
        BackupError::Failed(_) | BackupError::Ledger(_) => failure(error)
            .context("the ledger may hold a part of the backup now: restore again with --replace"),
        error => failure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_above_all_that_is_known() {
        let summary = Summary { decision: 41, ..Summary::default() };
        let plain = how(&summary, 41, false);
        assert!(plain.hold.is_none() && plain.at_least.0 > 1_700_000_000_000);
        assert!(how(&summary, 42, false).hold.is_some(), "agents know more than the backup");
        let far = u64::MAX - 1;
        assert_eq!(how(&summary, far, false).at_least, Version(u64::MAX));
        let summary = Summary { decision: far, ..summary };
        assert_eq!(how(&summary, 1, true).at_least, Version(u64::MAX));
    }
}
