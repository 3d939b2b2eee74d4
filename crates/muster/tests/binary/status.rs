//! `muster status` on a real cluster: who is there, and who is not any more.

use serde_json::Value;

use crate::process::{Server, wait};

fn status(control: &Server) -> Value {
    serde_json::from_str(&control.ok(&["status", "-o", "json"])).unwrap()
}

fn states(status: &Value) -> Vec<(String, String)> {
    let process = |process: &Value| {
        let role = process["roles"][0]["name"].as_str().unwrap().to_owned();
        (role, process["state"].as_str().unwrap().to_owned())
    };
    let mut states: Vec<_> = status["processes"].as_array().unwrap().iter().map(process).collect();
    // Two of a role are in order of their random ids.
    states.sort();
    states
}

/// Waits until control sees these processes, each by its first role and its state.
fn sees(control: &Server, want: &[(&str, &str)]) -> Value {
    wait("seen", || {
        let status = status(control);
        let states = states(&status);
        let seen: Vec<_> = states.iter().map(|(role, state)| (&role[..], &state[..])).collect();
        if seen == want { Ok(status) } else { Err(format!("{states:?}")) }
    })
}

#[test]
fn who_is_killed_falls_silent_and_who_ends_is_gone() {
    let nats = services::Server::nats().unwrap();
    let redis = services::Server::redis().unwrap();
    let (bus, store) = (nats.url(), redis.url());
    let role = |name: &str, more: &[&str]| {
        let line = ["serve", "--role", name, "--bus", &bus, "--log-level", "error"];
        let server = Server::start(&[&line[..], more].concat());
        server.wait_ready();
        server
    };
    let stores = ["--store", &store, "--ledger", &store];
    let control = role("control", &stores);
    let worker = role("fleet-state", &stores);
    let gateway = role("gateway", &["--gateway-id", "north"]);
    let all = [("control", "READY"), ("fleet-state", "READY"), ("gateway", "READY")];
    let seen = sees(&control, &all);
    assert_eq!(seen["gateways"][0]["id"], "north");
    assert_eq!(seen["gateways"][0]["address"], gateway.opamp);
    assert_eq!(seen["gateways"][0]["version"], seen["processes"][0]["version"]);
    for service in ["bus", "records", "ledger"] {
        assert_eq!(seen["services"][service]["reachable"], true, "{service}");
    }
    assert_eq!((&seen["view"]["ready"], &seen["view"]["behind"]), (&true.into(), &0.into()));
    assert_eq!(control.ok(&["gateways", "list", "-o", "name"]), "north\n");

    gateway.signal("KILL");
    gateway.ended();
    worker.signal("TERM");
    worker.ended();
    sees(&control, &[("control", "READY"), ("gateway", "SILENT")]);
    // It gave its last sign of life as a gateway after its last word as a process.
    wait("silent", || {
        let listed = control.ok(&["gateways", "list"]);
        let silent = listed.contains("north") && listed.contains("SILENT");
        if silent { Ok(()) } else { Err(listed) }
    });

    let gateway = role("gateway", &["--gateway-id", "south"]);
    sees(&control, &[("control", "READY"), ("gateway", "READY"), ("gateway", "SILENT")]);
    gateway.signal("TERM");
    gateway.ended();
    sees(&control, &[("control", "READY"), ("gateway", "SILENT")]);
}

#[test]
fn one_process_shows_all_its_roles() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::serve(data.path());
    server.wait_ready();
    let seen = sees(&server, &[("fleet-state", "READY")]);
    assert_eq!(seen["processes"][0]["roles"].as_array().unwrap().len(), 3);
    let page = server.ok(&["status"]);
    assert!(page.contains("fleet-state,control,gateway   READY"), "{page}");
    assert!(page.contains("view     up to date") && page.contains("agents   0: 0 conn"), "{page}");
}
