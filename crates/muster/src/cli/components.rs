//! `muster components …`.

use clap::Subcommand;
use control::v1::components_client::ComponentsClient;
use control::v1::{Component, ListComponentsRequest, ListComponentsResponse};

use super::output::{self, Format, Table, json as to_json, print};
use super::{Client, call, help};
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
    /// List components by name and version, with how many agents have them
    ///
    /// Agents say what they are made of once per kind, version and list. `muster agents list
    /// --component` shows who has one; `muster agents get` shows all of one agent.
    #[command(after_help = help::COMPONENTS_LIST)]
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only these: a name (`otlp`), a kind and a name (`receivers/otlp`), either with `@VERSION`
    #[arg(value_name = "COMPONENT", default_value = "")]
    component: String,
    /// Over which agents, as `service.name=otelcol,env in (prod,staging),!canary`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    selector: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match &args.verb {
        Verb::List(list) => {
            let found = client.call(async |channel| all(channel, list).await).await?;
            print(match client.output {
                Format::Json => to_json(&json(&found))?,
                Format::Name => output::names(found.components.iter().map(|it| it.name.clone())),
                Format::Table => table(&found),
            })
        }
    }
}

/// Every page, as one answer.
async fn all(channel: Channel, list: &ListArgs) -> anyhow::Result<ListComponentsResponse> {
    let mut client =
        ComponentsClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX);
    let mut request = ListComponentsRequest {
        selector: list.selector.clone(),
        component: list.component.clone(),
        page_size: 1_000,
        page_token: String::new(),
    };
    let mut components: Vec<Component> = Vec::new();
    loop {
        let page = call::answer(client.list_components(request.clone()).await)?;
        components.extend(page.components.clone());
        if page.next_page_token.is_empty() {
            return Ok(ListComponentsResponse { components, ..page });
        }
        request.page_token = page.next_page_token;
    }
}

fn table(found: &ListComponentsResponse) -> String {
    let mut table = Table::new(["COMPONENT", "VERSION", "AGENTS"]);
    for component in &found.components {
        let agents = component.agents.to_string();
        table.row([component.name.clone(), component.version.clone(), agents]);
    }
    let (known, unknown) = (found.agents_listed, found.agents_not_listed);
    let note = match unknown {
        0 => String::new(),
        _ => format!("{known} agents say what they are made of, {unknown} do not\n"),
    };
    format!("{}{note}", table.text())
}

fn json(found: &ListComponentsResponse) -> serde_json::Value {
    let component = |component: &Component| {
        serde_json::json!({
            "name": component.name,
            "version": component.version,
            "agents": component.agents,
        })
    };
    serde_json::json!({
        "components": found.components.iter().map(component).collect::<Vec<_>>(),
        "agents_listed": found.agents_listed,
        "agents_not_listed": found.agents_not_listed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_who_is_not_in_it() {
        let component = Component {
            name: "receivers/otlp".to_owned(),
            version: "v0.140.0".to_owned(),
            agents: 3,
        };
        let mut found = ListComponentsResponse {
            components: vec![component],
            agents_listed: 3,
            ..Default::default()
        };
        let all = "COMPONENT        VERSION    AGENTS\nreceivers/otlp   v0.140.0   3\n";
        assert_eq!(table(&found), all);
        found.agents_not_listed = 2;
        let note = "3 agents say what they are made of, 2 do not\n";
        assert_eq!(table(&found), format!("{all}{note}"));
        assert_eq!(json(&found)["components"][0]["name"], "receivers/otlp");
    }
}
