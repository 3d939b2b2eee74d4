//! `muster agents list`: which agents, in which order, in which columns.

use std::num::NonZeroUsize;

use clap::ValueEnum;
use control::v1::{Agent, ConfigStatus, ConnectionStatus, ListAgentsRequest};

use super::super::output::{Format, Table, json as to_json, names, note_if_terminal, print};
use super::super::{Client, call, json};
use super::client;
use super::columns::{self, Column, Sort};
use crate::cli::call::Channel;
use crate::limits;
use crate::serve::seams::unix_ms;

/// Flags of `muster agents list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which agents, as `service.name=otelcol,env in (prod,staging),!canary`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// Only agents that can be reached now, or only those that cannot
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only agents that stand so with the config they are offered
    #[arg(long, value_enum)]
    config_status: Option<Standing>,
    /// Only agents that have a component: `otlp`, `receivers/otlp`, either with `@VERSION`
    #[arg(long, value_name = "COMPONENT", default_value = "")]
    component: String,
    /// Only agents that declare this custom capability
    #[arg(long, value_name = "NAME", default_value = "")]
    custom_capability: String,
    /// Columns to show, in order
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', long_help = columns_help())]
    #[arg(default_value = columns::DEFAULT)]
    columns: Vec<Column>,
    /// Columns to sort by, the weightiest first; `:desc` after one reverses it [default: uid]
    #[arg(long, value_name = "COLUMN[:desc],…", value_delimiter = ',')]
    sort: Vec<Sort>,
    /// Show this many agents at most
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Leave out the line of headings
    #[arg(long)]
    no_headers: bool,
}

fn columns_help() -> String {
    format!("Columns to show, in order, separated by commas\n\nKnown: {}", columns::known())
}

/// Whether an agent can be reached now.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Connected,
    Disconnected,
}

/// How an agent stands with the config it is offered.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Standing {
    Unassigned,
    Unsupported,
    Pending,
    Applying,
    Applied,
    Failed,
}

/// What came of a list.
#[derive(Debug)]
struct Listed {
    agents: Vec<Agent>,
    /// Agents that match, shown or not.
    total: i64,
}

pub(super) async fn run(client: &Client, args: &Args) -> anyhow::Result<()> {
    let listed = client.call(|channel| list(channel, args)).await?;
    let agents = &listed.agents;
    print(match client.output {
        Format::Json => to_json(&agents.iter().map(json::agent).collect::<Vec<_>>())?,
        Format::Name => names(agents.iter().map(|agent| agent.instance_uid.clone())),
        Format::Table => table(agents, args, unix_ms()),
    })?;
    if client.output == Format::Table {
        note_if_terminal(&listed.summary());
    }
    Ok(())
}

/// Reads pages until there are no more, or enough.
async fn list(channel: Channel, args: &Args) -> anyhow::Result<Listed> {
    let mut client = client(channel);
    let limit = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let mut listed = Listed { agents: Vec::new(), total: 0 };
    let mut request = args.request();
    loop {
        let rest = i32::try_from(limit - listed.agents.len()).unwrap_or(i32::MAX);
        request.page_size = rest.min(limits::PAGE_SIZE);
        let page = call::answer(client.list_agents(request.clone()).await)?;
        listed.total = page.total_size;
        listed.agents.extend(page.agents);
        listed.agents.truncate(limit);
        if page.next_page_token.is_empty() || listed.agents.len() == limit {
            return Ok(listed);
        }
        request.page_token = page.next_page_token;
    }
}

impl Args {
    fn request(&self) -> ListAgentsRequest {
        let terms: Vec<String> = self.sort.iter().map(ToString::to_string).collect();
        ListAgentsRequest {
            selector: self.selector.clone(),
            order_by: terms.join(", "),
            status: self.status.map_or(0, |status| status.wanted().into()),
            config_status: self.config_status.map_or(0, |standing| standing.wanted().into()),
            custom_capability: self.custom_capability.clone(),
            component: self.component.clone(),
            ..Default::default()
        }
    }
}

impl Status {
    fn wanted(self) -> ConnectionStatus {
        match self {
            Self::Connected => ConnectionStatus::Connected,
            Self::Disconnected => ConnectionStatus::Disconnected,
        }
    }
}

impl Standing {
    fn wanted(self) -> ConfigStatus {
        match self {
            Self::Unassigned => ConfigStatus::Unassigned,
            Self::Unsupported => ConfigStatus::Unsupported,
            Self::Pending => ConfigStatus::Pending,
            Self::Applying => ConfigStatus::Applying,
            Self::Applied => ConfigStatus::Applied,
            Self::Failed => ConfigStatus::Failed,
        }
    }
}

impl Listed {
    fn summary(&self) -> String {
        match (i64::try_from(self.agents.len()).unwrap_or(i64::MAX), self.total) {
            (1, 1) => "1 agent".to_owned(),
            (shown, total) if shown < total => format!("{shown} of {total} agents"),
            (shown, _) => format!("{shown} agents"),
        }
    }
}

fn table(agents: &[Agent], args: &Args, now_ms: u64) -> String {
    let mut table = match args.no_headers {
        true => Table::bare(),
        false => Table::new(args.columns.iter().map(Column::heading)),
    };
    for agent in agents {
        table.row(args.columns.iter().map(|column| column.cell(agent, now_ms)));
    }
    table.text()
}

#[cfg(test)]
mod tests;
