//! What commands print: tables for people, JSON for programs. Everything goes to stdout.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::Failure;

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    #[value(alias = "text")]
    Table,
    /// JSON for programs
    Json,
    /// Only names, one a line, where a command lists
    Name,
}

impl Format {
    /// Refuses names where nothing is listed.
    pub(super) fn unless_names(self) -> anyhow::Result<Self> {
        match self {
            Self::Name => Err(Failure::usage("-o name is for commands that list")),
            format => Ok(format),
        }
    }
}

/// Names, one a line.
pub(super) fn names(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().map(|name| name + "\n").collect()
}

/// What agents say must not steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Data of a custom message for people: text as it is, of anything else the size.
pub(super) fn data(data: &[u8], size_bytes: i64) -> String {
    match (std::str::from_utf8(data), data.is_empty()) {
        (Ok(text), false) => text.to_owned(),
        (_, true) if size_bytes == 0 => String::new(),
        _ => format!("({size_bytes} bytes)"),
    }
}

/// Rows under a heading, if it has one.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// A table of rows alone.
    pub(super) fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row. Control characters in what agents say must not reach a terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| match &cell[..] {
            "" => "-".to_owned(),
            cell => printable(cell),
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The table in aligned columns.
    pub(super) fn text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String does not fail.
                let _ = write!(line, "{cell:width$}   ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Prints, and takes it quietly when the reader has gone (`muster agents list | head`).
pub(crate) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    write(text).map(drop)
}

/// Prints, and says whether somebody still reads.
pub(super) fn write(text: impl AsRef<[u8]>) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(text.as_ref()).and_then(|()| stdout.flush());
    match printed {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        printed => Ok(printed.map(|()| true)?),
    }
}

/// A word to the person at the terminal, beside what is printed.
#[expect(clippy::print_stderr, reason = "the command line's own voice")]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// The same, unless only a program would read it.
pub(super) fn note_if_terminal(text: &str) {
    if std::io::stderr().is_terminal() {
        note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_gaps_are_visible() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.row(["a-long-name".to_owned(), "CONNECTED".to_owned()]);
        table.row(["é\u{1b}[31m".to_owned(), String::new()]);
        assert_eq!(
            table.text(),
            "NAME          STATUS\na-long-name   CONNECTED\né [31m        -\n"
        );
    }
}
