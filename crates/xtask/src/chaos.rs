//! `cargo xtask chaos`: the fault campaign on real processes.

use std::path::Path;
use std::process::ExitCode;

use chaos::{Form, Options, Outcome};
use clap::Args;

/// Faults of the forms.
const SMOKE_FAULTS: u64 = 20;
const FAULTS: u64 = 1_000;

/// Which faults, and how many.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Draws scenarios, victims and times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many faults; 1,000, or 20 in the short form.
    #[arg(long)]
    faults: Option<u64>,
    /// Number of the first fault: the same as in a campaign that begins with an earlier one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only scenarios whose id begins so, those too that are not drawn yet.
    #[arg(long, value_name = "SCENARIO")]
    only: Option<String>,
    /// How many agents.
    #[arg(long)]
    agents: Option<usize>,
    /// List scenarios.
    #[arg(long)]
    list: bool,
    /// The short form: signals and wires only, on a small cluster.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn chaos(root: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list {
        for (id, what, heals, waits_for) in chaos::list() {
            let state = waits_for.map(|why| format!(" (not drawn yet: {why})"));
            println!("{id:36} {what}; {heals}{}", state.unwrap_or_default());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        faults: arguments.faults.unwrap_or(if arguments.smoke { SMOKE_FAULTS } else { FAULTS }),
        from: arguments.from,
        only: arguments.only.clone(),
        agents: arguments.agents,
        ..options(root, arguments.seed, arguments.smoke)
    };
    let outcome = run(&options)?;
    println!("{}", tell(&outcome));
    let held = outcome.violation.is_none();
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A campaign of the short form or the long one.
pub(crate) fn options(root: &Path, seed: u64, smoke: bool) -> Options {
    Options {
        seed,
        faults: if smoke { SMOKE_FAULTS } else { FAULTS },
        from: 1,
        only: None,
        form: Form::Faults,
        smoke,
        agents: None,
        logs: root.join("target/chaos"),
    }
}

/// Runs one, with a line for each fault.
pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(chaos::run(options, |line| println!("{line}")))
}

/// Its outcome in words.
pub(crate) fn tell(outcome: &Outcome) -> String {
    let Outcome { faults, scenarios, agents, calls: (calls, refused), .. } = outcome;
    let violations = u8::from(outcome.violation.is_some());
    format!(
        "{faults} faults of {scenarios} scenarios on {agents} agents in {:.0?}: {violations} \
         violations; {calls} calls of operators, {refused} refused, the slowest after {:.1?}; \
         records right {:.1?} after a heal at most; {} reconnects, {} full reports asked for",
        outcome.took,
        outcome.slowest_refusal,
        outcome.slowest_heal,
        outcome.reconnects,
        outcome.full_state_requests
    )
}
