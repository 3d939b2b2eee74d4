//! `muster completion`: what shells need to complete the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::output::print;

/// Flags of `muster completion`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to complete in
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "muster", &mut script);
    print(script)
}
