//! What lists ask for and print.

use clap::Parser as _;

use super::super::tests::collector;
use super::*;

#[derive(Debug, clap::Parser)]
struct Front {
    #[command(flatten)]
    list: Args,
}

fn args(flags: &[&str]) -> Args {
    Front::try_parse_from(std::iter::once("list").chain(flags.iter().copied())).unwrap().list
}

#[test]
fn the_table_says_who_where_and_how() {
    let now = 1_700_000_012_000;
    let text = table(&[collector(), Agent::default()], &args(&[]), now);
    let words = |line: &str| line.split("   ").map(str::trim).map(str::to_owned).collect();
    let lines: Vec<Vec<String>> = text.lines().map(words).collect();
    let lines: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        lines[0],
        ["INSTANCE UID", "NAME", "VERSION", "STATUS", "HEALTH", "CONFIG", "LAST SEEN"]
    );
    assert_eq!(
        lines[1],
        [
            "018bcfe5-6800-7007-8707-070707070707",
            "otelcol",
            "1.2.3",
            "CONNECTED",
            "healthy",
            "collector@3 APPLIED",
            "12s ago"
        ]
    );
    assert_eq!(lines[2], ["-", "-", "-", "UNKNOWN", "-", "-", "-"]);
}

#[test]
fn columns_are_those_asked_for() {
    let flags = ["--columns", "name,label:env,attr:cpus,config-status", "--no-headers"];
    let text = table(&[collector()], &args(&flags), 0);
    assert_eq!(text, "otelcol   prod   8   APPLIED\n");
    let text = table(&[], &args(&["--columns", "label:env,last-seen"]), 0);
    assert_eq!(text, "ENV   LAST SEEN\n");
}

#[test]
fn the_server_is_asked_to_sort_and_filter() {
    let flags = ["--sort", "last-seen:desc,label:zone", "--status", "connected"];
    let request = args(
        &[&flags[..], &["--config-status", "failed", "--custom-capability", "a.b.c"]].concat(),
    )
    .request();
    assert_eq!(request.order_by, "last_seen_time desc, labels.zone");
    assert_eq!(request.status(), ConnectionStatus::Connected);
    assert_eq!(request.config_status(), ConfigStatus::Failed);
    assert_eq!(request.custom_capability, "a.b.c");
    assert_eq!(args(&[]).request(), ListAgentsRequest::default());
}

#[test]
fn the_summary_counts_what_is_shown_and_what_there_is() {
    let listed = |shown: usize, total| Listed { agents: vec![Agent::default(); shown], total };
    assert_eq!(listed(1, 1).summary(), "1 agent");
    assert_eq!(listed(0, 0).summary(), "0 agents");
    assert_eq!(listed(2, 90).summary(), "2 of 90 agents");
}
