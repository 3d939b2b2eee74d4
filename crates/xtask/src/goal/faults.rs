//! R2, R3, R13: the fault campaign on real processes, whole, with kills alone, and again and
//! again.

use std::path::Path;

use chaos::{Form, Options, Outcome};
use serde_json::json;

use super::Figure;
use crate::chaos::{options, run, tell};

/// Scenarios that the whole campaign must have met.
const SCENARIOS: usize = 40;
/// Faults of one run of the subset that is run again and again.
const SUBSET_FAULTS: u64 = 15;

/// R2: the campaign.
pub(super) fn campaign(root: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let options = options(root, 1, smoke);
    let outcome = run(&options)?;
    let varied = smoke || outcome.scenarios >= SCENARIOS;
    Ok(figure(&outcome, varied && is_whole(&options, &outcome)))
}

/// R3: one process after the other is killed.
pub(super) fn kills(root: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (faults, agents) = if smoke { (15, 200) } else { (500, 10_000) };
    let options =
        Options { faults, agents: Some(agents), form: Form::Kills, ..options(root, 3, smoke) };
    let outcome = run(&options)?;
    Ok(figure(&outcome, is_whole(&options, &outcome)))
}

/// R13: runs of the subset until one does not hold.
pub(super) fn again(root: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let runs = if smoke { 2 } else { 20 };
    let mut held = 0;
    for seed in 100..100 + runs {
        let faults = if smoke { SUBSET_FAULTS / 3 } else { SUBSET_FAULTS };
        let options = Options { faults, ..options(root, seed, true) };
        let outcome = run(&options)?;
        println!("seed {seed}: {}", tell(&outcome));
        if !is_whole(&options, &outcome) {
            break;
        }
        held += 1;
    }
    Ok(Figure {
        pass: held == runs,
        text: format!("{held} of {runs} runs in a row without a violation"),
        values: json!({ "runs": runs, "held": held }),
    })
}

fn is_whole(options: &Options, outcome: &Outcome) -> bool {
    outcome.violation.is_none() && outcome.faults == options.faults
}

fn figure(outcome: &Outcome, pass: bool) -> Figure {
    let violation = outcome.violation.as_ref().map(ToString::to_string);
    Figure {
        pass,
        text: tell(outcome),
        values: json!({
            "faults": outcome.faults,
            "scenarios": outcome.scenarios,
            "agents": outcome.agents,
            "violation": violation,
            "calls": outcome.calls.0,
            "refused": outcome.calls.1,
            "slowest_refusal_ms": outcome.slowest_refusal.as_millis(),
            "slowest_heal_ms": outcome.slowest_heal.as_millis(),
            "reconnects": outcome.reconnects,
            "full_state_requests": outcome.full_state_requests,
            "seconds": outcome.took.as_secs_f64(),
        }),
    }
}
