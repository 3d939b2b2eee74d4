//! `muster packages …`.

use std::path::Path;

use clap::Subcommand;
use control::v1::package_version::{File, Type};
use control::v1::packages_client::PackagesClient;
use control::v1::{
    CreatePackageVersionRequest, DeletePackageVersionRequest, GetPackageVersionRequest,
    ListPackageVersionsRequest, PackageVersion,
};
use serde::Deserialize;

use super::output::{Format, Table, json as to_json, print};
use super::{Client, call, files, help, json, names, output, yaml};
use crate::cli::call::Channel;
use crate::exit::Failure;
use crate::limits;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a version, unless it is there, and print its name
    ///
    /// The file, in YAML, JSON or TOML, names the files of the package: which agents each is for,
    /// where they fetch it, and its SHA-256. A version never changes. Agents get it as a part of a
    /// set: see `muster package-sets apply`.
    #[command(after_help = help::PACKAGES_CREATE)]
    Create {
        /// Package and version
        #[arg(value_name = "PACKAGE@VERSION", value_parser = version)]
        version: String,
        /// File to take (`-` is standard input)
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: String,
    },
    /// List versions
    #[command(after_help = help::PACKAGES_LIST)]
    List,
    /// Show a version
    #[command(after_help = help::PACKAGES_GET)]
    Get {
        /// Package and version
        #[arg(value_name = "PACKAGE@VERSION", value_parser = version)]
        version: String,
    },
    /// Delete a version that no set names
    #[command(after_help = help::PACKAGES_DELETE)]
    Delete {
        /// Package and version
        #[arg(value_name = "PACKAGE@VERSION", value_parser = version)]
        version: String,
    },
}

/// What a file says of a version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    r#type: Kind,
    files: Vec<SaidFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    TopLevel,
    Addon,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidFile {
    #[serde(default)]
    selector: String,
    url: String,
    /// In hex.
    sha256: String,
    /// File with a detached signature, beside this one.
    signature_file: Option<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match args.verb {
        Verb::Create { version, file } => {
            let package_version = Some(read(version, &file)?);
            let request = CreatePackageVersionRequest { package_version };
            let create =
                async |channel| call::answer(keeper(channel).create_package_version(request).await);
            let made = client.call(create).await?;
            print(match client.output {
                Format::Json => to_json(&json::package_version(&made))?,
                _ => names::short(&made.name) + "\n",
            })
        }
        Verb::Get { version } => {
            let request = GetPackageVersionRequest { name: version };
            let get =
                async |channel| call::answer(keeper(channel).get_package_version(request).await);
            let found = client.call(get).await?;
            print(match client.output {
                Format::Json => to_json(&json::package_version(&found))?,
                Format::Name => names::short(&found.name) + "\n",
                Format::Table => files_of(&found),
            })
        }
        Verb::List => {
            let all = client.call(list).await?;
            print(match client.output {
                Format::Json => {
                    to_json(&all.iter().map(json::package_version).collect::<Vec<_>>())?
                }
                Format::Name => output::names(all.iter().map(|it| names::short(&it.name))),
                Format::Table => table(&all),
            })
        }
        Verb::Delete { version } => {
            let text = format!("{} deleted\n", names::short(&version));
            let request = DeletePackageVersionRequest { name: version };
            let delete =
                async |channel| call::answer(keeper(channel).delete_package_version(request).await);
            client.call(delete).await?;
            print(text)
        }
    }
}

pub(super) fn keeper(channel: Channel) -> PackagesClient<Channel> {
    PackagesClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

/// `packages/{package}/versions/{version}` of what people write.
pub(super) fn version(text: &str) -> Result<String, String> {
    let (package, version) = text.split_once('@').ok_or("must be PACKAGE@VERSION")?;
    Ok(format!("packages/{package}/versions/{version}"))
}

fn read(name: String, path: &str) -> anyhow::Result<PackageVersion> {
    let wrong = |reason: String| Failure::usage(format!("{path}: {reason}"));
    let body = files::body(path).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(body).map_err(|_| wrong("is not text".to_owned()))?;
    let is_toml = Path::new(path).extension().is_some_and(|it| it == "toml");
    let said: Said = match is_toml {
        true => toml::from_str(&text).map_err(|error| wrong(error.to_string()))?,
        false => yaml::parse(&text)
            .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()))
            .map_err(wrong)?,
    };
    let beside = Path::new(path).parent().unwrap_or(Path::new(""));
    let file = |said: SaidFile| {
        let signature = match said.signature_file {
            None => Vec::new(),
            Some(name) => {
                let path = beside.join(name);
                let unread = |error| wrong(format!("{}: {error}", path.display()));
                std::fs::read(&path).map_err(unread)?
            }
        };
        let unreadable = || wrong(format!("sha256 {:?} must be 64 hex digits", said.sha256));
        let content_hash = unhex(&said.sha256).ok_or_else(unreadable)?;
        let (selector, download_url, hash) = (said.selector, said.url, Vec::new());
        Ok(File { selector, download_url, content_hash, signature, hash })
    };
    let files: anyhow::Result<Vec<File>> = said.files.into_iter().map(file).collect();
    let r#type = match said.r#type {
        Kind::TopLevel => Type::TopLevel,
        Kind::Addon => Type::Addon,
    };
    Ok(PackageVersion { name, r#type: r#type.into(), files: files?, ..Default::default() })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let byte = |pair: &[u32]| u8::try_from(16 * pair[0] + pair[1]).ok();
    digits.chunks(2).map(byte).collect()
}

async fn list(channel: Channel) -> anyhow::Result<Vec<PackageVersion>> {
    let mut client = keeper(channel);
    call::pages(async |page_token| {
        let request = ListPackageVersionsRequest { page_size: limits::PAGE_SIZE, page_token };
        let page = call::answer(client.list_package_versions(request).await)?;
        Ok((page.package_versions, page.next_page_token))
    })
    .await
}

fn table(all: &[PackageVersion]) -> String {
    let mut table = Table::new(["VERSION", "TYPE", "FILES", "CREATED", "BY"]);
    for version in all {
        let value = json::package_version(version);
        table.row([
            names::short(&version.name),
            value["type"].as_str().unwrap_or_default().to_owned(),
            version.files.len().to_string(),
            version.create_time.map_or_else(String::new, |time| time.to_string()),
            version.actor.clone(),
        ]);
    }
    table.text()
}

fn files_of(version: &PackageVersion) -> String {
    let mut table = Table::new(["SELECTOR", "URL", "SHA256", "SIGNATURE"]);
    let value = json::package_version(version);
    for (index, file) in version.files.iter().enumerate() {
        table.row([
            file.selector.clone(),
            file.download_url.clone(),
            value["files"][index]["sha256"].as_str().unwrap_or_default().to_owned(),
            format!("{} bytes", file.signature.len()),
        ]);
    }
    table.text()
}
