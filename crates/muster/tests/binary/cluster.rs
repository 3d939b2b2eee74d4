//! Roles in processes of their own, on a real NATS and real Redis.

use std::process::Command;

use crate::process::{Server, run, stderr};

#[test]
fn roles_of_a_cluster_work_together() {
    let nats = services::Server::nats().unwrap();
    let (records, ledger) =
        (services::Server::redis().unwrap(), services::Server::redis().unwrap());
    let (bus, records, ledger) = (nats.url(), records.url(), ledger.url());
    let role = |name: &str| {
        let mut line = vec!["serve", "--role", name, "--bus", &bus, "--log", "json"];
        if name != "gateway" {
            line.extend(["--store", &records, "--ledger", &ledger]);
        }
        Server::start(&line)
    };
    let (worker, control, gateway) = (role("fleet-state"), role("control"), role("gateway"));
    assert_eq!((worker.opamp.as_str(), worker.control.as_str()), ("", ""));
    assert!(gateway.opamp.starts_with("ws://") && gateway.control.is_empty());
    for process in [&worker, &control, &gateway] {
        process.wait_ready();
    }
    assert!(control.agents().is_empty());
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(control.ok(&["config", "apply", "c", "-f", path]), "c@1\n");

    for process in [gateway, control, worker] {
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0));
    }
}

#[test]
fn an_evicting_ledger_is_refused() {
    let nats = services::Server::nats().unwrap();
    let redis = services::Server::redis().unwrap();
    let port = redis.url().rsplit_once(':').unwrap().1.to_owned();
    let program = services::find("redis-cli").expect("comes with redis-server");
    let set = ["-p", &port, "config", "set", "maxmemory-policy", "allkeys-lru"];
    assert!(Command::new(program).args(set).status().unwrap().success());

    let output = run([
        "serve",
        "--role",
        "control",
        "--bus",
        &nats.url(),
        "--store",
        &redis.url(),
        "--control-listen",
        "127.0.0.1:0",
        "--ops-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("allkeys-lru"), "{said}");
    assert!(said.contains("--allow-evicting-ledger"), "{said}");
    assert!(said.contains("no --ledger"), "warns of the shared Redis: {said}");
}
