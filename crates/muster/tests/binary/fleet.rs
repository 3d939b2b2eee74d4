//! The whole of it: agents that connect, a config that reaches them, and what survives a crash.

use std::path::Path;

use serde_json::Value;

use crate::process::{Server, stderr, stdout};

fn write_config(dir: &Path, body: &str) -> String {
    let path = dir.join("collector.yaml");
    std::fs::write(&path, body).unwrap();
    path.display().to_string()
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
