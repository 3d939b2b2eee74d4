//! `muster custom send`: a message in an agent's own words, and maybe its answer.

use anyhow::Context as _;
use control::v1::command::{Action, CustomMessage, Reply};

use super::super::commands::give;
use super::super::files;

/// Flags of `muster custom send`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Capability that the agents declare
    #[arg(long, value_name = "NAME")]
    capability: String,
    /// Type of the message
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Its data, as text
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    data: Option<String>,
    /// A file with its data; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Type of the answer that is waited for
    #[arg(long, value_name = "TYPE")]
    reply_type: Option<String>,
    /// Member of both payloads, as JSON objects, that tells whose answer it is
    #[arg(long, value_name = "KEY", requires = "reply_type")]
    reply_key: Option<String>,
    #[command(flatten)]
    give: give::Args,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let data = match (args.data, args.file) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(path)) => files::body(&path).with_context(|| format!("reading {path}"))?,
        (None, None) => Vec::new(),
    };
    let reply =
        args.reply_type.map(|kind| Reply { r#type: kind, key: args.reply_key.unwrap_or_default() });
    let (capability, r#type) = (args.capability, args.kind);
    let action = Action::CustomMessage(CustomMessage { capability, r#type, data, reply });
    give::many(args.give, action, "sent a message").await
}
