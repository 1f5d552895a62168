//! Small things that all text of plans and findings shares.

use std::fmt::{self, Write};

/// Text for people is at most this wide, tables and names that cannot be broken apart.
const WIDTH: usize = 110;

/// A text that grows by lines and paragraphs.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn line(&mut self, line: impl fmt::Display) {
        writeln!(self.text, "{line}").expect("writing to a string does not fail");
    }

    /// An empty line, unless there is nothing to separate.
    pub(super) fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A paragraph: `first` before its first line, as many blanks before the others.
    pub(super) fn paragraph(&mut self, first: &str, text: &str) {
        let blanks = " ".repeat(first.chars().count());
        let options = textwrap::Options::new(WIDTH)
            .initial_indent(first)
            .subsequent_indent(&blanks)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
        for line in textwrap::wrap(text, options) {
            self.line(line);
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Milliseconds as people say them: `0.2 s`, `25 s`, `4 min 10 s`, `2 h 05 min`.
pub fn show_duration(ms: u64) -> String {
    let tenths = (ms + 50) / 100;
    let seconds = (ms + 500) / 1000;
    match seconds {
        _ if tenths < 100 => format!("{}.{} s", tenths / 10, tenths % 10),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 host`, `3 hosts`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Names of hosts: all of them while they are few.
pub(crate) fn names(names: &[&str]) -> String {
    match names {
        [first, .., last] if names.len() > 6 => format!("{first} … {last} ({} hosts)", names.len()),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_units_at_most() {
        let shown: Vec<String> =
            [0, 200, 9_940, 9_960, 25_000, 59_600, 250_000, 7_500_000].map(show_duration).into();
        assert_eq!(
            shown,
            ["0.0 s", "0.2 s", "9.9 s", "10 s", "25 s", "1 min 00 s", "4 min 10 s", "2 h 05 min"]
        );
    }
}
