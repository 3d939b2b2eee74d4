//! `muster assign …`.

use clap::Subcommand;
use control::v1::assignment::{Progress, State};
use control::v1::assignments_client::AssignmentsClient;
use control::v1::{
    Assignment, DeleteAssignmentRequest, ListAssignmentsRequest, SetAssignmentRequest,
    SetAssignmentResponse,
};
use serde_json::json;

use super::consent::{Consent, sentence};
use super::output::{Format, Table, json as to_json, note, print};
use super::{Client, call, help, json as shape, names, output};
use crate::cli::call::Channel;

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
    /// It gives a config, connection settings or a set of packages. Agents with a WebSocket are
    /// told at once, those that poll at their next poll. The revision is pinned: a newer one
    /// changes nothing until the assignment is set again.
    #[command(after_help = help::ASSIGN_SET)]
    Set {
        /// Name of the assignment
        name: String,
        /// Which agents, as `env=prod`; the empty selector means all of them
        #[arg(short = 'l', long, value_name = "SELECTOR", required = true)]
        selector: String,
        #[command(flatten)]
        gives: Gives,
        /// The highest wins where several select an agent
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        priority: i64,
        /// Offers in flight at most [default: 1 % of the agents, and 50 at least]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        max_in_flight: Option<i32>,
        /// Stop once this many agents failed [default: 10]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        max_failures: Option<i32>,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// List assignments, the highest priority first
    #[command(after_help = help::ASSIGN_LIST)]
    List,
    /// Remove an assignment; agents keep what they have
    #[command(after_help = help::ASSIGN_REMOVE)]
    Remove {
        /// Name of the assignment
        name: String,
    },
}

/// What an assignment gives: one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Gives {
    /// A config; without a revision the newest one, pinned now
    #[arg(long, value_name = "CONFIG[@REVISION]")]
    config: Option<String>,
    /// Connection settings, of one class
    #[arg(long, value_name = "SETTINGS[@REVISION]")]
    settings: Option<String>,
    /// A set of packages; agents delete what is not in it
    #[arg(long, value_name = "SET[@REVISION]")]
    packages: Option<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    if !matches!(args.verb, Verb::List) {
        client.output.unless_names()?;
    }
    match args.verb {
        Verb::Set {
            name,
            selector,
            gives,
            priority,
            max_in_flight,
            max_failures,
            dry_run,
            consent,
        } => {
            let assignment = Assignment {
                name: names::assignment(&name),
                selector,
                config_revision: names::revision_in("configs", gives.config.as_deref()),
                settings_revision: names::revision_in(
                    "connectionSettings",
                    gives.settings.as_deref(),
                ),
                package_set_revision: names::revision_in("packageSets", gives.packages.as_deref()),
                priority,
                max_in_flight: max_in_flight.unwrap_or(0),
                max_failures: max_failures.unwrap_or(0),
                ..Default::default()
            };
            set(client, assignment, dry_run, &consent).await
        }
        Verb::List => list(client).await,
        Verb::Remove { name } => remove(client, &name).await,
    }
}

/// Looks first, and does it if that is wanted. What is done is what was looked at: the revision
/// that the preview found is the one that is set.
async fn set(
    client: &Client,
    mut assignment: Assignment,
    dry_run: bool,
    consent: &Consent,
) -> anyhow::Result<()> {
    let mut answer = ask(client, assignment.clone(), true).await?;
    if !dry_run {
        let judged = call::required(answer.assignment.take(), "the assignment")?;
        assignment.config_revision = judged.config_revision;
        assignment.package_set_revision = judged.package_set_revision;
        assignment.settings_revision = judged.settings_revision;
        let impact = answer.impact.unwrap_or_default();
        consent.ask(impact.agents, &sentence(&impact))?;
        answer = ask(client, assignment, false).await?;
    }
    let assignment = call::required(answer.assignment.as_ref(), "the assignment")?;
    print(match client.output {
        Format::Json => to_json(&json!({
            "assignment": shape::assignment(assignment),
            "matched_agents": answer.matched_agents,
            "affected_agents": answer.affected_agents,
            "impact": answer.impact.as_ref().map(shape::impact),
            "dry_run": dry_run,
        }))?,
        _ => said(assignment, &answer, dry_run),
    })
}

