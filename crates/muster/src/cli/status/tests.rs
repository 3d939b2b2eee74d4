//! What `muster status` prints.

use control::v1::get_status_response::Role;
use control::v1::{Assignment, Gateway, Hold};

use super::*;

const NOW: u64 = 1_700_000_060_000;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn process() -> Process {
    let role = |name: &str, reason: &str| Role {
        name: name.to_owned(),
        ready: reason.is_empty(),
        reason: reason.to_owned(),
    };
    Process {
        process_id: "muster-1".to_owned(),
        roles: vec![role("control", "still reads the fleet"), role("gateway", "")],
        version: "0.1.0".to_owned(),
        start_time: at(1_700_000_000),
        last_heard_time: at(1_700_000_058),
        liveness: Liveness::Alive.into(),
        draining: false,
    }
}

fn status() -> GetStatusResponse {
    let up = Service { reachable: true, error: String::new(), answer_micros: 1_234 };
    let away = Service { reachable: false, error: "no route".to_owned(), answer_micros: 9 };
    GetStatusResponse {
        processes: vec![process()],
        gateways: vec![Gateway {
            gateway_id: "gateway-1".to_owned(),
            sessions: 7,
            liveness: Liveness::Silent.into(),
            ..Default::default()
        }],
        bus: Some(up.clone()),
        records: Some(up),
        ledger: Some(away),
        view: Some(View { ready: true, behind: Some(3), last_event_time: at(1_700_000_050) }),
        agents: Some(AgentCounts { total: 9, connected: 8, ..Default::default() }),
        offers: Some(Offers {
            hold: Some(Hold { reason: "a bad day".to_owned(), ..Default::default() }),
            in_flight: 2,
            assignments: vec![Assignment {
                name: "assignments/all".to_owned(),
                progress: Some(assignment::Progress {
                    state: assignment::State::Stopped.into(),
                    agents: 9,
                    failed: 3,
                    ..Default::default()
                }),
                ..Default::default()
            }],
        }),
    }
}

#[test]
fn the_page_says_who_is_there_and_what_is_amiss() {
    let text = page(&status(), NOW);
    for line in [
        "muster-1   control,gateway   NOT READY: control still reads the fleet   0.1.0     60s ago",
        "gateway-1   7          SILENT",
        "bus       REACHABLE        1.2 ms",
        "ledger    AWAY: no route   -",
        "view     3 events behind, last event 10s ago",
        "agents   9: 8 connected, 0 unhealthy, config pending on 0, failed on 0",
        "offers   HELD: a bad day (muster resume lets them go on), 2 in flight",
        "         all STOPPED: 0 of 9 applied, 3 failed, 0 waiting",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_process_is_in_one_state() {
    let silent = Process { liveness: Liveness::Silent.into(), draining: true, ..process() };
    assert_eq!(state(&silent), "SILENT");
    assert_eq!(state(&Process { draining: true, ..process() }), "DRAINING");
    let ready = Process { roles: process().roles.split_off(1), ..process() };
    assert_eq!(state(&ready), "READY");
}

#[test]
fn json_has_the_same_facts() {
    let value = json::status(&status());
    for (pointer, want) in [
        ("/processes/0/id", "muster-1".into()),
        ("/processes/0/state", "NOT READY: control still reads the fleet".into()),
        ("/processes/0/roles/0/ready", false.into()),
        ("/processes/0/started", "2023-11-14T22:13:20Z".into()),
        ("/gateways/0/sessions", 7.into()),
        ("/gateways/0/state", "SILENT".into()),
        ("/services/bus/reachable", true.into()),
        ("/services/ledger/error", "no route".into()),
        ("/view/behind", 3.into()),
        ("/agents/connected", 8.into()),
        ("/offers/hold/reason", "a bad day".into()),
        ("/offers/in_flight", 2.into()),
        ("/offers/assignments/0/name", "all".into()),
    ] {
        assert_eq!(value.pointer(pointer), Some(&want), "{pointer} in {value:#}");
    }
}
