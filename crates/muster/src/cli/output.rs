//! What commands print: tables for people, JSON for programs. Everything goes to stdout.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    Table,
    /// JSON for programs
    Json,
}

/// Rows under a heading.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these headings.
    pub(super) fn new(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned)] }
    }

    /// Adds a row. Control characters in what agents say must not reach a terminal.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
            }
        }));
    }

    /// The table in aligned columns.
    pub(super) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
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
