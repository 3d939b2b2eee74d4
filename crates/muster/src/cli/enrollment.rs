//! `muster enrollment-tokens …`.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Subcommand, ValueEnum};
use control::v1::credentials_client::CredentialsClient;
use control::v1::enrollment_token::Approval as Wire;
use control::v1::{
    CreateEnrollmentTokenRequest, EnrollmentToken, GetEnrollmentTokenRequest,
    ListEnrollmentTokensRequest, RevokeEnrollmentTokenRequest,
};

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
    /// Make a token and print it, which is the only time it is shown
    ///
    /// Only its SHA-256 is stored. A name is used once.
    #[command(after_help = help::ENROLLMENT_CREATE)]
    Create(Create),
    /// List tokens, without the tokens themselves
    #[command(after_help = help::ENROLLMENT_LIST)]
    List,
    /// Show a token, without the token itself
    #[command(after_help = help::ENROLLMENT_GET)]
    Get {
        /// Name of the token
        name: String,
    },
    /// Make a token worthless; agents that it enrolled stay
    #[command(after_help = help::ENROLLMENT_REVOKE)]
    Revoke {
        /// Name of the token
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Name of the token
    name: String,
    /// Label that agents get when they are enrolled; repeat for several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// For how long it is good, as `24h` or `30d`; for ever without
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// How many agents it may enroll; any number without
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    uses: Option<i64>,
    /// Who lets an agent in
    #[arg(long, value_enum, default_value = "automatic")]
    approval: Approval,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Approval {
    /// Nobody is asked
    Automatic,
    /// An operator, each time
    Manual,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match args.verb {
        Verb::Create(asked) => create(client, asked).await,
        Verb::List => {
            let all = client.call(list).await?;
            print(match client.output {
                Format::Json => {
                    to_json(&all.iter().map(json::enrollment_token).collect::<Vec<_>>())?
                }
                Format::Name => output::names(all.iter().map(|it| names::short(&it.name))),
                Format::Table => table(&all),
            })
        }
        Verb::Get { name } => {
            let request = GetEnrollmentTokenRequest { name: names::enrollment_token(&name) };
            let get = |channel| async move {
                call::answer(self::client(channel).get_enrollment_token(request).await)
            };
            show(client, client.call(get).await?)
        }
        Verb::Revoke { name } => {
            let request = RevokeEnrollmentTokenRequest { name: names::enrollment_token(&name) };
            let revoke = |channel| async move {
                call::answer(self::client(channel).revoke_enrollment_token(request).await)
            };
            show(client, client.call(revoke).await?)
        }
    }
}

async fn create(client: &Client, asked: Create) -> anyhow::Result<()> {
    let expires = asked.expires_in.map(|time| {
        let at = (UNIX_EPOCH + Duration::from_millis(unix_ms())).checked_add(time);
        at.ok_or_else(|| Failure::usage("--expires-in: nobody counts that far"))
    });
    let labels: BTreeMap<String, String> = asked.labels.into_iter().collect();
    let approval = match asked.approval {
        Approval::Automatic => Wire::Automatic,
        Approval::Manual => Wire::Manual,
    };
    let token = EnrollmentToken {
        name: names::enrollment_token(&asked.name),
        approval: approval.into(),
        labels,
        expire_time: expires.transpose()?.map(Into::into),
        uses_max: asked.uses.unwrap_or(0),
        ..Default::default()
    };
    let request = CreateEnrollmentTokenRequest { enrollment_token: Some(token) };
    let create = |channel| async move {
        call::answer(self::client(channel).create_enrollment_token(request).await)
    };
    let made = client.call(create).await?;
    let token = call::required(made.enrollment_token.as_ref(), "the token's name")?;
    print(match client.output {
        Format::Json => {
            let mut value = json::enrollment_token(token);
            value["token"] = made.token.into();
            to_json(&value)?
        }
        Format::Name => names::short(&token.name) + "\n",
        Format::Table => {
            note("it is not shown again");
            made.token + "\n"
        }
    })
}

fn client(channel: Channel) -> CredentialsClient<Channel> {
    CredentialsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn list(channel: Channel) -> anyhow::Result<Vec<EnrollmentToken>> {
    let mut client = client(channel);
    call::pages(async |page_token| {
        let request = ListEnrollmentTokensRequest { page_size: limits::PAGE_SIZE, page_token };
        let page = call::answer(client.list_enrollment_tokens(request).await)?;
        Ok((page.enrollment_tokens, page.next_page_token))
    })
    .await
}

fn show(client: &Client, token: EnrollmentToken) -> anyhow::Result<()> {
    print(match client.output {
        Format::Json => to_json(&json::enrollment_token(&token))?,
        Format::Name => names::short(&token.name) + "\n",
        Format::Table => table(&[token]),
    })
}

fn table(all: &[EnrollmentToken]) -> String {
    let mut table = Table::new(["NAME", "STATE", "APPROVAL", "USES", "EXPIRES", "LABELS", "BY"]);
    for token in all {
        let value = json::enrollment_token(token);
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let labels = token.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let uses = match token.uses_max {
            0 => token.uses.to_string(),
            most => format!("{} of {most}", token.uses),
        };
        table.row([
            names::short(&token.name),
            text("state"),
            text("approval"),
            uses,
            text("expires"),
            labels.collect::<Vec<_>>().join(","),
            token.actor.clone(),
        ]);
    }
    table.text()
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
