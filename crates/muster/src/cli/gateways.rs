//! `muster gateways …`.

use clap::Subcommand;
use control::v1::fleet_client::FleetClient;
use control::v1::{Gateway, ListGatewaysRequest, Liveness};

use super::output::{self, Format, Table, json as to_json, print};
use super::{Client, call, help, json, time};
use crate::cli::call::Channel;
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
    /// List gateways with the sessions they hold
    ///
    /// One that fell silent is shown as SILENT for ten minutes; one that ended in order is not
    /// shown any more.
    #[command(after_help = help::GATEWAYS_LIST)]
    List,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let client = &args.client;
    match args.verb {
        Verb::List => {
            let gateways = client.call(list).await?;
            print(match client.output {
                Format::Json => to_json(&gateways.iter().map(json::gateway).collect::<Vec<_>>())?,
                Format::Name => {
                    output::names(gateways.iter().map(|gateway| gateway.gateway_id.clone()))
                }
                Format::Table => table(&gateways, unix_ms()),
            })
        }
    }
}

/// The service that knows how the control plane is doing.
pub(super) fn fleet(channel: Channel) -> FleetClient<Channel> {
    FleetClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
}

async fn list(channel: Channel) -> anyhow::Result<Vec<Gateway>> {
    let answer = fleet(channel).list_gateways(ListGatewaysRequest {}).await;
    Ok(call::answer(answer)?.gateways)
}

/// Gateways as a table.
pub(super) fn table(gateways: &[Gateway], now_ms: u64) -> String {
    let headings = ["GATEWAY", "SESSIONS", "STATE", "VERSION", "ADDRESS", "PROCESS", "LAST HEARD"];
    let mut table = Table::new(headings);
    for gateway in gateways {
        table.row([
            gateway.gateway_id.clone(),
            gateway.sessions.to_string(),
            liveness(gateway.liveness).to_owned(),
            gateway.version.clone(),
            gateway.address.clone(),
            gateway.process_id.clone(),
            gateway.last_heard_time.map_or_else(String::new, |at| time::ago(now_ms, at.seconds)),
        ]);
    }
    table.text()
}

/// `ALIVE` or `SILENT`.
pub(super) fn liveness(liveness: i32) -> &'static str {
    match Liveness::try_from(liveness) {
        Ok(known) if known != Liveness::Unspecified => known.as_str_name(),
        _ => "UNKNOWN",
    }
}
