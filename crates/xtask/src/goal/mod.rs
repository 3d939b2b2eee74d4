//! Figures with bars: `cargo xtask goal ID` measures one, prints figure, bar and verdict, and
//! leaves a JSON file. A figure that nobody can measure yet counts as failed.

mod blast;
mod busless;
mod clocks;
mod commands;
mod faults;
mod herd;
mod list;
mod moves;
mod overload;
mod peer;
mod readers;
mod rehome;
mod revoked;
mod rolling;
mod secrets;
mod silence;
mod simulation;
mod strangers;
mod vanished;
mod wiped;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

/// Which figure, and how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Ids of goals, such as P8.
    ids: Vec<String>,
    /// The short form, which judges counts and ratios but no times.
    #[arg(long)]
    smoke: bool,
    /// List every goal and whether it can be measured.
    #[arg(long)]
    list: bool,
}

/// A figure that Muster is held to.
struct Goal {
    id: &'static str,
    what: &'static str,
    bar: &'static str,
    /// `None` while nobody can measure it.
    measure: Option<Measure>,
}

/// Measures, in the short form or the full one.
type Measure = fn(&Path, bool) -> anyhow::Result<Figure>;

impl Goal {
    /// The goal with the way to measure it.
    const fn measured(self, measure: Measure) -> Self {
        Self { measure: Some(measure), ..self }
    }
}

/// What a measurement found.
#[derive(Debug, Serialize)]
struct Figure {
    pass: bool,
    /// The figure in words and numbers.
    text: String,
    values: serde_json::Value,
}

pub(crate) fn goal(root: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list || arguments.ids.is_empty() {
        for goal in list::GOALS {
            let state = if goal.measure.is_some() { "measured" } else { "not yet" };
            println!("{:4} {state:9} {}: {}", goal.id, goal.what, goal.bar);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = false;
    for id in &arguments.ids {
        let goal = list::GOALS
            .iter()
            .find(|goal| goal.id.eq_ignore_ascii_case(id))
            .with_context(|| format!("no goal {id:?}: see cargo xtask goal --list"))?;
        failed |= !judge(root, goal, arguments.smoke)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn judge(root: &Path, goal: &Goal, smoke: bool) -> anyhow::Result<bool> {
    let Some(measure) = goal.measure else {
        println!("{} FAIL not measured yet (bar: {})", goal.id, goal.bar);
        return Ok(false);
    };
    let figure = measure(root, smoke).with_context(|| format!("measuring {}", goal.id))?;
    let verdict = if figure.pass { "PASS" } else { "FAIL" };
    println!("{} {verdict} {} (bar: {})", goal.id, figure.text, goal.bar);
    let dir = root.join("target/goals");
    std::fs::create_dir_all(&dir)?;
    let json =
        serde_json::json!({ "id": goal.id, "bar": goal.bar, "smoke": smoke, "figure": figure });
    std::fs::write(dir.join(format!("{}.json", goal.id)), serde_json::to_vec_pretty(&json)?)?;
    Ok(figure.pass)
}

/// Where measurements run.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Runtime::new()?)
}
