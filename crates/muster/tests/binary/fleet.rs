//! The whole of it: agents that connect, a config that reaches them, and what survives a crash.

use std::path::Path;

use serde_json::Value;

use crate::process::{LIMIT, Server, signal, stderr, stdout, wait};

const AGENTS: usize = 5;

fn demo(data: &Path) -> Server {
    let data = data.to_str().unwrap();
    let server = Server::start(&["demo", "--agents", "5", "--data-dir", data]);
    server.wait_ready();
    server
}

fn wait_for_agents(server: &Server, what: &str, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
    wait(what, || {
        let agents = server.agents();
        let count = agents.iter().filter(|agent| holds(agent)).count();
        if count == AGENTS {
            return Ok(agents);
        }
        Err(format!("{count} of {AGENTS} in {agents:#?}"))
    })
}

fn connected(agent: &Value) -> bool {
    agent["status"] == "CONNECTED"
}

fn applied(agent: &Value, config: &str) -> bool {
    agent["config"]["status"] == "APPLIED" && agent["config"]["offered"] == config
}

fn write_config(dir: &Path, body: &str) -> String {
    let path = dir.join("collector.yaml");
    std::fs::write(&path, body).unwrap();
    path.display().to_string()
}

#[test]
fn an_assigned_config_reaches_every_agent_and_survives_a_crash() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = demo(data.path());
    let agents = wait_for_agents(&server, "connected", connected);

    let file = write_config(files.path(), "receivers: {}\n");
    let apply = ["config", "apply", "collector", "-f", &file];
    assert_eq!(server.ok(&apply), "collector@1\n");
    assert_eq!(server.ok(&apply), "collector@1\n", "the same content adds nothing");
    let said = server.ok(&["assign", "set", "all", "-l", "", "--config", "collector"]);
    assert!(said.contains("matched 5") && said.contains("collector@1"), "{said}");
    wait_for_agents(&server, "applied", |agent| applied(agent, "collector@1"));

    let uid = agents[0]["instance_uid"].as_str().unwrap();
    let agent: Value =
        serde_json::from_str(&server.ok(&["agents", "get", uid, "-o", "json"])).unwrap();
    let effective = agent["report"]["effective_config"].to_string();
    assert!(effective.contains("receivers"), "runs it for real: {effective}");

    server.signal("KILL");
    server.ended();
    // Without agents first: what is known now was stored.
    let server = Server::serve(data.path());
    server.wait_ready();
    let configs = server.ok(&["config", "list"]);
    assert!(configs.contains("collector@1"), "{configs}");
    let assignments = server.ok(&["assign", "list"]);
    assert!(assignments.contains("collector@1"), "{assignments}");
    wait_for_agents(&server, "known", |known| {
        let same = |agent: &Value| agent["instance_uid"] == known["instance_uid"];
        agents.iter().any(same) && applied(known, "collector@1")
    });
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));

    let server = demo(data.path());
    wait_for_agents(&server, "back", |agent| connected(agent) && applied(agent, "collector@1"));
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_watch_shows_what_happens_until_it_is_interrupted() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = demo(data.path());
    let agents = wait_for_agents(&server, "connected", connected);
    let uid = &agents[0]["instance_uid"];
    let (mut watch, lines) = server.following(&["agents", "watch", "-o", "json"]);
    let until = |what: &str, holds: &dyn Fn(&Value) -> bool| loop {
        let line = lines.recv_timeout(LIMIT).expect(what);
        let value: Value = serde_json::from_str(&line).expect("an object per line");
        if holds(&value) {
            break;
        }
    };
    until("it is there", &|said| said["agent"]["instance_uid"] == *uid);
    until("all are", &|said| said["change"] == "SNAPSHOT_COMPLETE");
    let file = write_config(files.path(), "receivers: {}\n");
    server.ok(&["config", "apply", "collector", "-f", &file]);
    server.ok(&["assign", "set", "all", "-l", "", "--config", "collector"]);
    until("its config is applied", &|said| {
        let agent = &said["agent"];
        said["change"] == "MODIFIED"
            && agent["instance_uid"] == *uid
            && applied(agent, "collector@1")
            && said["events"].as_array().unwrap().contains(&"CONFIG_STATUS_CHANGED".into())
    });
    signal(&watch, "INT");
    let ended = wait("end", || watch.try_wait().unwrap().ok_or("still running"));
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn what_does_not_exist_is_not_found() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::serve(data.path());
    server.wait_ready();
    for line in [
        &["agents", "get", "018bcfe5-6800-7007-8707-070707070707"][..],
        &["config", "get", "nothing"],
        &["config", "get", "nothing@1"],
        &["assign", "remove", "nothing"],
        &["assign", "set", "a", "-l", "x=y", "--config", "nothing"],
    ] {
        let output = server.client(line);
        assert_eq!(output.status.code(), Some(3), "{line:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    let output = server.client(&["agents", "list", "-l", "a in ("]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn configs_and_assignments_are_kept_and_shown() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::serve(data.path());
    server.wait_ready();
    let first = write_config(files.path(), "a: 1\n");
    assert_eq!(server.ok(&["config", "apply", "c", "-f", &first]), "c@1\n");
    let second = write_config(files.path(), "a: 2\n");
    assert_eq!(server.ok(&["config", "apply", "c", "-f", &second]), "c@2\n");
    assert_eq!(server.ok(&["config", "get", "c@1"]), "a: 1\n");
    let shown = server.ok(&["config", "get", "c"]);
    assert!(shown.contains("c@1") && shown.contains("c@2"), "{shown}");

    server.ok(&["assign", "set", "old", "-l", "env=prod", "--config", "c@1", "--priority", "-3"]);
    let list: Value = serde_json::from_str(&server.ok(&["assign", "list", "-o", "json"])).unwrap();
    assert_eq!(list[0]["name"], "old");
    assert_eq!(list[0]["config"], "c@1");
    assert_eq!(list[0]["priority"], -3);
    server.ok(&["assign", "remove", "old"]);
    assert_eq!(server.ok(&["assign", "list", "-o", "json"]).trim(), "[]");
}

#[test]
fn a_diff_ends_as_its_sides_compare() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::serve(data.path());
    server.wait_ready();
    let file = write_config(files.path(), "a: 1\n");
    server.ok(&["config", "apply", "c", "-f", &file]);
    assert_eq!(server.ok(&["config", "diff", "c", "-f", &file]), "");
    write_config(files.path(), "a: 2\n");
    let output = server.client(&["config", "diff", "c", "-f", &file]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), String::new()));
    let said = stdout(&output);
    assert!(said.starts_with("--- c@1\n+++ ") && said.ends_with("\n-a: 1\n+a: 2\n"), "{said}");

    server.ok(&["config", "apply", "c", "-f", &file]);
    for line in [&["config", "diff", "c@1", "c@2"][..], &["config", "diff", "c@1"]] {
        let output = server.client(line);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), said.replace(&file, "c@2")));
    }
    let missing = server.client(&["config", "diff", "c@1", "c@9"]);
    assert_eq!(missing.status.code(), Some(3), "{}", stderr(&missing));
    let unread = server.client(&["config", "diff", "c", "-f", "no-such-file"]);
    assert_eq!(unread.status.code(), Some(2), "1 would say that they differ");
}

#[test]
fn lists_are_filtered_sorted_and_cut_by_the_server() {
    let data = tempfile::tempdir().unwrap();
    let server = demo(data.path());
    let agents = wait_for_agents(&server, "connected", connected);
    let mut uids: Vec<&str> =
        agents.iter().map(|agent| agent["instance_uid"].as_str().unwrap()).collect();
    uids.sort_unstable();
    uids.reverse();
    let said = server.ok(&["agents", "list", "-o", "name", "--sort", "uid:desc"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), uids);
    let said = server.ok(&["agents", "list", "-o", "name", "--sort", "uid:desc", "--limit", "2"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), uids[..2]);
    let columns = ["--columns", "uid,status", "--no-headers", "--limit", "1"];
    let said = server.ok(&[&["agents", "list"], &columns[..]].concat());
    assert_eq!(said, format!("{}   CONNECTED\n", uids[4]));
    assert_eq!(server.ok(&["agents", "list", "-o", "name", "--status", "disconnected"]), "");
    assert_eq!(server.ok(&["agents", "list", "-o", "name", "--config-status", "failed"]), "");
}
