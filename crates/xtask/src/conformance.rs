//! docs/conformance.md: written by the conformance suite itself, which knows its cases.

use std::path::Path;
use std::process::Command;

use crate::run;

/// Writes the table. CI only compares: a case of the suite fails when the file is stale.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let arguments = ["test", "--profile", "ci", "-p", "tests", "--test", "conformance", "--"];
    run(Command::new(env!("CARGO")).current_dir(root).args(arguments).arg("--write-table"))
}
