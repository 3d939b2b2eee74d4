//! `muster config …`.

use clap::Subcommand;
use control::v1::configs_client::ConfigsClient;
use control::v1::{
    ApplyConfigRequest, Config, ConfigRevision, GetConfigRequest, GetConfigRevisionRequest,
    ListConfigsRequest,
};

use super::output::{Format, Table, json as to_json, print};
use super::{Client, call, files, help, json, names, output};
use crate::cli::call::Channel;
use crate::limits;

mod diff;

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
    /// A file that its name calls YAML, JSON or TOML must be it. Agents get the new revision once
    /// it is assigned: see `muster assign set`.
    #[command(after_help = help::CONFIG_APPLY)]
    Apply {
        /// Name of the config
        name: String,
        /// File to take; several need names of their own (`-` is standard input)
        #[arg(short = 'f', long = "file", value_name = "[KEY=]FILE")]
        #[arg(required_unless_present = "allow_empty")]
        files: Vec<String>,
        /// Take a config with nothing in it: it stops collectors that run under a supervisor
        #[arg(long)]
        allow_empty: bool,
    },
    /// Show a config's revisions, or print the files of one revision
    #[command(after_help = help::CONFIG_GET)]
    Get {
        /// Name of the config
        #[arg(value_name = "NAME[@REVISION]")]
        name: String,
    },
    /// Compare two revisions, or the newest one with files at hand
    #[command(after_help = help::CONFIG_DIFF)]
    Diff(diff::Args),
    /// List configs
    #[command(after_help = help::CONFIG_LIST)]
    List,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match args.verb {
        Verb::Apply { name, files, allow_empty } => {
            let (name, files) = (names::config(&name), files::read(&files)?);
            let request = ApplyConfigRequest { name, files, allow_empty };
            let applied = |channel| async move {
                call::answer(self::client(channel).apply_config(request).await)
            };
            let revision = client.call(applied).await?;
            print(match client.output {
                Format::Json => to_json(&json::revision(&revision))?,
                _ => names::short(&revision.name) + "\n",
            })
        }
        Verb::Get { name } if name.contains('@') => show_revision(client, &name).await,
        Verb::Get { name } => show_config(client, &name).await,
        Verb::Diff(args) => diff::run(client, &args).await,
        Verb::List => {
            let configs = client.call(list).await?;
            print(match client.output {
                Format::Json => to_json(&configs.iter().map(json::config).collect::<Vec<_>>())?,
                Format::Name => output::names(configs.iter().map(|held| names::short(&held.name))),
                Format::Table => table(&configs),
            })
        }
    }
}

fn client(channel: Channel) -> ConfigsClient<Channel> {
    ConfigsClient::new(channel)
        .max_decoding_message_size(limits::ANSWER_BYTES_MAX)
        .max_encoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn show_revision(client: &Client, name: &str) -> anyhow::Result<()> {
    let request = GetConfigRevisionRequest { name: names::revision(name) };
    let get = |channel| async move {
        call::answer(self::client(channel).get_config_revision(request).await)
    };
    let revision = client.call(get).await?;
    match client.output {
        Format::Json => print(to_json(&json::revision(&revision))?),
        Format::Name => print(output::names(revision.files.into_keys())),
        Format::Table => print(bodies(&revision)),
    }
}

/// A lone file as it is, so that it can be piped; several under their keys.
fn bodies(revision: &ConfigRevision) -> Vec<u8> {
    let lone = revision.files.len() == 1;
    let mut text = Vec::new();
    for (key, file) in &revision.files {
        if !lone {
            text.extend_from_slice(format!("==> {key} <==\n").as_bytes());
        }
        text.extend_from_slice(&file.body);
        if !lone && !file.body.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}

async fn show_config(client: &Client, name: &str) -> anyhow::Result<()> {
    let request = GetConfigRequest { name: names::config(name) };
    let get =
        |channel| async move { call::answer(self::client(channel).get_config(request).await) };
    let config = client.call(get).await?;
    if client.output == Format::Json {
        return print(to_json(&json::config(&config))?);
    }
    if client.output == Format::Name {
        let newest_first = config.revisions.iter().rev();
        return print(output::names(newest_first.map(|revision| names::short(&revision.name))));
    }
    let mut table = Table::new(["REVISION", "CREATED", "BY", "BYTES", "FILES", "HASH"]);
    for revision in config.revisions.iter().rev() {
        let value = json::revision(revision);
        table.row([
            names::short(&revision.name),
            value["created"].as_str().unwrap_or_default().to_owned(),
            revision.actor.clone(),
            revision.size_bytes.to_string(),
            revision.keys.len().to_string(),
            value["hash"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    print(table.text())
}

async fn list(channel: Channel) -> anyhow::Result<Vec<Config>> {
    let mut client = client(channel);
    call::pages(async |page_token| {
        let request = ListConfigsRequest { page_size: limits::PAGE_SIZE, page_token };
        let page = call::answer(client.list_configs(request).await)?;
        Ok((page.configs, page.next_page_token))
    })
    .await
}

fn table(configs: &[Config]) -> String {
    let mut table = Table::new(["NAME", "LATEST", "REVISIONS", "BYTES", "CREATED"]);
    for config in configs {
        let latest = config.revisions.last();
        table.row([
            names::short(&config.name),
            latest.map_or_else(String::new, |latest| names::short(&latest.name)),
            config.revisions.len().to_string(),
            latest.map_or_else(String::new, |latest| latest.size_bytes.to_string()),
            latest
                .and_then(|latest| latest.create_time)
                .map_or_else(String::new, |time| time.to_string()),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use opamp::v1::AgentConfigFile;

    use super::*;

    fn file(body: &'static str) -> AgentConfigFile {
        AgentConfigFile { body: body.into(), ..Default::default() }
    }

    #[test]
    fn a_lone_file_prints_untouched_and_several_under_their_keys() {
        let mut revision = ConfigRevision::default();
        revision.files.insert(String::new(), file("a: 1"));
        assert_eq!(bodies(&revision), b"a: 1");
        revision.files.insert("b".to_owned(), file("b: 2\n"));
        assert_eq!(bodies(&revision), b"==>  <==\na: 1\n==> b <==\nb: 2\n");
    }

    #[test]
    fn the_table_names_the_newest_revision() {
        let revision = |number: u64| ConfigRevision {
            name: format!("configs/collector/revisions/{number}"),
            revision: number,
            size_bytes: 12,
            ..Default::default()
        };
        let config = Config {
            name: "configs/collector".to_owned(),
            revisions: vec![revision(1), revision(2)],
        };
        let text = table(&[config]);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["collector", "collector@2", "2", "12", "-"]);
    }
}
