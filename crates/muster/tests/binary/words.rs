//! Words of agents' own, by the command line, with the demo's agents.

use serde_json::Value;

use crate::process::{LIMIT, Server, signal, stderr, stdout, wait};

const ECHO: &str = "org.example.echo";

fn demo() -> (tempfile::TempDir, Server, Vec<String>) {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let server = Server::start(&["demo", "--agents", "3", "--data-dir", dir]);
    server.wait_ready();
    let list = ["agents", "list", "--custom-capability", ECHO, "--status", "connected"];
    let uids = wait("three that can be told something", || {
        let said = server.ok(&[&list[..], &["-o", "name"]].concat());
        let uids: Vec<String> = said.lines().map(str::to_owned).collect();
        if uids.len() == 3 { Ok(uids) } else { Err(said) }
    });
    (data, server, uids)
}

#[test]
fn a_ping_is_answered_and_everybody_may_listen() {
    let (_data, server, uids) = demo();
    let listen = ["custom", "watch", "--capability", ECHO, "--type", "pong"];
    let (mut watch, lines) = server.following(&listen);
    let heading = lines.recv_timeout(LIMIT).unwrap();
    assert!(heading.contains("CAPABILITY"), "{heading}");

    let ping = ["custom", "send", "--capability", ECHO, "--type", "ping"];
    let wanted = ["--reply-type", "pong", "--wait"];
    let data = ["-d", r#"{"id": 7}"#, "--reply-key", "id"];
    let said = server.ok(&[&ping[..], &[&uids[0]], &wanted, &data].concat());
    assert!(said.contains("1 CONFIRMED") && said.contains(r#"{"id": 7}"#), "{said}");
    let line = lines.recv_timeout(LIMIT).unwrap();
    assert!(line.contains(&uids[0]) && line.ends_with(r#"{"id": 7}"#), "{line}");
    let said = server.ok(&[&ping[..], &[&uids[1]], &wanted, &["-d", "hi", "-o", "json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["targets"][0]["reply"]["data"], "hi");
    let said = server.ok(&[&ping[..], &["-l", "*", "--yes"], &wanted].concat());
    assert!(said.contains("3 CONFIRMED"), "{said}");

    signal(&watch, "INT");
    let ended = wait("end", || watch.try_wait().unwrap().ok_or("still running"));
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let (_data, server, uids) = demo();
    let other = "org.example.other";
    let refused = |line: &[&str], code, says: &str| {
        let output = server.client(&[&["custom", "send"], line].concat());
        assert_eq!(output.status.code(), Some(code), "{line:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{line:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    };
    let to = |capability| [&uids[0], "--capability", capability, "--type", "ping"];
    refused(&to(other), 1, other);
    refused(&to("a b"), 2, "capability");
    let keyed = ["--reply-type", "pong", "--reply-key", "id", "-d", "no object"];
    refused(&[&to(ECHO)[..], &keyed].concat(), 2, "reply.key");
    let listed = server.ok(&["commands", "list", "-o", "json"]);
    assert_eq!(listed.trim(), "[]", "nothing came of it");
}
