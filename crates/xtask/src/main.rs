//! House work: `cargo xtask …`. Everything a developer or CI does to the repository that is not
//! plain cargo lives here, in the language of the house.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use clap::Parser;

mod chaos;
mod ci;
mod conformance;
#[cfg(test)]
mod fields;
mod goal;
mod proto;
mod services;
#[cfg(test)]
mod tidy;

/// Checks, generated files, services and figures.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
enum Task {
    /// Check everything that must hold before a change lands; installs missing services.
    Ci,
    /// Format, and apply what lints suggest.
    Fix,
    /// Regenerate the committed Rust code from proto/.
    Proto,
    /// Regenerate docs/conformance.md from the conformance cases.
    Conformance,
    /// Make sure that NATS and Redis can be started.
    Services,
    /// Do to a living cluster what networks and machines do, and see that it loses nothing.
    Chaos(chaos::Arguments),
    /// Measure a figure and compare it with its bar.
    Goal(goal::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    let root = root();
    match Task::parse() {
        Task::Ci => ci::ci(&root)?,
        Task::Fix => ci::fix(&root)?,
        Task::Proto => proto::generate(&root)?,
        Task::Conformance => conformance::write(&root)?,
        Task::Services => services::install()?,
        Task::Chaos(arguments) => return chaos::chaos(&root, &arguments),
        Task::Goal(arguments) => return goal::goal(&root, &arguments),
    }
    Ok(ExitCode::SUCCESS)
}

/// The repository this xtask was built from.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/xtask lies two levels below the root")
        .to_owned()
}

/// Runs a command to its end; anything but success is an error.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
