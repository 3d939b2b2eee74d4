//! Help that teaches: everything says what it is for, and what it shows can be typed.

use clap::{Command, CommandFactory as _, Parser as _};

use super::super::Cli;

/// Every command with the words that call it, but for those that clap adds.
fn commands() -> Vec<(String, Command)> {
    fn walk(path: &str, command: &Command, found: &mut Vec<(String, Command)>) {
        found.push((path.to_owned(), command.clone()));
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            walk(&format!("{path} {}", below.get_name()), below, found);
        }
    }
    let (mut cli, mut found) = (Cli::command(), Vec::new());
    cli.build();
    walk("muster", &cli, &mut found);
    found
}

/// The lines under `Examples:` that call the program.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
    let lines = examples.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter(|line| line.contains("muster ")).map(str::to_owned).collect()
}

/// What a shell would hand to the program: as far as the next pipe or redirection.
fn words(line: &str) -> Vec<String> {
    let line = line.strip_prefix("source <(").map_or(line, |line| line.trim_end_matches(')'));
    let (mut words, mut quoted, mut word) = (Vec::new(), false, None::<String>);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '|' | '<' | '>' if !quoted => return words,
            c => word.get_or_insert_default().push(c),
        }
    }
    assert!(!quoted, "an open quote: {line}");
    words.extend(word);
    words
}

#[test]
fn every_command_and_flag_says_what_it_is_for() {
    for (path, command) in commands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty(), "`{path}` lacks a summary: give its variant a doc comment");
        assert!(about.lines().count() == 1 && about.len() <= 79, "`{path}`: {about}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "`{path}`: {id} lacks a doc comment");
        }
    }
}

#[test]
fn every_command_shows_examples_that_can_be_typed() {
    for (path, command) in commands() {
        let examples = examples(&command);
        let leaf = command.get_subcommands().next().is_none();
        assert!(!leaf || !examples.is_empty(), "`{path}` lacks examples: add them in cli/help.rs");
        for line in examples {
            let words = words(&line);
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}\n{error}"));
            let own = words.join(" ").starts_with(&path);
            assert!(own || !leaf, "`{path}` shows another command: {line}");
            assert!(line.len() <= 96, "too long for a terminal: {line}");
        }
    }
}

#[test]
fn examples_are_read_as_a_shell_does() {
    let line = "muster a -l '' -k 'a in (b,c)' | jq '.[]'";
    assert_eq!(words(line), ["muster", "a", "-l", "", "-k", "a in (b,c)"]);
    assert_eq!(words("muster a > b"), ["muster", "a"]);
    assert_eq!(words("source <(muster a b)"), ["muster", "a", "b"]);
}
