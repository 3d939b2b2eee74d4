//! Where settings come from, and what is refused.

use crate::process::{muster, run, stderr, stdout};

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "fleet = \"of.file\"\n").unwrap();
    let said = |variable: Option<&str>, flags: &[&str]| {
        let mut command = muster(["serve"]);
        command.args(flags).env("MUSTER_CONFIG", file.path());
        if let Some(fleet) = variable {
            command.env("MUSTER_FLEET", fleet);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    // Each source holds a name that is refused, so that the refusal tells which one won.
    assert!(said(None, &[]).contains("of.file"));
    assert!(said(Some("of.env"), &[]).contains("of.env"));
    assert!(said(Some("of.env"), &["--fleet", "of.flag"]).contains("of.flag"));
}

#[test]
fn an_unknown_key_of_the_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "opamp_port = 4320\n").unwrap();
    let path = file.path().to_str().unwrap();
    let output = run(["serve", "--config", path]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("`opamp_port`") && said.contains(path), "{said}");
}

#[test]
fn strangers_are_not_let_in_by_accident() {
    for flag in ["--opamp-listen", "--control-listen", "--ops-listen"] {
        let output = run(["serve", flag, "0.0.0.0:0"]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains(flag) && said.contains("--insecure-listen"), "{said}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    for line in [
        &["serve", "--role", "gateway"][..],
        &["serve", "--role", "everything"],
        &["agents", "get", "not-a-uid"],
        &["agents", "list", "--server", "http://h:1", "--ca-file", "ca.pem"],
        &["config", "apply", "collector"],
        &["agents"],
    ] {
        assert_eq!(run(line).status.code(), Some(2), "{line:?}");
    }
    assert_eq!(run(["--version"]).status.code(), Some(0));
}

#[test]
fn a_check_shows_each_setting_with_its_source_and_no_secret() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "log = \"json\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let mut command = muster(["config-check", "--config", path, "--role", "gateway"]);
    command.env("MUSTER_BUS", "nats://muster:hunter2@nats:4222");
    command.env("MUSTER_OPAMP_LISTN", "127.0.0.1:1");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    for (key, value, source) in [
        ("role", "gateway", "flag --role".to_owned()),
        ("bus", "nats://muster:***@nats:4222", "environment MUSTER_BUS".to_owned()),
        ("log", "json", format!("file {path}")),
        ("fleet", "muster", "default".to_owned()),
    ] {
        let line = said.lines().find(|line| line.split(' ').next() == Some(key)).expect(key);
        let cells: Vec<_> = line.split("   ").map(str::trim).filter(|it| !it.is_empty()).collect();
        assert_eq!(cells, [key, value, &source]);
    }
    let warned = stderr(&output);
    assert!(warned.contains("MUSTER_OPAMP_LISTN is not read by anything; MUSTER_OPAMP_LISTEN is"));
    assert!(!(said + &warned).contains("hunter2"));
}

#[test]
fn a_check_ends_with_2_where_the_server_would_not_start() {
    let output = run(["config-check", "--role", "gateway", "-o", "json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(2), String::new()));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["valid"], false);
    assert!(said["problems"][0].as_str().unwrap().contains("--bus"), "{said}");

    let output = run(["config-check", "--config", "no-such-file.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: config (flag --config): reading no-such-file"));
    assert!(stdout(&output).contains("opamp_listen"), "the rest is shown all the same");
}
