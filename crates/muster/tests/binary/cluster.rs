//! Roles in processes of their own, on a real NATS and real Redis.

use std::process::Command;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use opamp::Message as _;
use opamp::v1::{AgentDescription, AgentToServer};
use serde_json::Value;

use crate::process::{LIMIT, Server, run, signal, stderr};

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
    std::fs::write(file.path(), "receivers: {}").unwrap();
    std::fs::write(file.path(), "receivers: {}").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(control.ok(&["config", "apply", "c", "-f", path]), "c@1\n");

    for process in [gateway, control, worker] {
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0));
    }
}

/// One poll of a new agent, answered.
pub(crate) fn poll(gateway: &Server, uid: [u8; 16]) {
    let report = AgentToServer {
        instance_uid: uid.to_vec(),
        agent_description: Some(AgentDescription::default()),
        capabilities: 1,
        ..Default::default()
    };
    let body = report.encode_to_vec();
    let address = gateway.opamp.strip_prefix("ws://").unwrap();
    let (address, path) = address.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_watch_goes_on_at_another_control() {
    let nats = services::Server::nats().unwrap();
    let redis = services::Server::redis().unwrap();
    let (bus, store) = (nats.url(), redis.url());
    let role = |name: &str| {
        let stores = ["--store", &store, "--ledger", &store];
        let line = ["serve", "--role", name, "--bus", &bus, "--log-level", "error"];
        let stores = if name == "gateway" { &[][..] } else { &stores[..] };
        let server = Server::start(&[&line[..], stores].concat());
        server.wait_ready();
        server
    };
    let (_worker, gateway, first) = (role("fleet-state"), role("gateway"), role("control"));
    poll(&gateway, [1; 16]);
    let watched = |control: &Server, from: &str, change: &str, uid: u8| {
        let line = ["agents", "watch", "-o", "json", "--from", from];
        let (mut watch, lines) = control.following(&line);
        let uid = format!("{uid:02x}");
        let position = loop {
            let line = lines.recv_timeout(LIMIT).expect("a change in time");
            let said: Value = serde_json::from_str(&line).unwrap();
            assert!(from.is_empty() || said["change"] == change, "nothing comes before: {said}");
            let whose = said["agent"]["instance_uid"].as_str().unwrap_or_default();
            if said["change"] == change && whose.starts_with(&uid) | whose.is_empty() {
                break said["position"].as_str().unwrap().to_owned();
            }
        };
        signal(&watch, "INT");
        assert_eq!(watch.wait().unwrap().code(), Some(0));
        position
    };
    let position = watched(&first, "", "SNAPSHOT_COMPLETE", 0);
    first.signal("KILL");
    first.ended();
    poll(&gateway, [2; 16]);
    poll(&gateway, [3; 16]);
    let second = role("control");
    let position = watched(&second, &position, "ADDED", 2);
    watched(&second, &position, "ADDED", 3);
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
