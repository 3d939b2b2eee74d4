//! Every setting has a row that is true.

use clap::FromArgMatches as _;

use super::*;

fn check(list: &[&str]) -> Explained {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let matches = command.get_matches_from(std::iter::once("serve").chain(list.iter().copied()));
    explain(&matches, ServeArgs::from_arg_matches(&matches).unwrap())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn row<'a>(explained: &'a Explained, key: &str) -> &'a Row {
    explained.rows.iter().find(|row| row.key == key).expect(key)
}

#[test]
fn a_default_that_the_help_says_is_the_default() {
    let resolved = |list: &[&str]| {
        let command = ServeArgs::augment_args(Command::new("serve"));
        let words = std::iter::once("serve").chain(list.iter().copied());
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let args = ServeArgs::from_arg_matches(&matches).unwrap();
        args.resolve().map(|settings| format!("{settings:?}")).map_err(|error| error.to_string())
    };
    let untold = resolved(&[]).unwrap();
    let mut tried = 0;
    for arg in settings() {
        // Words, not a value that could be typed.
        let Some(said) = default(&arg).filter(|said| !said.contains(' ') && said != "random")
        else {
            continue;
        };
        let flag = format!("--{}={said}", arg.get_long().unwrap());
        assert_eq!(resolved(&[&flag]).as_ref(), Ok(&untold), "{flag} is not the default");
        tried += 1;
    }
    assert!(tried >= 9, "only {tried} settings say their default");
}

#[test]
fn each_value_has_the_source_that_won() {
    let file = file("fleet = \"north\"\nlog = \"json\"\nrole = [\"gateway\", \"control\"]\n");
    let path = file.path().to_str().unwrap();
    let explained = check(&["--config", path, "--fleet", "south"]);
    let said = |key| {
        let row = row(&explained, key);
        (row.value.clone().unwrap_or_default(), row.source.to_string())
    };
    assert_eq!(said("fleet"), ("south".to_owned(), "flag --fleet".to_owned()));
    assert_eq!(said("log"), ("json".to_owned(), format!("file {path}")));
    assert_eq!(said("role"), ("gateway,control".to_owned(), format!("file {path}")));
    assert_eq!(said("ops_listen"), ("127.0.0.1:4322".to_owned(), "default".to_owned()));
    assert_eq!(said("insecure_listen").0, "false");
    assert_eq!(row(&explained, "bus").value, None);
    assert!(explained.problems[0].contains("--bus"), "{:?}", explained.problems);
}

#[test]
fn every_key_of_the_file_is_a_flag_with_a_row() {
    // Serde lists the keys it knows when it meets another.
    let error = toml::from_str::<super::super::Layer>("none = 1").unwrap_err().to_string();
    let (_, keys) = error.split_once("expected one of ").expect("a list of keys");
    let explained = check(&[]);
    for key in keys.split('`').skip(1).step_by(2) {
        assert!(explained.rows.iter().any(|row| row.key == key), "{key} has no flag");
    }
    assert_eq!(explained.problems, [""; 0]);
}

#[test]
fn secrets_are_masked() {
    for (value, want) in [
        ("nats://h:4222", "nats://h:4222"),
        ("nats://user:pass@h:4222", "nats://user:***@h:4222"),
        ("nats://token@h", "nats://***@h"),
        ("redis://:p@ss@h/0", "redis://:***@h/0"),
        ("redis://u:p/ss@h/0", "redis://u:***@h/0"),
        ("nats://a:b@h,nats://c:d@i", "nats://a:***@h,nats://c:***@i"),
        ("nats://a:p,w@h", "nats://a:***@h"),
        ("info,gateway=debug", "info,gateway=debug"),
    ] {
        assert_eq!(masked(value, false), want);
    }
    assert_eq!(masked("hunter2", true), "***");
    let explained = check(&["--store", "redis://u:hunter2@h"]);
    assert_eq!(row(&explained, "store").value.as_deref(), Some("redis://u:***@h"));
}

#[test]
fn a_file_that_cannot_be_read_is_said_once() {
    let explained = check(&["--config", "no/such/file.toml"]);
    let [said] = &explained.problems[..] else { panic!("{:?}", explained.problems) };
    assert!(said.contains("no/such/file.toml") && said.contains("flag --config"), "{said}");
}

#[test]
fn each_file_of_a_list_is_looked_at() {
    let there = file(&"0a".repeat(32));
    let both = format!("{},no/such/key", there.path().display());
    let explained = check(&["--secrets-key", &both]);
    assert_eq!(row(&explained, "secrets_key").value.as_ref(), Some(&both));
    let [said] = &explained.problems[..] else { panic!("{:?}", explained.problems) };
    assert!(said.contains("reading no/such/key: "), "{said}");
    let bad = file("hunter2");
    let explained = check(&["--secrets-key", bad.path().to_str().unwrap()]);
    let [said] = &explained.problems[..] else { panic!("{:?}", explained.problems) };
    assert!(said.starts_with("--secrets-key ") && !said.contains("hunter2"), "{said}");
}

#[test]
fn what_the_file_gets_wrong_is_a_problem_and_the_rest_is_shown() {
    let file = file("fleet = \"north\"\nopamp_port = 1\n");
    let explained = check(&["--config", file.path().to_str().unwrap()]);
    assert!(explained.problems[0].contains("`opamp_port`"), "{:?}", explained.problems);
    assert_eq!(row(&explained, "fleet").value.as_deref(), Some("north"));
}

#[test]
fn settings_that_hold_secrets_are_hidden_in_help_and_masked() {
    for arg in settings() {
        let key = arg.get_id().as_str();
        let secret = ["password", "token", "secret"].iter().any(|word| key.ends_with(word));
        let url = ["bus", "store", "ledger"].contains(&key);
        assert!(!(secret || url) || arg.is_hide_env_values_set(), "{key}: hide_env_values = true");
    }
}
