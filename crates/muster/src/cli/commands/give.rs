//! Giving commands: whom they would be for, said first, and what became of them.

use std::time::{Duration, UNIX_EPOCH};

use control::v1::command::{Action, Disconnect, Refresh, Reidentify, Restart};
use control::v1::{Command, CreateCommandRequest, CreateCommandResponse};
use opamp::InstanceUid;
use serde_json::json;

use super::{client, counts, wait};
use crate::cli::consent::{Consent, agents, kinds};
use crate::cli::output::{Format, json as to_json, print};
use crate::cli::{Client, call, json as shape, names};
use crate::serve::seams::unix_ms;

/// Whom a command is for, and how.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Their instance uids, unless there is a selector
    #[arg(value_name = "INSTANCE_UID", required_unless_present = "selector")]
    #[arg(conflicts_with = "selector")]
    uids: Vec<InstanceUid>,
    /// Which agents, as `env=prod`; `*` means all of them
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Agents told in a second at most [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    max_per_second: Option<i32>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    client: Client,
}

/// The one agent that gets another uid, and how.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OneArgs {
    /// Its instance uid
    #[arg(value_name = "INSTANCE_UID")]
    uid: InstanceUid,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Let it wait so long for agents that poll or are away, as `1h`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    queue: Option<Duration>,
    /// Wait until it is settled; ends with 0 if every agent did it, with 1 otherwise
    #[arg(long)]
    wait: bool,
    /// Only say whom it would be for
    #[arg(long)]
    dry_run: bool,
    /// An id of your own: the same command with the same id is given once
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

pub(in crate::cli) async fn restart(args: Args) -> anyhow::Result<()> {
    many(args, Action::Restart(Restart {}), "told to restart").await
}

pub(in crate::cli) async fn refresh(args: Args) -> anyhow::Result<()> {
    many(args, Action::Refresh(Refresh {}), "asked for full state").await
}

pub(in crate::cli) async fn disconnect(args: Args) -> anyhow::Result<()> {
    many(args, Action::Disconnect(Disconnect {}), "disconnected").await
}

pub(in crate::cli) async fn reidentify(args: OneArgs) -> anyhow::Result<()> {
    let OneArgs { uid, how, client } = args;
    let action = Action::Reidentify(Reidentify::default());
    let mut request = request(&how, action);
    request.agents.push(format!("agents/{uid}"));
    give(&client, request, &how, None, "given another uid").await
}

/// Gives agents a command.
pub(in crate::cli) async fn many(args: Args, action: Action, what: &str) -> anyhow::Result<()> {
    let mut request = request(&args.how, action);
    request.agents = args.uids.iter().map(|uid| format!("agents/{uid}")).collect();
    request.selector = args.selector.unwrap_or_default();
    if let Some(command) = &mut request.command {
        command.max_per_second = args.max_per_second.unwrap_or(0);
    }
    give(&args.client, request, &args.how, Some(&args.consent), what).await
}

fn request(how: &How, action: Action) -> CreateCommandRequest {
    let now = Duration::from_millis(unix_ms());
    let end = how.queue.and_then(|long| UNIX_EPOCH.checked_add(now + long));
    let command = Command {
        action: Some(action),
        queue: how.queue.is_some(),
        expire_time: end.map(Into::into),
        ..Default::default()
    };
    CreateCommandRequest {
        command: Some(command),
        request_id: how.request_id.clone().unwrap_or_default(),
        ..Default::default()
    }
}

async fn give(
    connection: &Client,
    request: CreateCommandRequest,
    how: &How,
    consent: Option<&Consent>,
    what: &str,
) -> anyhow::Result<()> {
    connection.output.unless_names()?;
    if how.dry_run || !request.selector.is_empty() || request.agents.len() > 1 {
        let preview = CreateCommandRequest { validate_only: true, ..request.clone() };
        let preview = ask(connection, preview).await?;
        if how.dry_run {
            return print(previewed(connection.output, &preview, what)?);
        }
        if let Some(consent) = consent {
            let told = preview.told.as_ref().map_or(0, |told| told.agents);
            consent.ask(told, &sentence(&preview, what))?;
        }
    }
    let given = call::required(ask(connection, request).await?.command, "the command")?;
    if how.wait {
        return wait::until_settled(connection, &given.name).await;
    }
    print(match connection.output {
        Format::Json => to_json(&shape::command(&given))?,
        _ => format!("command {}: {}\n", names::short(&given.name), counts(&given)),
    })
}

async fn ask(
    connection: &Client,
    request: CreateCommandRequest,
) -> anyhow::Result<CreateCommandResponse> {
    let give = |channel| async move { call::answer(client(channel).create_command(request).await) };
    connection.call(give).await
}

fn previewed(
    format: Format,
    preview: &CreateCommandResponse,
    what: &str,
) -> anyhow::Result<String> {
    Ok(match format {
        Format::Json => to_json(&json!({
            "matched_agents": preview.matched_agents,
            "told": preview.told.as_ref().map(shape::impact),
            "disconnected_agents": preview.disconnected_agents,
            "polling_agents": preview.polling_agents,
            "unable": preview.unable.as_ref().map(shape::impact),
            "dry_run": true,
        }))?,
        _ => format!("{}\nnothing was done\n", sentence(preview, what)),
    })
}

/// Whom it is for, and who is left out.
fn sentence(preview: &CreateCommandResponse, what: &str) -> String {
    let told = preview.told.clone().unwrap_or_default();
    let unable = preview.unable.clone().unwrap_or_default();
    let mut text = format!("{} to be {what}{}", agents(told.agents), kinds(&told));
    let mut left_out = |count: i64, why: &str| {
        if count > 0 {
            text = format!("{text}; left out: {} {why}", agents(count));
        }
    };
    left_out(preview.disconnected_agents, "not connected (--queue waits for them)");
    left_out(preview.polling_agents, "polling (--queue waits for their polls)");
    left_out(unable.agents, "unable");
    text
}

#[cfg(test)]
mod tests {
    use control::v1::Impact;

    use super::*;

    fn plain() -> How {
        How { queue: None, wait: false, dry_run: false, request_id: None }
    }

    #[test]
    fn a_queued_command_expires_when_its_time_is_over() {
        let how = How { queue: Some(Duration::from_secs(3600)), ..plain() };
        let command = request(&how, Action::Restart(Restart {})).command.unwrap();
        assert!(command.queue && command.expire_time.is_some());
        let command = request(&plain(), Action::Restart(Restart {})).command.unwrap();
        assert!(!command.queue && command.expire_time.is_none());
    }

    #[test]
    fn a_preview_says_who_is_left_out() {
        let preview = CreateCommandResponse {
            told: Some(Impact { agents: 3, ..Default::default() }),
            disconnected_agents: 1,
            unable: Some(Impact { agents: 2, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(
            sentence(&preview, "told to restart"),
            "3 agents to be told to restart; left out: 1 agent not connected \
             (--queue waits for them); left out: 2 agents unable"
        );
    }
}
