//! `muster restart`, `refresh`, `disconnect`, `reidentify`, and `muster commands …`.

use clap::Subcommand;
use control::v1::commands_client::CommandsClient;
use control::v1::{
    CancelCommandRequest, Command, CommandState, CommandTarget, GetCommandRequest,
    ListCommandTargetsRequest, ListCommandsRequest,
};
use serde_json::json;

use super::output::{self, Format, Table, json as to_json, note, print};
use super::{Client, call, help, json as shape, names, time};
use crate::cli::call::Channel;
use crate::limits;
use crate::serve::seams::unix_ms;

pub(super) mod give;
mod wait;

/// Commands listed, if nobody says.
const LIMIT_DEFAULT: i32 = 50;
/// Targets shown of one command; all of them in JSON.
const TARGETS_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List commands, newest first
    #[command(after_help = help::COMMANDS_LIST)]
    List {
        /// Only commands for this agent
        #[arg(long, value_name = "INSTANCE_UID")]
        agent: Option<String>,
        /// Only commands with an agent in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only commands that are not settled
        #[arg(long)]
        open: bool,
        /// This many at most
        #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
        #[arg(value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
    /// Show one command and what became of it at each agent
    #[command(after_help = help::COMMANDS_GET)]
    Get {
        /// Its id
        #[arg(value_name = "COMMAND")]
        id: String,
    },
    /// Follow a command until it is settled; the exit code is as with `--wait`
    #[command(after_help = help::COMMANDS_WATCH)]
    Watch {
        /// Its id
        #[arg(value_name = "COMMAND")]
        id: String,
    },
    /// Take back what was not sent yet; the rest goes on
    #[command(after_help = help::COMMANDS_CANCEL)]
    Cancel {
        /// Its id
        #[arg(value_name = "COMMAND")]
        id: String,
    },
}

/// Where an agent of a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// It waits
    Queued,
    /// Given to a gateway, or to the agent's record
    Routed,
    /// On the agent's socket
    Sent,
    /// The agent has it
    Delivered,
    /// Its effect was seen
    Confirmed,
    /// Not sent, and it will not be
    Refused,
    /// Not sent in time
    Expired,
    /// Nobody knows whether it was sent
    Unknown,
    /// Taken back before it was sent
    Cancelled,
}

impl State {
    fn on_the_wire(self) -> CommandState {
        match self {
            Self::Queued => CommandState::Queued,
            Self::Routed => CommandState::Routed,
            Self::Sent => CommandState::Sent,
            Self::Delivered => CommandState::Delivered,
            Self::Confirmed => CommandState::Confirmed,
            Self::Refused => CommandState::Refused,
            Self::Expired => CommandState::Expired,
            Self::Unknown => CommandState::Unknown,
            Self::Cancelled => CommandState::Cancelled,
        }
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    if !matches!(args.verb, Verb::List { .. }) {
        client.output.unless_names()?;
    }
    match args.verb {
        Verb::List { agent, state, open, limit } => {
            let request = ListCommandsRequest {
                agent: agent.map_or_else(String::new, |uid| format!("agents/{uid}")),
                state: state.map_or(0, |state| state.on_the_wire().into()),
                open,
                page_size: limit,
                ..Default::default()
            };
            list(client, request).await
        }
        Verb::Get { id } => get(client, &id).await,
        Verb::Watch { id } => wait::until_settled(client, &names::command(&id)).await,
        Verb::Cancel { id } => cancel(client, &id).await,
    }
}

fn client(channel: Channel) -> CommandsClient<Channel> {
    CommandsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn list(connection: &Client, request: ListCommandsRequest) -> anyhow::Result<()> {
    let list = |channel| async move { call::answer(client(channel).list_commands(request).await) };
    let page = connection.call(list).await?;
    let more = page.total_size - i64::try_from(page.commands.len()).unwrap_or(i64::MAX);
    if more > 0 {
        note(&format!("{more} older ones are not shown: --limit shows more"));
    }
    print(match connection.output {
        Format::Json => to_json(&page.commands.iter().map(shape::command).collect::<Vec<_>>())?,
        Format::Name => output::names(page.commands.iter().map(|held| names::short(&held.name))),
        Format::Table => table(&page.commands),
    })
}

async fn get(connection: &Client, id: &str) -> anyhow::Result<()> {
    let name = names::command(id);
    let read = |channel: Channel| async move {
        let request = GetCommandRequest { name: name.clone() };
        let command = call::answer(client(channel.clone()).get_command(request).await)?;
        Ok::<_, anyhow::Error>((command, targets(channel, &name).await?))
    };
    let (command, targets) = connection.call(read).await?;
    print(match connection.output {
        Format::Json => {
            let targets: Vec<_> = targets.iter().map(shape::command_target).collect();
            to_json(&json!({ "command": shape::command(&command), "targets": targets }))?
        }
        _ => format!("{}\n{}", table(&[command]), target_table(&targets)),
    })
}

/// All targets of a command, page by page.
async fn targets(channel: Channel, parent: &str) -> anyhow::Result<Vec<CommandTarget>> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListCommandTargetsRequest {
            parent: parent.to_owned(),
            page_size: limits::PAGE_SIZE,
            page_token,
            ..Default::default()
        };
        let page = call::answer(client(channel.clone()).list_command_targets(request).await)?;
        found.extend(page.targets);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

async fn cancel(connection: &Client, id: &str) -> anyhow::Result<()> {
    let request = CancelCommandRequest { name: names::command(id) };
    let cancel =
        |channel| async move { call::answer(client(channel).cancel_command(request).await) };
    let command = connection.call(cancel).await?;
    print(match connection.output {
        Format::Json => to_json(&shape::command(&command))?,
        _ => format!("{}: {}\n", names::short(&command.name), counts(&command)),
    })
}

fn table(commands: &[Command]) -> String {
    let now_ms = unix_ms();
    let mut table = Table::new(["COMMAND", "ACTION", "FOR", "STATES", "GIVEN", "BY"]);
    for command in commands {
        let created = command.create_time.map_or(0, |time| time.seconds);
        table.row([
            names::short(&command.name),
            shape::action(command).to_owned(),
            whom(command),
            counts(command),
            time::ago(now_ms, created),
            command.actor.clone(),
        ]);
    }
    table.text()
}

fn whom(command: &Command) -> String {
    match (&command.target, command.selector.as_str()) {
        (Some(target), "") => names::short(&target.agent),
        (_, "") => "a list".to_owned(),
        (_, selector) => selector.to_owned(),
    }
}

/// How many agents stand where.
fn counts(command: &Command) -> String {
    let count = |count: &control::v1::command::Count| {
        format!("{} {}", count.targets, shape::command_state(count.state))
    };
    let counts: Vec<String> = command.counts.iter().map(count).collect();
    counts.join(", ")
}

fn target_table(targets: &[CommandTarget]) -> String {
    let mut table = Table::new(["INSTANCE UID", "STATE", "GATEWAY", "EPOCH", "TRIES", "REASON"]);
    for target in targets.iter().take(TARGETS_SHOWN) {
        table.row([
            names::short(&target.agent),
            shape::command_state(target.state).to_owned(),
            target.gateway_id.clone(),
            target.epoch.to_string(),
            target.attempts.to_string(),
            target.reason.clone(),
        ]);
    }
    let more = targets.len().saturating_sub(TARGETS_SHOWN);
    let note =
        if more > 0 { format!("and {more} more: -o json shows all\n") } else { String::new() };
    table.text() + &note
}
