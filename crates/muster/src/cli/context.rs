//! `muster context …`.

use clap::Subcommand;
use serde_json::json;

use super::contexts::Contexts;
use super::output::{Format, Table, json as to_json, names, print};
use super::{Client, help};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List contexts; the one in use has a star
    #[command(after_help = help::CONTEXT_LIST)]
    List,
    /// Use a context from now on
    #[command(after_help = help::CONTEXT_USE)]
    Use {
        /// Its name
        name: String,
    },
    /// Keep the connection flags given here under a name
    ///
    /// The first one that is kept is in use.
    #[command(after_help = help::CONTEXT_SET)]
    Set {
        /// Name of the context; what it said before and the flags do not say stays
        name: String,
    },
    /// Forget a context
    #[command(after_help = help::CONTEXT_DELETE)]
    Delete {
        /// Its name
        name: String,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    let mut contexts = client.target.contexts()?;
    match args.verb {
        Verb::List => list(client, &contexts),
        Verb::Use { name } => {
            if !contexts.kept.contexts.contains_key(&name) {
                return Err(contexts.missing(&name));
            }
            contexts.kept.current = Some(name.clone());
            contexts.save()?;
            print(format!("{name} is in use\n"))
        }
        Verb::Set { name } => {
            let before = contexts.kept.contexts.remove(&name).unwrap_or_default();
            let context = client.target.said().over(before).anchored()?;
            contexts.kept.contexts.insert(name.clone(), context);
            contexts.kept.current.get_or_insert_with(|| name.clone());
            contexts.save()?;
            print(format!("{name} is kept\n"))
        }
        Verb::Delete { name } => {
            if contexts.kept.contexts.remove(&name).is_none() {
                return Err(contexts.missing(&name));
            }
            if contexts.kept.current.as_ref() == Some(&name) {
                contexts.kept.current = None;
            }
            contexts.save()?;
            print(format!("{name} is forgotten\n"))
        }
    }
}

fn list(client: &Client, contexts: &Contexts) -> anyhow::Result<()> {
    let kept = &contexts.kept;
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(String::new, |path| path.display().to_string())
    };
    print(match client.output {
        Format::Json => to_json(&json!({ "current": kept.current, "contexts": kept.contexts }))?,
        Format::Name => names(kept.contexts.keys().cloned()),
        Format::Table => {
            let mut table = Table::new(["", "NAME", "SERVER", "TOKEN FILE", "CA FILE"]);
            for (name, context) in &kept.contexts {
                let used = kept.current.as_ref() == Some(name);
                table.row([
                    if used { "*" } else { " " }.to_owned(),
                    name.clone(),
                    context.server.clone().unwrap_or_default(),
                    path(&context.token_file),
                    path(&context.ca_file),
                ]);
            }
            table.text()
        }
    })
}
