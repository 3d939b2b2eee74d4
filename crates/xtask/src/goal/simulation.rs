//! R1 and F4: the simulator, in its long form. It runs as a process of its own; the short form in
//! the profile that CI has built already.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::Figure;

/// Seeds of the full form, and of the short one.
const SEEDS: (u64, u64) = (20_000, 300);
/// Seconds that the full form may take at most.
const SECONDS: u64 = 3_000;
/// The speed that is asked for, in multiples of real time.
const SPEED: f64 = 200.0;

/// R1: everything.
pub(super) fn everything(root: &Path, smoke: bool) -> anyhow::Result<Figure> {
    measure(root, smoke, &[])
}

/// F4: agents that move while their old owners live on.
pub(super) fn fencing(root: &Path, smoke: bool) -> anyhow::Result<Figure> {
    measure(root, smoke, &["--fencing"])
}

fn measure(root: &Path, smoke: bool, more: &[&str]) -> anyhow::Result<Figure> {
    let seeds = if smoke { SEEDS.1 } else { SEEDS.0 };
    let (seeds_text, seconds) = (seeds.to_string(), SECONDS.to_string());
    let mut arguments = vec!["--judge", "--seeds", &seeds_text, "--seconds", &seconds];
    arguments.extend(more);
    let found = run(root, smoke, &arguments)?;
    let number = |name: &str| found[name].as_u64().unwrap_or(0);
    let speed = found["speed"].as_f64().unwrap_or(0.0);
    let (failed, done) = (number("failed"), number("seeds"));
    let (same, repeated) = (number("same_hashes"), number("repeated"));
    let (caught, variants) = (number("caught"), number("variants"));
    // Times are not judged in the short form.
    let fast = smoke || speed >= SPEED;
    let pass = failed == 0 && done == seeds && same == repeated && caught == variants && fast;
    Ok(Figure {
        pass,
        text: format!(
            "{done} of {seeds} seeds, {failed} with violations, {speed:.0} x real time; same \
             trace hash {same}/{repeated}; broken variants caught {caught}/{variants}"
        ),
        values: json!({ "run": found, "seeds_wanted": seeds }),
    })
}

fn run(root: &Path, smoke: bool, arguments: &[&str]) -> anyhow::Result<Value> {
    // Optimized, the full form takes minutes instead of half an hour, its build included.
    let profile = if smoke { "ci" } else { "release" };
    let cargo = ["run", "--quiet", "--package", "sim", "--profile", profile, "--"];
    let mut command = Command::new(env!("CARGO"));
    let output = command.current_dir(root).args(cargo).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last();
    let errors = || String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(last.is_some(), "the simulator said nothing: {}", errors());
    serde_json::from_str(last.unwrap_or_default()).with_context(errors)
}
