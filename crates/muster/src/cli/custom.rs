//! `muster custom …`: words of agents that Muster carries and does not understand.

use clap::Subcommand;

use super::help;

mod send;
mod watch;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show custom messages of agents as they come, until interrupted
    ///
    /// Goes on where it was when the server comes back. With `-o json`, one object per line; data
    /// that are no text are shown in base64. The timeout is for reaching the server.
    #[command(after_help = help::CUSTOM_WATCH)]
    Watch(Box<watch::Args>),
    /// Send agents a custom message, and wait for their answers if there are to be any
    ///
    /// Only agents that declare the capability. A message is a command: see `muster commands`. It
    /// is sent once at most, in order, and not after its time. Without an answer to wait for it is
    /// done when it is delivered.
    #[command(after_help = help::CUSTOM_SEND)]
    Send(Box<send::Args>),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::Watch(watch) => watch::run(*watch).await,
        Verb::Send(send) => send::run(*send).await,
    }
}
