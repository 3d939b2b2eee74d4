//! `muster package-sets …`.

use clap::Subcommand;
use control::v1::{
    ApplyPackageSetRequest, DeletePackageSetRequest, GetPackageSetRequest, ListPackageSetsRequest,
    PackageSet, PackageSetRevision,
};

use super::output::{Format, Table, json as to_json, print};
use super::packages::{keeper, version};
use super::{Client, call, help, json, names, output};
use crate::cli::call::Channel;
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
    /// Add a revision, unless it equals the newest one, and print its name
    ///
    /// A set is all that an agent is to have: it deletes what is not in it. Agents get the new
    /// revision once it is assigned: see `muster assign set --packages`.
    #[command(after_help = help::PACKAGE_SETS_APPLY)]
    Apply {
        /// Name of the set
        name: String,
        /// What is in it
        #[arg(value_name = "PACKAGE@VERSION", value_parser = version, required = true)]
        versions: Vec<String>,
    },
    /// List sets
    #[command(after_help = help::PACKAGE_SETS_LIST)]
    List,
    /// Show the revisions of a set
    #[command(after_help = help::PACKAGE_SETS_GET)]
    Get {
        /// Name of the set
        name: String,
    },
    /// Delete a set that no assignment names; agents keep what they have
    #[command(after_help = help::PACKAGE_SETS_DELETE)]
    Delete {
        /// Name of the set
        name: String,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match args.verb {
        Verb::Apply { name, versions } => {
            let request = ApplyPackageSetRequest { name: full(&name), package_versions: versions };
            let apply =
                async |channel| call::answer(keeper(channel).apply_package_set(request).await);
            let revision = client.call(apply).await?;
            print(match client.output {
                Format::Json => to_json(&json::set_revision(&revision))?,
                _ => names::short(&revision.name) + "\n",
            })
        }
        Verb::Get { name } => {
            let request = GetPackageSetRequest { name: full(&name) };
            let get = async |channel| call::answer(keeper(channel).get_package_set(request).await);
            let set = client.call(get).await?;
            let newest_first = set.revisions.iter().rev();
            print(match client.output {
                Format::Json => to_json(&json::package_set(&set))?,
                Format::Name => output::names(newest_first.map(|it| names::short(&it.name))),
                Format::Table => table(newest_first),
            })
        }
        Verb::List => {
            let all = client.call(list).await?;
            print(match client.output {
                Format::Json => to_json(&all.iter().map(json::package_set).collect::<Vec<_>>())?,
                Format::Name => output::names(all.iter().map(|it| names::short(&it.name))),
                Format::Table => table(all.iter().filter_map(|set| set.revisions.last())),
            })
        }
        Verb::Delete { name } => {
            let request = DeletePackageSetRequest { name: full(&name) };
            let delete =
                async |channel| call::answer(keeper(channel).delete_package_set(request).await);
            client.call(delete).await?;
            print(format!("{name} deleted\n"))
        }
    }
}

fn full(name: &str) -> String {
    format!("packageSets/{name}")
}

async fn list(channel: Channel) -> anyhow::Result<Vec<PackageSet>> {
    let mut client = keeper(channel);
    call::pages(async |page_token| {
        let request = ListPackageSetsRequest { page_size: limits::PAGE_SIZE, page_token };
        let page = call::answer(client.list_package_sets(request).await)?;
        Ok((page.package_sets, page.next_page_token))
    })
    .await
}

fn table<'a>(revisions: impl Iterator<Item = &'a PackageSetRevision>) -> String {
    let mut table = Table::new(["REVISION", "PACKAGES", "CREATED", "BY"]);
    for revision in revisions {
        let packages: Vec<String> =
            revision.package_versions.iter().map(|it| names::short(it)).collect();
        table.row([
            names::short(&revision.name),
            packages.join(" "),
            revision.create_time.map_or_else(String::new, |time| time.to_string()),
            revision.actor.clone(),
        ]);
    }
    table.text()
}
