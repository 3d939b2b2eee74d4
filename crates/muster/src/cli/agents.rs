//! `muster agents …`.

use clap::Subcommand;
use control::v1::agents_client::AgentsClient;
use control::v1::{Agent, GetAgentRequest, ListAgentsRequest};
use opamp::InstanceUid;
use serde_json::Value;
use tonic::transport::Channel;

use super::output::{Format, Table, json as to_json, print};
use super::{Client, call, json, names};
use crate::exit::Failure;
use crate::limits;
use crate::serve::seams::SystemClock;

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
    List {
        /// Which agents, as `service.name=otelcol,env in (prod,staging),!canary`
        #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
        selector: String,
    },
    /// Show agents and every change of them, until interrupted
    ///
    /// Goes on where it was when the server comes back. With `-o json`, one object per line. The
    /// timeout is for reaching the server.
    Watch {
        /// Which agents, as `service.name=otelcol,env in (prod,staging),!canary`
        #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
        selector: String,
        /// Only what came after a position that an earlier watch of the same agents printed
        #[arg(long, value_name = "POSITION", default_value = "")]
        from: String,
    },
    /// Show one agent with everything it reported
    Get {
        /// Its instance uid
        #[arg(value_name = "INSTANCE_UID")]
        uid: String,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let format = args.client.output;
    match args.verb {
        Verb::List { selector } => {
            let agents = args.client.call(|channel| list(channel, selector)).await?;
            print(match format {
                Format::Json => to_json(&agents.iter().map(json::agent).collect::<Vec<_>>())?,
                Format::Table => table(&agents, SystemClock::unix_ms()),
            })
        }
        Verb::Watch { selector, from } => watch::run(&args.client, &selector, from).await,
        Verb::Get { uid } => {
            let uid: InstanceUid =
                uid.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            let agent = args.client.call(|channel| get(channel, uid)).await?;
            print(match format {
                Format::Json => to_json(&json::agent(&agent))?,
                Format::Table => outline(&json::agent(&agent), 0),
            })
        }
    }
}

fn client(channel: Channel) -> AgentsClient<Channel> {
    AgentsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn list(channel: Channel, selector: String) -> anyhow::Result<Vec<Agent>> {
    let mut client = client(channel);
    let mut agents = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListAgentsRequest {
            selector: selector.clone(),
            page_size: limits::PAGE_SIZE,
            page_token,
        };
        let page = call::answer(client.list_agents(request).await)?;
        agents.extend(page.agents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(agents);
        }
    }
}

async fn get(channel: Channel, uid: InstanceUid) -> anyhow::Result<Agent> {
    let request = GetAgentRequest { name: format!("agents/{uid}") };
    call::answer(client(channel).get_agent(request).await)
}

fn table(agents: &[Agent], now_ms: u64) -> String {
    let mut table =
        Table::new(["INSTANCE UID", "NAME", "VERSION", "STATUS", "HEALTH", "CONFIG", "LAST SEEN"]);
    for agent in agents {
        let named = |key| json::attribute(&agent.identifying_attributes, key).unwrap_or_default();
        table.row([
            agent.instance_uid.clone(),
            named("service.name"),
            named("service.version"),
            json::connection_status(agent.status).to_owned(),
            health(agent),
            config(agent),
            agent.last_seen_time.map_or_else(String::new, |seen| ago(now_ms, seen.seconds)),
        ]);
    }
    table.text()
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

fn ago(now_ms: u64, then_secs: i64) -> String {
    let now_secs = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    match now_secs.saturating_sub(then_secs).max(0) {
        secs @ ..120 => format!("{secs}s ago"),
        secs @ ..7200 => format!("{}m ago", secs / 60),
        secs @ ..172_800 => format!("{}h ago", secs / 3600),
        secs => format!("{}d ago", secs / 86_400),
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

/// What agents say must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
