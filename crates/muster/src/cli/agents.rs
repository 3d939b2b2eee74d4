//! `muster agents …`.

use clap::Subcommand;
use control::v1::agents_client::AgentsClient;
use control::v1::{Agent, GetAgentRequest};
use opamp::InstanceUid;
use serde_json::Value;

use super::output::{Format, json as to_json, print, printable};
use super::{Client, call, help, json, names};
use crate::cli::call::Channel;
use crate::exit::Failure;
use crate::limits;

mod columns;
mod label;
mod list;
mod trace;
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
    /// List agents
    #[command(after_help = help::AGENTS_LIST)]
    List(list::Args),
    /// Show agents and every change of them, until interrupted
    ///
    /// Goes on where it was when the server comes back. With `-o json`, one object per line. The
    /// timeout is for reaching the server.
    #[command(after_help = help::AGENTS_WATCH)]
    Watch {
        /// Which agents, as `service.name=otelcol,env in (prod,staging),!canary`
        #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
        selector: String,
        /// Only what came after a position that an earlier watch of the same agents printed
        #[arg(long, value_name = "POSITION", default_value = "")]
        from: String,
    },
    /// Show one agent with everything it reported
    #[command(after_help = help::AGENTS_GET)]
    Get {
        /// Its instance uid
        #[arg(value_name = "INSTANCE_UID")]
        uid: String,
    },
    /// Show what an agent and the gateways say to each other
    ///
    /// What gateways remember first, then each message as it comes or goes, on whichever gateway.
    /// Credentials, headers, keys and passwords are replaced at the gateway; of configs and custom
    /// messages only size and SHA-256 are shown, unless --bodies asks for more. With `-o json`, one
    /// object per line.
    #[command(after_help = help::AGENTS_TRACE)]
    Trace(trace::Args),
    /// Give agents labels, or take them away
    ///
    /// Labels are yours: they win over what agents say of themselves, and last when an agent's
    /// record is lost. Selectors see them.
    #[command(after_help = help::AGENTS_LABEL)]
    Label(label::LabelArgs),
    /// Forget agents that are not connected, with their labels
    #[command(after_help = help::AGENTS_DELETE)]
    Delete(label::DeleteArgs),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::List(list) => list::run(&args.client, &list).await,
        Verb::Label(label) => label::label(&label, &args.client).await,
        Verb::Trace(trace) => trace::run(&args.client, &trace).await,
        Verb::Delete(delete) => label::delete(&delete, &args.client).await,
        Verb::Watch { selector, from } => watch::run(&args.client, &selector, from).await,
        Verb::Get { uid } => {
            let uid: InstanceUid =
                uid.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            let format = args.client.output.unless_names()?;
            let agent = json::agent(&args.client.call(|channel| get(channel, uid)).await?);
            print(match format {
                Format::Json => to_json(&agent)?,
                _ => outline(&agent, 0),
            })
        }
    }
}

fn client(channel: Channel) -> AgentsClient<Channel> {
    AgentsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn get(channel: Channel, uid: InstanceUid) -> anyhow::Result<Agent> {
    let request = GetAgentRequest { name: format!("agents/{uid}") };
    call::answer(client(channel).get_agent(request).await)
}

fn health(agent: &Agent) -> String {
    match &agent.health {
        None => String::new(),
        Some(health) if health.healthy => "healthy".to_owned(),
        Some(_) => "unhealthy".to_owned(),
    }
}

fn config(agent: &Agent) -> String {
    let Some(config) = &agent.config else {
        return String::new();
    };
    let status = json::config_status(config.status);
    match names::short(&config.offered_revision) {
        offered if offered.is_empty() => status.to_owned(),
        offered => format!("{offered} {status}"),
    }
}

/// JSON as an indented outline: the same content as `-o json`, easier on the eye.
fn outline(value: &Value, indent: usize) -> String {
    let Value::Object(members) = value else {
        return String::new();
    };
    let mut text = String::new();
    for (key, value) in members {
        let key = if key.is_empty() { "\"\"" } else { key };
        text += &format!("{:indent$}{key}:{}", "", leaf(value, indent + 2));
    }
    text
}

fn leaf(value: &Value, indent: usize) -> String {
    match value {
        Value::Null => " -\n".to_owned(),
        Value::Object(members) if members.is_empty() => " -\n".to_owned(),
        Value::Object(_) => format!("\n{}", outline(value, indent)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!(" {}\n", items.join(", "))
        }
        Value::String(text) if text.contains('\n') => {
            let lines = text.lines().map(|line| format!("{:indent$}{}\n", "", printable(line)));
            format!("\n{}", lines.collect::<String>())
        }
        value => format!(" {}\n", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
