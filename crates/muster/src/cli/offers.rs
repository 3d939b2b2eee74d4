//! `muster hold` and `muster resume`.

use control::v1::assignments_client::AssignmentsClient;
use control::v1::{HoldOffersRequest, ResumeOffersRequest};
use serde_json::json;

use super::consent::agents;
use super::output::{Format, json as to_json, print};
use super::{Client, call, json as shape};

#[derive(Debug, clap::Args)]
pub(super) struct HoldArgs {
    /// Why, for others to read
    #[arg(default_value = "")]
    reason: String,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    client: Client,
}

pub(super) async fn hold(args: HoldArgs) -> anyhow::Result<()> {
    args.client.output.unless_names()?;
    let request = HoldOffersRequest { reason: args.reason };
    let hold = |channel| async move {
        call::answer(AssignmentsClient::new(channel).hold_offers(request).await)
    };
    let answer = args.client.call(hold).await?;
    let hold = call::required(answer.hold, "the hold")?;
    let waiting = answer.waiting_agents;
    print(match args.client.output {
        Format::Json => to_json(&json!({ "hold": shape::hold(&hold), "waiting_agents": waiting }))?,
        _ => {
            let since = hold.since_time.map_or_else(String::new, |time| format!(" since {time}"));
            format!(
                "offers are held{since}; waiting: {}; muster resume lets them go on\n",
                agents(waiting)
            )
        }
    })
}

pub(super) async fn resume(args: ResumeArgs) -> anyhow::Result<()> {
    args.client.output.unless_names()?;
    let resume = |channel| async move {
        let request = ResumeOffersRequest::default();
        call::answer(AssignmentsClient::new(channel).resume_offers(request).await)
    };
    let waiting = args.client.call(resume).await?.waiting_agents;
    print(match args.client.output {
        Format::Json => to_json(&json!({ "waiting_agents": waiting }))?,
        _ => format!("offers go out again; waiting: {}\n", agents(waiting)),
    })
}
