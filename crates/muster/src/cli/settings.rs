//! `muster settings …`.

use clap::Subcommand;
use control::v1::connection_settings_client::ConnectionSettingsClient;
use control::v1::{
    ApplyConnectionSettingsRequest, ConnectionSettingsRevision, DeleteConnectionSettingsRequest,
    GetConnectionSettingsRequest, ListConnectionSettingsRequest, NamedConnectionSettings,
};

use super::output::{Format, Table, json as to_json, print};
use super::{Client, call, help, json, names, output};
use crate::cli::call::Channel;
use crate::limits;

mod file;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a revision, unless it equals the newest one, and print its name
    ///
    /// The file is YAML, JSON or TOML. Secrets are named by where they are, as files or variables,
    /// and read here; the server seals them and never tells them again. Agents get the new revision
    /// once it is assigned: see `muster assign set --settings`.
    #[command(after_help = help::SETTINGS_APPLY)]
    Apply {
        /// Name of the settings
        name: String,
        /// File to take (`-` is standard input)
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: String,
        /// Take telemetry over http: what agents send, and their tokens, can be read on the way
        #[arg(long)]
        allow_http: bool,
    },
    /// Show the revisions of settings, without their secrets
    #[command(after_help = help::SETTINGS_GET)]
    Get {
        /// Name of the settings
        name: String,
    },
    /// List settings
    #[command(after_help = help::SETTINGS_LIST)]
    List,
    /// Delete settings that no assignment names, and their secrets with them
    ///
    /// Agents that have them go on with them, and are not told them again.
    #[command(after_help = help::SETTINGS_DELETE)]
    Delete {
        /// Name of the settings
        name: String,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match args.verb {
        Verb::Apply { name, file, allow_http } => {
            let file::Read { class, settings } = file::read(&file)?;
            let (name, settings) = (names::settings(&name), Some(settings));
            let request = ApplyConnectionSettingsRequest { name, class, settings, allow_http };
            let apply = |channel| async move {
                call::answer(self::client(channel).apply_connection_settings(request).await)
            };
            let revision = client.call(apply).await?;
            print(match client.output {
                Format::Json => to_json(&json::settings_revision(&revision))?,
                _ => names::short(&revision.name) + "\n",
            })
        }
        Verb::Get { name } => {
            let request = GetConnectionSettingsRequest { name: names::settings(&name) };
            let get = |channel| async move {
                call::answer(self::client(channel).get_connection_settings(request).await)
            };
            let settings = client.call(get).await?;
            let newest_first = settings.revisions.iter().rev();
            print(match client.output {
                Format::Json => to_json(&json::settings(&settings))?,
                Format::Name => output::names(newest_first.map(|it| names::short(&it.name))),
                Format::Table => revisions(newest_first),
            })
        }
        Verb::List => {
            let all = client.call(list).await?;
            print(match client.output {
                Format::Json => to_json(&all.iter().map(json::settings).collect::<Vec<_>>())?,
                Format::Name => output::names(all.iter().map(|it| names::short(&it.name))),
                Format::Table => table(&all),
            })
        }
        Verb::Delete { name } => {
            let request = DeleteConnectionSettingsRequest { name: names::settings(&name) };
            let delete = |channel| async move {
                call::answer(self::client(channel).delete_connection_settings(request).await)
            };
            client.call(delete).await?;
            print(format!("{name} deleted\n"))
        }
    }
}

fn client(channel: Channel) -> ConnectionSettingsClient<Channel> {
    ConnectionSettingsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn list(channel: Channel) -> anyhow::Result<Vec<NamedConnectionSettings>> {
    let mut client = client(channel);
    call::pages(async |page_token| {
        let request = ListConnectionSettingsRequest { page_size: limits::PAGE_SIZE, page_token };
        let page = call::answer(client.list_connection_settings(request).await)?;
        Ok((page.connection_settings, page.next_page_token))
    })
    .await
}

fn table(all: &[NamedConnectionSettings]) -> String {
    let mut table = Table::new(["NAME", "CLASS", "LATEST", "ENDPOINT", "CREATED", "BY"]);
    for settings in all {
        let latest = settings.revisions.last().cloned().unwrap_or_default();
        table.row([
            names::short(&settings.name),
            settings.class.clone(),
            names::short(&latest.name),
            json::settings_endpoint(&latest),
            latest.create_time.map_or_else(String::new, |time| time.to_string()),
            latest.actor,
        ]);
    }
    table.text()
}

fn revisions<'a>(revisions: impl Iterator<Item = &'a ConnectionSettingsRevision>) -> String {
    let mut table =
        Table::new(["REVISION", "CREATED", "BY", "ENDPOINT", "HEADERS", "CERTIFICATE", "HASH"]);
    for revision in revisions {
        let value = json::settings_revision(revision);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let headers = value["settings"]["headers"].as_array().cloned().unwrap_or_default();
        let headers: Vec<String> = headers.iter().map(|header| text(&header["name"])).collect();
        table.row([
            names::short(&revision.name),
            text(&value["created"]),
            revision.actor.clone(),
            json::settings_endpoint(revision),
            headers.join(","),
            text(&value["certificate"]["subject"]),
            text(&value["hash"]),
        ]);
    }
    table.text()
}
