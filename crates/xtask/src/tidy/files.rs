//! Files: small, explained, finished, and about the project alone.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::rules::{FILE_LINES_MAX, LINE_COLUMNS_MAX, TOP};

/// Every file of the project: what git tracks and what is about to be.
fn files() -> Vec<PathBuf> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(crate::root()).output().unwrap();
    assert!(output.status.success(), "the tidy tests need a git checkout");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(PathBuf::from).filter(|path| crate::root().join(path).is_file()).collect()
}

/// Rust files that people write, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "gen"))
        .map(|path| {
            let text = std::fs::read_to_string(crate::root().join(&path)).unwrap();
            (path, text)
        })
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not begin with //!", path.display());
    }
}

#[test]
fn files_and_lines_are_short() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
        for (index, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            // The one table of the conformance suite and long URLs are not wrapped by rustfmt.
            let wrappable = !line.trim_start().starts_with("(\"") && !line.contains("://");
            assert!(
                columns <= LINE_COLUMNS_MAX || !wrappable,
                "{}:{} has {columns} columns",
                path.display(),
                index + 1
            );
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Written in two parts, so that this file may be looked at too.
    let marks = [["FIX", "ME"], ["TO", "DO"], ["XX", "X"]].map(|parts| parts.concat());
    for (path, text) in sources() {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} contains {mark}", path.display());
        }
        for macro_name in ["todo!", "unimplemented!"] {
            let called = format!("{macro_name}(");
            assert!(!text.contains(&called), "{} calls {macro_name}", path.display());
        }
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let marks = [["/ro", "ot/"], ["/wo", "rk/"], ["/fa", "rm/"]].map(|parts| parts.concat());
    for path in files() {
        let Ok(text) = std::fs::read_to_string(crate::root().join(&path)) else { continue };
        for mark in &marks {
            let found = text.lines().find(|line| line.contains(mark.as_str()));
            assert!(found.is_none(), "{}: {}", path.display(), found.unwrap_or_default());
        }
    }
}

#[test]
fn every_crate_takes_the_houses_lints() {
    for path in files().into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(crate::root().join(&path)).unwrap();
        let virtual_root = text.contains("[workspace]");
        assert!(
            virtual_root || text.contains("[lints]\nworkspace = true"),
            "{} lacks `[lints] workspace = true`",
            path.display()
        );
    }
}

#[test]
fn the_top_level_shows_the_architecture_and_nothing_else() {
    let top: BTreeSet<String> = files()
        .iter()
        .filter_map(|path| path.iter().next())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let expected: BTreeSet<String> = TOP.iter().map(ToString::to_string).collect();
    assert_eq!(top, expected);
}

#[test]
fn every_decision_is_in_the_index() {
    let index = std::fs::read_to_string(crate::root().join("docs/adr/README.md")).unwrap();
    for path in files().into_iter().filter(|path| path.starts_with("docs/adr")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            name == "README.md" || index.contains(&name),
            "{name} is not in docs/adr/README.md"
        );
    }
}
