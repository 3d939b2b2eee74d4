//! House work: `cargo xtask …`. Everything a developer or CI does to the repository that is not
//! plain cargo lives here, in the language of the house.

use std::path::PathBuf;

use clap::Parser;

mod proto;

/// Checks, generated code, services and figures.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
enum Command {
    /// Regenerate the committed Rust code from `proto/`.
    Proto,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Proto => proto::generate(&root()),
    }
}

/// The repository this xtask was built from.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/xtask lies two levels below the root")
        .to_owned()
}
