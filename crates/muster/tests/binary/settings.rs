//! Where settings come from, and what is refused.

use crate::process::{muster, run, stderr};

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
        &["agents", "list", "--server", "https://h:1"],
        &["config", "apply", "collector"],
        &["agents"],
    ] {
        assert_eq!(run(line).status.code(), Some(2), "{line:?}");
    }
    assert_eq!(run(["--version"]).status.code(), Some(0));
}
