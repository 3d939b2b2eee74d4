//! `muster custom …`: words of agents that Muster carries and does not understand.

use clap::Subcommand;

use super::{Client, help};

mod watch;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show custom messages of agents as they come, until interrupted
    ///
    /// Goes on where it was when the server comes back. With `-o json`, one object per line; data
    /// that are no text are shown in base64. The timeout is for reaching the server.
    #[command(after_help = help::CUSTOM_WATCH)]
    Watch(watch::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::Watch(watch) => watch::run(&args.client, watch).await,
    }
}
