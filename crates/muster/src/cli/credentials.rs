//! `muster credentials …`.

use std::time::{Duration, UNIX_EPOCH};

use clap::{Subcommand, ValueEnum};
use control::v1::credential::State as Wire;
use control::v1::credentials_client::CredentialsClient;
use control::v1::{
    ApproveCredentialRequest, Credential, GetCredentialRequest, IssueCredentialRequest,
    ListCredentialsRequest, ResetCredentialRequest, RevokeCredentialRequest,
    RotateCredentialRequest,
};
use opamp::InstanceUid;

use super::output::{Format, Table, json as to_json, note, print};
use super::{Client, call, help, json, names, output};
use crate::cli::call::Channel;
use crate::exit::Failure;
use crate::limits;
use crate::serve::seams::unix_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what agents have, or wait for
    #[command(after_help = help::CREDENTIALS_LIST)]
    List {
        /// Only those in this state
        #[arg(long, value_enum)]
        state: Option<State>,
    },
    /// Show what an agent has, or waits for
    #[command(after_help = help::CREDENTIALS_GET)]
    Get(One),
    /// Let an agent in that waits for it, or that was turned away
    #[command(after_help = help::CREDENTIALS_APPROVE)]
    Approve(One),
    /// Give an agent a new one over its connection
    ///
    /// The older one is good until the agent came in with the new one.
    #[command(after_help = help::CREDENTIALS_ROTATE)]
    Rotate(One),
    /// Turn an agent away
    ///
    /// Its connection is closed, and no enrollment token lets it in.
    #[command(visible_alias = "deny", after_help = help::CREDENTIALS_REVOKE)]
    Revoke(One),
    /// Let an agent that lost its own be enrolled anew
    #[command(after_help = help::CREDENTIALS_RESET)]
    Reset(One),
    /// Make one and print it, which is the only time it is shown
    ///
    /// For an agent that cannot take one over its connection. It need not be known yet.
    #[command(after_help = help::CREDENTIALS_ISSUE)]
    Issue(Issue),
}

#[derive(Debug, clap::Args)]
struct One {
    /// Instance uid of the agent
    uid: InstanceUid,
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// Instance uid of the agent
    uid: InstanceUid,
    /// For how long it is good, as `30d`; as long as the server says without
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Make those worthless that the agent has
    #[arg(long)]
    revoke_older: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Active,
    Expired,
    Revoked,
    Reset,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    let name = |one: &One| format!("credentials/{}", one.uid);
    let credential = match args.verb {
        Verb::List { state } => return list(client, state).await,
        Verb::Issue(asked) => return issue(client, asked).await,
        Verb::Get(one) => {
            let request = GetCredentialRequest { name: name(&one) };
            let get = async |channel| call::answer(keeper(channel).get_credential(request).await);
            client.call(get).await?
        }
        Verb::Approve(one) => {
            let request = ApproveCredentialRequest { name: name(&one) };
            let ask =
                async |channel| call::answer(keeper(channel).approve_credential(request).await);
            client.call(ask).await?
        }
        Verb::Rotate(one) => {
            let request = RotateCredentialRequest { name: name(&one) };
            let ask =
                async |channel| call::answer(keeper(channel).rotate_credential(request).await);
            client.call(ask).await?
        }
        Verb::Revoke(one) => {
            let request = RevokeCredentialRequest { name: name(&one) };
            let ask =
                async |channel| call::answer(keeper(channel).revoke_credential(request).await);
            client.call(ask).await?
        }
        Verb::Reset(one) => {
            let request = ResetCredentialRequest { name: name(&one) };
            let ask = async |channel| call::answer(keeper(channel).reset_credential(request).await);
            client.call(ask).await?
        }
    };
    print(match client.output {
        Format::Json => to_json(&json::credential(&credential))?,
        Format::Name => names::short(&credential.name) + "\n",
        Format::Table => table(&[credential]),
    })
}

fn keeper(channel: Channel) -> CredentialsClient<Channel> {
    CredentialsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn list(client: &Client, state: Option<State>) -> anyhow::Result<()> {
    let state = state.map_or(Wire::Unspecified, |state| match state {
        State::Pending => Wire::Pending,
        State::Active => Wire::Active,
        State::Expired => Wire::Expired,
        State::Revoked => Wire::Revoked,
        State::Reset => Wire::Reset,
    });
    let pages = async |channel| {
        let mut client = keeper(channel);
        call::pages(async |page_token| {
            let page_size = limits::PAGE_SIZE;
            let request = ListCredentialsRequest { page_size, page_token, state: state.into() };
            let page = call::answer(client.list_credentials(request).await)?;
            Ok((page.credentials, page.next_page_token))
        })
        .await
    };
    let all = client.call(pages).await?;
    print(match client.output {
        Format::Json => to_json(&all.iter().map(json::credential).collect::<Vec<_>>())?,
        Format::Name => output::names(all.iter().map(|it| names::short(&it.name))),
        Format::Table => table(&all),
    })
}

async fn issue(client: &Client, asked: Issue) -> anyhow::Result<()> {
    let expires = asked.expires_in.map(|time| {
        let at = (UNIX_EPOCH + Duration::from_millis(unix_ms())).checked_add(time);
        at.ok_or_else(|| Failure::usage("--expires-in: nobody counts that far"))
    });
    let request = IssueCredentialRequest {
        name: format!("credentials/{}", asked.uid),
        expire_time: expires.transpose()?.map(Into::into),
        revoke_older: asked.revoke_older,
    };
    let issue = async |channel| call::answer(keeper(channel).issue_credential(request).await);
    let made = client.call(issue).await?;
    let credential = call::required(made.credential.as_ref(), "the credential's name")?;
    print(match client.output {
        Format::Json => {
            let mut value = json::credential(credential);
            value["token"] = made.token.into();
            to_json(&value)?
        }
        Format::Name => names::short(&credential.name) + "\n",
        Format::Table => {
            note("it is not shown again");
            made.token + "\n"
        }
    })
}

fn table(all: &[Credential]) -> String {
    let mut table = Table::new(["AGENT", "STATE", "SERIAL", "PROVEN", "EXPIRES", "CAME WITH"]);
    for credential in all {
        let value = json::credential(credential);
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        table.row([
            names::short(&credential.name),
            text("state"),
            credential.serial.to_string(),
            credential.proven_serial.to_string(),
            text("expires"),
            credential.enrollment.clone(),
        ]);
    }
    table.text()
}
