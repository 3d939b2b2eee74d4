//! docs/conformance.md, made of the rows and the cases.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cases::{ALL, Case};
use crate::rows::ROWS;

const HEAD: &str = "\
# Conformance

Every rule of OpAMP for a server, and the tests that hold Muster to it. Unless it says otherwise, a
test runs on both forms: one process without services, and a cluster on NATS and Redis in which
every connection and every poll goes to another gateway. Made by `cargo xtask conformance` from
`tests/conformance/`.

MUST, SHOULD and MAY are the specification's words for the server, `stated` is in its prose,
`advice` is not in it but what real clients call for. A rule without a test here may be kept all the
same, or belong to something Muster does not do yet (packages, credentials).
The few that are open elsewhere are explained in
[0014](adr/0014-rules-without-a-test.md).
";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

/// Writes the file.
pub(crate) fn write() {
    std::fs::write(path(), text()).expect("docs/conformance.md can be written");
}

/// Whether the file says what the cases are.
pub(crate) fn check() -> Result<(), String> {
    let known = |row: &str| ROWS.iter().any(|(id, ..)| *id == row);
    for case in ALL {
        if let Some(row) = case.rows.iter().find(|row| !known(row)) {
            return Err(format!("case {} names row {row}, which is not there", case.name));
        }
    }
    if std::fs::read_to_string(path()).unwrap_or_default() == text() {
        return Ok(());
    }
    Err("docs/conformance.md is stale: run `cargo xtask conformance`".to_owned())
}

fn text() -> String {
    let tested = ROWS.iter().filter(|(id, ..)| !cases_of(id).is_empty()).count();
    let (rows, tests) = (ROWS.len(), ALL.len());
    let mut text = format!("{HEAD}\n{tested} of {rows} rules have a test; {tests} tests.\n\n");
    text.push_str("| rule | level | what | tests |\n|---|---|---|---|\n");
    for (id, level, what) in ROWS {
        let tests = match cases_of(id) {
            tests if tests.is_empty() => "–".to_owned(),
            tests => tests.into_iter().map(shown).collect::<Vec<_>>().join(" "),
        };
        writeln!(text, "| {id} | {level} | {what} | {tests} |").expect("a String grows");
    }
    text
}

fn cases_of(row: &str) -> Vec<&'static Case> {
    ALL.iter().filter(|case| case.rows.contains(&row)).collect()
}

fn shown(case: &Case) -> String {
    match case.only {
        [form] => format!("`{}` ({} only)", case.name, form.name()),
        _ => format!("`{}`", case.name),
    }
}
