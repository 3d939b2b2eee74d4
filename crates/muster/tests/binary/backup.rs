//! What operators decided, saved from a ledger that is lost.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::process::{Server, muster, run, stderr, stdout, wait};

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output) + &stderr(&output)
}

fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = run(arguments);
    assert!(!status.success(), "{arguments:?}");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Waits until every agent has applied a revision.
fn applied(server: &Server, revision: &str) {
    wait("applied", || {
        let agents = server.agents();
        let has = |agent: &&Value| {
            agent["config"]["offered"] == revision && agent["config"]["status"] == "APPLIED"
        };
        match agents.iter().filter(has).count() {
            found if found == agents.len() && found > 0 => Ok(()),
            found => Err(format!("{found} of {} have {revision}", agents.len())),
        }
    });
}

fn demo(data: &str) -> Server {
    let server = Server::start(&["demo", "--agents", "3", "--data-dir", data]);
    server.wait_ready();
    wait("three agents", || match server.agents().len() {
        3 => Ok(()),
        other => Err(other),
    });
    server
}

fn stop(server: Server) {
    server.signal("TERM");
    server.ended();
}

fn set(server: &Server, dir: &Path, text: &str) {
    let body = file(dir, "body.yaml", text);
    server.ok(&["config", "apply", "c", "-f", &body]);
    server.ok(&["assign", "set", "all", "-l", "", "--config", "c", "--yes"]);
}

#[test]
fn an_embedded_ledger_is_saved_and_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (path(dir.path(), "data"), path(dir.path(), "a.backup"));
    let server = demo(&data);
    set(&server, dir.path(), "receivers: {}\n");
    applied(&server, "c@1");
    let (code, said) = refused(&["backup", "--data-dir", &data, &backup]);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(code == Some(1) && !PathBuf::from(&backup).exists());
    stop(server);

    let said = ok(&["backup", "--data-dir", &data, &backup]);
    let counts = "1 configs with 1 revisions, 0 connection settings, 0 versions of packages, 1 \
                  assignments";
    assert!(said.contains(counts), "{said}");
    let said = ok(&["restore", &backup, "--dry-run", "-o", "json"]);
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&shown["configs"], &shown["held"]), (&1.into(), &false.into()));

    // Nobody's data directory: the fleet starts over, with what was decided.
    let empty = path(dir.path(), "empty");
    ok(&["restore", &backup, "--data-dir", &empty]);
    let server = demo(&empty);
    assert_eq!(server.ok(&["config", "get", "c@1"]), "receivers: {}\n");
    applied(&server, "c@1");
    set(&server, dir.path(), "receivers: {a: {}}\n");
    applied(&server, "c@2");
    stop(server);
    let (code, said) = refused(&["restore", &backup, "--data-dir", &empty]);
    assert!(code == Some(2) && said.contains("the ledger is not empty (1 in configs"), "{said}");

    // Agents of this fleet know of a newer decision: nothing moves before somebody has looked.
    let said = ok(&["restore", &backup, "--data-dir", &empty, "--replace"]);
    assert!(said.contains("offers are on hold"), "{said}");
    let server = demo(&empty);
    let status: Value = serde_json::from_str(&server.ok(&["status", "-o", "json"])).unwrap();
    let reason = status["offers"]["hold"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("restored a backup of 2"), "{reason}");
    server.ok(&["resume"]);
    applied(&server, "c@1");
}

#[test]
fn a_damaged_file_changes_nothing_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (path(dir.path(), "data"), path(dir.path(), "a.backup"));
    let (code, said) = refused(&["backup", "--data-dir", &data, &backup]);
    assert!(code == Some(2) && said.contains("there is no muster.redb in"), "{said}");
    stop(Server::serve(Path::new(&data)));
    ok(&["backup", "--data-dir", &data, &backup]);
    let whole = std::fs::read(&backup).unwrap();
    for (bytes, reason) in [
        (&whole[..whole.len() - 3], "the file ends too early"),
        (&b"something else"[..], "this is not a backup of muster"),
    ] {
        std::fs::write(&backup, bytes).unwrap();
        let untouched = path(dir.path(), "untouched");
        let (code, said) = refused(&["restore", &backup, "--data-dir", &untouched]);
        assert!(said.contains(reason) && said.contains("a.backup"), "{said}");
        assert!(code == Some(1) && !PathBuf::from(untouched).exists());
    }
}

/// A cluster whose ledger is lost while everything else lives.
#[test]
fn a_lost_redis_is_put_back_under_a_running_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let backup = path(dir.path(), "a.backup");
    let nats = services::Server::nats().unwrap();
    let (records, ledger) =
        (services::Server::redis().unwrap(), services::Server::redis().unwrap());
    let bus = nats.url();
    let stores = ["--store".to_owned(), records.url(), "--ledger".to_owned(), ledger.url()];
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let cluster = [&["demo", "--agents", "3", "--bus", &bus][..], &stores].concat();
    let server = Server::start(&cluster);
    server.wait_ready();
    set(&server, dir.path(), "receivers: {}\n");
    applied(&server, "c@1");
    ok(&["backup", "--ledger", stores[3], &backup]);
    set(&server, dir.path(), "receivers: {a: {}}\n");
    applied(&server, "c@2");

    ledger.command(&["FLUSHALL"]).unwrap();
    wait("empty", || match server.ok(&["config", "list", "-o", "name"]) {
        none if none.is_empty() => Ok(()),
        there => Err(there),
    });
    let (code, said) = refused(&["restore", &backup, "--ledger", stores[3]]);
    assert!(code == Some(2) && said.contains("--store is missing"), "{said}");
    let line = [&["restore", &backup][..], &stores].concat();
    let said = ok(&line);
    assert!(said.contains("offers are on hold"), "{said}");
    // Nobody lost a config, and nobody was given another one.
    applied(&server, "c@2");
    server.ok(&["resume"]);
    applied(&server, "c@1");
    // What is decided from now on counts.
    set(&server, dir.path(), "receivers: {b: {}}\n");
    applied(&server, "c@2");
    let said = ok(&[&["backup", "-o", "json"][..], &stores, &[backup.as_str()]].concat());
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(shown["revisions"], 2);
    assert!(!shown["held"].as_bool().unwrap());
}

#[test]
fn only_its_owner_may_read_a_backup() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    stop(Server::serve(&data));
    let mut command = muster(["backup", "--data-dir", data.to_str().unwrap(), "b"]);
    assert!(command.current_dir(dir.path()).status().unwrap().success());
    let mode = std::fs::metadata(dir.path().join("b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
