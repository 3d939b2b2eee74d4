//! `muster agents trace`, as it is typed.

use serde_json::Value;

use crate::process::{LIMIT, Server, signal, stderr, wait};

#[test]
fn a_trace_shows_what_was_said_and_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let server =
        Server::start(&["demo", "--agents", "1", "--data-dir", data.path().to_str().unwrap()]);
    server.wait_ready();
    let agents = wait("an agent", || {
        let agents = server.agents();
        if agents.is_empty() { Err("none") } else { Ok(agents) }
    });
    let uid = agents[0]["instance_uid"].as_str().unwrap();

    let text = server.ok(&["agents", "trace", uid, "--no-follow"]);
    for part in ["connected from 127.0.0.1", "agent ──▶  full state #0", "service.name: otelcol"]
    {
        assert!(text.contains(part), "{text}");
    }
    let out = server.ok(&["agents", "trace", uid, "--no-follow", "--direction", "out"]);
    assert!(out.contains("agent ◀──  acknowledgement") && !out.contains("full state"), "{out}");

    let (mut trace, lines) =
        server.following(&["agents", "trace", uid, "--last", "0", "-o", "json"]);
    let next = |what: &str| -> Value {
        serde_json::from_str(&lines.recv_timeout(LIMIT).expect(what)).expect("an object per line")
    };
    assert_eq!(next("it follows")["notice"]["kind"], "FOLLOWING");
    let file = data.path().join("c.yaml");
    std::fs::write(&file, "receivers: {}\n").unwrap();
    server.ok(&["config", "apply", "collector", "-f", file.to_str().unwrap()]);
    server.ok(&["assign", "set", "all", "-l", "", "--config", "collector", "--yes"]);
    // Heartbeats may come between.
    let is_offer = |entry: &Value| !entry["message"]["remote_config"].is_null();
    let offer = (0..20).map(|_| next("an offer")).find(is_offer).expect("soon");
    assert_eq!(offer["summary"], "offer collector@1");
    let body = offer["message"]["remote_config"]["files"][""]["body"].as_str().unwrap();
    assert!(body.starts_with("[14 bytes, sha256 "), "{body}");
    signal(&trace, "INT");
    let ended = wait("end", || trace.try_wait().unwrap().ok_or("still running"));
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn what_cannot_be_traced_is_said_with_a_code() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::serve(data.path());
    server.wait_ready();
    let unknown = "018bcfe5-6800-7007-8707-070707070707";
    for (line, code) in [
        (&["agents", "trace", unknown][..], 3),
        (&["agents", "trace", unknown, "--no-follow", "--last", "0"], 2),
        (&["agents", "trace", unknown, "--last", "1001"], 2),
        (&["agents", "trace", "nobody"], 2),
        (&["agents", "trace", unknown, "-o", "name"], 2),
    ] {
        let output = server.client(line);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {}", stderr(&output));
    }
}
