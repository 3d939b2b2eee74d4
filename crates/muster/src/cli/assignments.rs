//! `muster assign …`.

use clap::Subcommand;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::{
    Assignment, DeleteAssignmentRequest, ListAssignmentsRequest, SetAssignmentRequest,
    SetAssignmentResponse,
};
use serde_json::json;
use tonic::transport::Channel;

use super::output::{Format, Table, json as to_json, print};
use super::{Client, call, help, json as shape, names, output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create or replace an assignment
    ///
    /// Agents with a WebSocket are told at once, those that poll at their next poll. The revision
    /// is pinned: a newer one changes nothing until the assignment is set again.
    #[command(after_help = help::ASSIGN_SET)]
    Set {
        /// Name of the assignment
        name: String,
        /// Which agents, as `env=prod`; the empty selector means all of them
        #[arg(short = 'l', long, value_name = "SELECTOR", required = true)]
        selector: String,
        /// Which config; without a revision the newest one, pinned now
        #[arg(long, value_name = "CONFIG[@REVISION]")]
        config: String,
        /// The highest wins where several select an agent
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        priority: i64,
    },
    /// List assignments, the highest priority first
    #[command(after_help = help::ASSIGN_LIST)]
    List,
    /// Remove an assignment; agents keep the config they have
    #[command(after_help = help::ASSIGN_REMOVE)]
    Remove {
        /// Name of the assignment
        name: String,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    if !matches!(args.verb, Verb::List) {
        client.output.unless_names()?;
    }
    match args.verb {
        Verb::Set { name, selector, config, priority } => {
            let assignment = Assignment {
                name: names::assignment(&name),
                selector,
                config_revision: names::revision(&config),
                priority,
                ..Default::default()
            };
            set(client, assignment).await
        }
        Verb::List => list(client).await,
        Verb::Remove { name } => remove(client, &name).await,
    }
}

async fn set(client: &Client, assignment: Assignment) -> anyhow::Result<()> {
    let request = SetAssignmentRequest { assignment: Some(assignment) };
    let set = |channel| async move {
        call::answer(AssignmentsClient::new(channel).set_assignment(request).await)
    };
    let answer = client.call(set).await?;
    let assignment = call::required(answer.assignment.as_ref(), "the assignment")?;
    print(match client.output {
        Format::Json => to_json(&json!({
            "assignment": shape::assignment(assignment),
            "matched_agents": answer.matched_agents,
            "affected_agents": answer.affected_agents,
        }))?,
        _ => said(assignment, &answer),
    })
}

fn said(assignment: &Assignment, answer: &SetAssignmentResponse) -> String {
    format!(
        "{}: {}, agents matched {}, changing {}\n",
        names::short(&assignment.name),
        names::short(&assignment.config_revision),
        answer.matched_agents,
        answer.affected_agents,
    )
}

async fn list(client: &Client) -> anyhow::Result<()> {
    let list = |channel: Channel| async move {
        let request = ListAssignmentsRequest::default();
        call::answer(AssignmentsClient::new(channel).list_assignments(request).await)
    };
    let assignments = client.call(list).await?.assignments;
    print(match client.output {
        Format::Json => to_json(&assignments.iter().map(shape::assignment).collect::<Vec<_>>())?,
        Format::Name => output::names(assignments.iter().map(|held| names::short(&held.name))),
        Format::Table => table(&assignments),
    })
}

fn table(assignments: &[Assignment]) -> String {
    let mut table = Table::new(["NAME", "PRIORITY", "CONFIG", "SELECTOR", "UPDATED"]);
    for assignment in assignments {
        let everyone = assignment.selector.is_empty();
        table.row([
            names::short(&assignment.name),
            assignment.priority.to_string(),
            names::short(&assignment.config_revision),
            if everyone { "(all agents)" } else { &assignment.selector }.to_owned(),
            assignment.update_time.map_or_else(String::new, |time| time.to_string()),
        ]);
    }
    table.text()
}

async fn remove(client: &Client, name: &str) -> anyhow::Result<()> {
    let request = DeleteAssignmentRequest { name: names::assignment(name) };
    let remove = |channel| async move {
        call::answer(AssignmentsClient::new(channel).delete_assignment(request).await)
    };
    client.call(remove).await?;
    print(match client.output {
        Format::Json => to_json(&json!({ "removed": name }))?,
        _ => format!("{name} removed; agents keep the config they have\n"),
    })
}
