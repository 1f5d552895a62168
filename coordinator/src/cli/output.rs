//! Data to standard output, everything else to standard error, and the tables of the command line.

use super::failure::Failure;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where and how a command speaks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
    color: bool,
    /// Standard error is a terminal: progress bars are of use.
    pub terminal: bool,
}

impl Output {
    pub fn new(json: bool, no_color: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let unwanted = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, color: terminal && !unwanted, terminal }
    }

    /// Text that was asked for.
    ///
    /// # Errors
    /// When standard output cannot be written. A reader that has gone (`… | head`) is not an error: the exit code keeps its meaning.
    pub fn data(self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// # Errors
    /// As [`Self::data`].
    pub fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Write { path: "/dev/stdout".into(), source: error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A document for machines, pretty.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn document(self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::Unexpected(error.to_string()))?;
        self.data(&format!("{text}\n"))
    }

    /// One JSON value a line.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn json_line(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::Unexpected(error.to_string()))?;
        self.data(&format!("{text}\n"))
    }

    /// A remark for people; a standard error that is gone loses it.
    pub fn note(self, text: &str) {
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// The last words of a command that failed.
    pub fn failure(self, failure: &Failure) {
        if self.json {
            self.note(&failure.json().to_string());
            return;
        }
        if let Failure::FleetFile(mistakes) = failure {
            self.note(&mistakes.to_string());
        }
        let (on, off) = if self.color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let code = failure.code();
        self.note(&format!("{on}error:{off} {code}: {}", failure.message()));
        self.note(&format!("  see docs/errors/{code}.md"));
    }
}

/// Rows under a head, two blanks apart, without frames, so that `awk` and people can both read it. `right`: columns of numbers.
pub fn table(head: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table.set_header(head.to_vec());
    table.add_rows(rows);
    let last = head.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { 2 }));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    lines.concat()
}
