//! The one binary: every role of the control plane, and the command line of its API.
//!
//! ```text
//!   main ──► cli (gRPC client of control) ──► exit code
//!        └─► serve ──► bus + stores ──► fleet-state, control, gateway ──► ops
//!        ├─► demo  ──► serve + agents
//!        └─► backup, restore ──► stores
//! ```
//!
//! Only here: the environment, the wall clock, the machine's randomness, signals, the choice of
//! backends. What may not enter: any decision about agents.

mod cli;
mod config;
mod demo;
mod exit;
mod limits;
mod ops;
mod serve;
mod stores;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // Whatever else is linked, all TLS of this process is of one provider. Nobody was earlier.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error)),
    };
    let outcome = runtime.block_on(cli::run(cli));
    // What still runs was told to stop and had its time.
    runtime.shutdown_timeout(limits::RUNTIME_END);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