async fn ask(
    client: &Client,
    assignment: Assignment,
    validate_only: bool,
) -> anyhow::Result<SetAssignmentResponse> {
    let request = SetAssignmentRequest { assignment: Some(assignment), validate_only };
    let set = |channel| async move {
        call::answer(AssignmentsClient::new(channel).set_assignment(request).await)
    };
    client.call(set).await
}

fn said(assignment: &Assignment, answer: &SetAssignmentResponse, dry_run: bool) -> String {
    let line = format!(
        "{}: {}, agents matched {}, changing {}",
        names::short(&assignment.name),
        gives(assignment),
        answer.matched_agents,
        answer.affected_agents,
    );
    let impact = answer.impact.as_ref().map(sentence).unwrap_or_default();
    if dry_run { format!("{line}\n{impact}\nnothing was changed\n") } else { line + "\n" }
}

async fn list(client: &Client) -> anyhow::Result<()> {
    let list = |channel: Channel| async move {
        let request = ListAssignmentsRequest::default();
        call::answer(AssignmentsClient::new(channel).list_assignments(request).await)
    };
    let answer = client.call(list).await?;
    let assignments = answer.assignments;
    if let Some(hold) = answer.hold.filter(|_| client.output == Format::Table) {
        let why = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
        note(&format!("offers are held{why}; muster resume lets them go on"));
    }
    print(match client.output {
        Format::Json => to_json(&assignments.iter().map(shape::assignment).collect::<Vec<_>>())?,
        Format::Name => output::names(assignments.iter().map(|held| names::short(&held.name))),
        Format::Table => table(&assignments),
    })
}

/// As `collector@3`, `packages edge@2` or `settings backend@1`.
fn gives(assignment: &Assignment) -> String {
    let kinds = [
        ("", &assignment.config_revision),
        ("packages ", &assignment.package_set_revision),
        ("settings ", &assignment.settings_revision),
    ];
    let given = kinds.into_iter().find(|(_, revision)| !revision.is_empty());
    given.map_or_else(String::new, |(kind, revision)| format!("{kind}{}", names::short(revision)))
}

fn table(assignments: &[Assignment]) -> String {
    let mut table =
        Table::new(["NAME", "PRIORITY", "GIVES", "SELECTOR", "PROGRESS", "UPDATED", "BY"]);
    for assignment in assignments {
        let everyone = assignment.selector.is_empty();
        table.row([
            names::short(&assignment.name),
            assignment.priority.to_string(),
            gives(assignment),
            if everyone { "(all agents)" } else { &assignment.selector }.to_owned(),
            assignment.progress.as_ref().map(progress).unwrap_or_default(),
            assignment.update_time.map_or_else(String::new, |time| time.to_string()),
            assignment.actor.clone(),
        ]);
    }
    table.text()
}

/// As `12/50 applied, 3 failed, 5 in flight, STOPPED`.
fn progress(progress: &Progress) -> String {
    let mut text = format!("{}/{} applied", progress.applied, progress.agents);
    for (count, what) in [(progress.failed, "failed"), (progress.in_flight, "in flight")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    match progress.state() {
        State::Done | State::Unspecified => text,
        state => format!("{text}, {}", state.as_str_name()),
    }
}

async fn remove(client: &Client, name: &str) -> anyhow::Result<()> {
    let request = DeleteAssignmentRequest { name: names::assignment(name) };
    let remove = |channel| async move {
        call::answer(AssignmentsClient::new(channel).delete_assignment(request).await)
    };
    client.call(remove).await?;
    print(match client.output {
        Format::Json => to_json(&json!({ "removed": name }))?,
        _ => format!("{name} removed; agents keep what they have\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_matters() {
        let mut now = Progress { agents: 50, applied: 12, ..Default::default() };
        now.set_state(State::Done);
        assert_eq!(progress(&now), "12/50 applied");
        (now.failed, now.in_flight) = (3, 5);
        now.set_state(State::Stopped);
        assert_eq!(progress(&now), "12/50 applied, 3 failed, 5 in flight, STOPPED");
    }
}
