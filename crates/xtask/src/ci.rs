//! What must hold before a change lands. Reads, builds and tests; changes no file of the tree.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::{run, services};

/// One profile for everything built here, so that nothing is built twice.
const PROFILE: [&str; 2] = ["--profile", "ci"];

/// Runs every check, in the order in which they are quick to fail.
pub(crate) fn ci(root: &Path) -> anyhow::Result<()> {
    step("services", services::install)?;
    step("format", || cargo(root, &["fmt", "--all", "--check"]))?;
    step("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--quiet"];
        cargo(root, &[&lints[..], &PROFILE, &["--", "--deny", "warnings"]].concat())
    })?;
    step("build", || {
        // Tests start the binaries; a test run alone does not build those of other packages.
        cargo(root, &[&["build", "--workspace", "--bins", "--quiet"][..], &PROFILE].concat())
    })?;
    step("tests", || {
        cargo(root, &[&["test", "--workspace", "--no-fail-fast"][..], &PROFILE].concat())
    })?;
    step("goals", || {
        let goals =
            ["P8", "S9", "F3", "R2", "R3", "R4", "R5", "R6", "R7", "R11", "F17", "S6", "S7"];
        cargo(root, &[&["xtask", "goal", "--smoke"][..], &goals].concat())
    })?;
    step("docs", || {
        let doc = ["doc", "--workspace", "--no-deps", "--quiet"];
        let mut command = command(root, &[&doc[..], &PROFILE].concat());
        run(command.env("RUSTDOCFLAGS", "--deny warnings"))
    })
}

/// Formats and applies what lints suggest. Never part of [`ci`].
pub(crate) fn fix(root: &Path) -> anyhow::Result<()> {
    let lints = ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty"];
    cargo(root, &[&lints[..], &PROFILE].concat())?;
    cargo(root, &["fmt", "--all"])
}

fn step(name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("==> {name}");
    let start = Instant::now();
    work()?;
    println!("<== {name}: {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    run(&mut command(root, arguments))
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    // A service that a test needs and does not find fails it here.
    command.args(arguments).current_dir(root).env("CI", "true");
    command
}
