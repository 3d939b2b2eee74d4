//! `muster agents label` and `muster agents delete`.

use std::collections::BTreeMap;

use control::v1::{DeleteAgentRequest, LabelAgentsRequest, LabelAgentsResponse};
use opamp::InstanceUid;
use serde_json::json;

use super::client;
use crate::cli::consent::{Consent, agents, sentence};
use crate::cli::output::{Format, json as to_json, print};
use crate::cli::{Client, call};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct LabelArgs {
    /// The agent, unless there is a selector; then labels: KEY=VALUE to set, KEY- to remove
    #[arg(value_name = "[INSTANCE_UID] KEY=VALUE|KEY-", required = true)]
    words: Vec<String>,
    /// Which agents, as `env=prod`; `*` means all of them
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// Their instance uids
    #[arg(value_name = "INSTANCE_UID", required = true)]
    uids: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn label(args: &LabelArgs, connection: &Client) -> anyhow::Result<()> {
    connection.output.unless_names()?;
    let request = request(args)?;
    let preview = LabelAgentsRequest { validate_only: true, ..request.clone() };
    let preview = ask(connection, preview).await?;
    let impact = preview.impact.unwrap_or_default();
    let what = format!("{} labelled; {}", agents(preview.changed_agents), sentence(&impact));
    args.consent.ask(preview.changed_agents, &what)?;
    let done = ask(connection, request).await?;
    let affected = done.impact.map_or(0, |impact| impact.agents);
    print(match connection.output {
        Format::Json => {
            to_json(&json!({ "changed_agents": done.changed_agents, "affected_agents": affected }))?
        }
        _ => format!("{} labelled\n", agents(done.changed_agents)),
    })
}

async fn ask(
    connection: &Client,
    request: LabelAgentsRequest,
) -> anyhow::Result<LabelAgentsResponse> {
    let label = |channel| async move { call::answer(client(channel).label_agents(request).await) };
    connection.call(label).await
}

fn request(args: &LabelArgs) -> anyhow::Result<LabelAgentsRequest> {
    let mut words = args.words.iter();
    let name = match &args.selector {
        Some(_) => String::new(),
        None => format!("agents/{}", uid(words.next().map_or("", String::as_str))?),
    };
    let (mut set, mut remove) = (BTreeMap::new(), Vec::new());
    for word in words {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((key, value)), _) => {
                set.insert(key.to_owned(), value.to_owned());
            }
            (None, Some(key)) => remove.push(key.to_owned()),
            (None, None) => {
                let text = format!("{word:?} is no label: KEY=VALUE sets one, KEY- removes it");
                return Err(Failure::usage(text));
            }
        }
    }
    let selector = args.selector.clone().unwrap_or_default();
    Ok(LabelAgentsRequest { name, selector, set, remove, validate_only: false })
}

pub(super) async fn delete(args: &DeleteArgs, connection: &Client) -> anyhow::Result<()> {
    let uids: Vec<InstanceUid> =
        args.uids.iter().map(|text| uid(text)).collect::<Result<_, _>>()?;
    let count = i64::try_from(uids.len()).unwrap_or(i64::MAX);
    args.consent.ask(count, &format!("{} to be forgotten, with their labels", agents(count)))?;
    for uid in &uids {
        let request = DeleteAgentRequest { name: format!("agents/{uid}") };
        let delete =
            |channel| async move { call::answer(client(channel).delete_agent(request).await) };
        connection.call(delete).await?;
    }
    print(match connection.output {
        Format::Json => {
            let uids: Vec<String> = uids.iter().map(ToString::to_string).collect();
            to_json(&json!({ "deleted": uids }))?
        }
        _ => format!("{} forgotten\n", agents(count)),
    })
}

fn uid(text: &str) -> anyhow::Result<InstanceUid> {
    text.parse().map_err(|error| Failure::usage(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LabelArgs,
    }

    fn parsed(line: &str) -> anyhow::Result<LabelAgentsRequest> {
        request(&Line::parse_from(line.split(' ')).args)
    }

    #[test]
    fn words_are_an_agent_and_labels() {
        let uid = "018bcfe5-6800-7007-8707-070707070707";
        let one = parsed(&format!("label {uid} env=prod a=b=c canary-")).unwrap();
        assert_eq!(one.name, format!("agents/{uid}"));
        assert_eq!((one.set["env"].as_str(), one.set["a"].as_str()), ("prod", "b=c"));
        assert_eq!(one.remove, ["canary"]);
        let many = parsed("label -l * env=prod").unwrap();
        assert_eq!((many.name.as_str(), many.selector.as_str()), ("", "*"));
        assert!(parsed("label env=prod").is_err(), "no agent");
        assert!(parsed("label -l * env").is_err(), "no value");
    }
}
