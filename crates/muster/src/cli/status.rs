//! `muster status`: how the control plane itself is doing.

use std::fmt::Write as _;

use control::v1::get_status_response::{AgentCounts, Offers, Process, Service, View};
use control::v1::{GetStatusRequest, GetStatusResponse, Liveness, assignment};

use super::output::{Format, Table, json as to_json, print};
use super::{Client, call, gateways, json, names, time};
use crate::cli::call::Channel;
use crate::serve::seams::unix_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    client: Client,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let format = args.client.output.unless_names()?;
    let status = args.client.call(get).await?;
    print(match format {
        Format::Json => to_json(&json::status(&status))?,
        _ => page(&status, unix_ms()),
    })
}

async fn get(channel: Channel) -> anyhow::Result<GetStatusResponse> {
    call::answer(gateways::fleet(channel).get_status(GetStatusRequest {}).await)
}

fn page(status: &GetStatusResponse, now_ms: u64) -> String {
    let mut text = processes(&status.processes, now_ms);
    if !status.gateways.is_empty() {
        text += &format!("\n{}", gateways::table(&status.gateways, now_ms));
    }
    text += &format!("\n{}\n", services(status));
    let mut line = |name: &str, said: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:9}{said}");
    };
    line("view", status.view.as_ref().map_or_else(String::new, |view| self::view(view, now_ms)));
    line("agents", status.agents.as_ref().map_or_else(String::new, agents));
    line("offers", status.offers.as_ref().map_or_else(|| "unknown".to_owned(), offers));
    text
}

fn processes(processes: &[Process], now_ms: u64) -> String {
    let mut table = Table::new(["PROCESS", "ROLES", "STATE", "VERSION", "STARTED", "LAST HEARD"]);
    let ago = |at: Option<prost_types::Timestamp>| {
        at.map_or_else(String::new, |at| time::ago(now_ms, at.seconds))
    };
    for process in processes {
        let roles: Vec<&str> = process.roles.iter().map(|role| role.name.as_str()).collect();
        table.row([
            process.process_id.clone(),
            roles.join(","),
            state(process),
            process.version.clone(),
            ago(process.start_time),
            ago(process.last_heard_time),
        ]);
    }
    table.text()
}

/// One word, or what its roles wait for.
pub(super) fn state(process: &Process) -> String {
    if process.liveness() == Liveness::Silent {
        return "SILENT".to_owned();
    }
    if process.draining {
        return "DRAINING".to_owned();
    }
    let waits = process.roles.iter().filter(|role| !role.ready);
    let waits: Vec<String> = waits.map(|role| format!("{} {}", role.name, role.reason)).collect();
    match waits.is_empty() {
        true => "READY".to_owned(),
        false => format!("NOT READY: {}", waits.join("; ")),
    }
}

fn services(status: &GetStatusResponse) -> String {
    let mut table = Table::new(["SERVICE", "STATE", "ANSWER"]);
    let services = [("bus", &status.bus), ("records", &status.records), ("ledger", &status.ledger)];
    for (name, service) in services {
        let (state, answer) = service.as_ref().map_or_else(Default::default, said);
        table.row([name.to_owned(), state, answer]);
    }
    table.text()
}

fn said(service: &Service) -> (String, String) {
    let micros = service.answer_micros;
    match service.reachable {
        true => ("REACHABLE".to_owned(), format!("{}.{} ms", micros / 1000, micros % 1000 / 100)),
        false => (format!("AWAY: {}", service.error), String::new()),
    }
}

fn view(view: &View, now_ms: u64) -> String {
    if !view.ready {
        return "the fleet is still being read".to_owned();
    }
    let lag = match view.behind {
        None => "how far behind is unknown".to_owned(),
        Some(0) => "up to date".to_owned(),
        Some(behind) => format!("{behind} events behind"),
    };
    match view.last_event_time {
        Some(at) => format!("{lag}, last event {}", time::ago(now_ms, at.seconds)),
        None => lag,
    }
}

fn offers(offers: &Offers) -> String {
    let held = match &offers.hold {
        Some(hold) if hold.reason.is_empty() => "HELD (muster resume lets them go on), ".to_owned(),
        Some(hold) => format!("HELD: {} (muster resume lets them go on), ", hold.reason),
        None => String::new(),
    };
    let mut text = format!("{held}{} in flight", offers.in_flight);
    for found in &offers.assignments {
        let progress = found.progress.unwrap_or_default();
        let assignment::Progress { agents, applied, failed, waiting, .. } = progress;
        let state = progress.state().as_str_name();
        text += &format!(
            "\n         {} {state}: {applied} of {agents} applied, {failed} failed, \
             {waiting} waiting",
            names::short(&found.name),
        );
    }
    text
}

fn agents(counts: &AgentCounts) -> String {
    let AgentCounts { total, connected, unhealthy, config_pending, config_failed } = counts;
    format!(
        "{total}: {connected} connected, {unhealthy} unhealthy, config pending on \
         {config_pending}, failed on {config_failed}"
    )
}

#[cfg(test)]
mod tests;
