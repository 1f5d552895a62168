//! The events of a voyage, for people: the last ones, or all. Only those that are kept at the end are put into words.

use replank_core::run::Record;
use std::collections::VecDeque;

/// How many events are kept when nobody asks for more.
pub(crate) const LAST: usize = 300;
const WIDTH: usize = 240;

#[derive(Debug)]
enum Line {
    Said(String),
    Record(Box<Record>),
}

/// Time, who, what.
#[derive(Debug)]
pub(crate) struct Trace {
    kept: usize,
    lines: VecDeque<(u64, String, Line)>,
}

impl Trace {
    pub(crate) fn of_last(kept: usize) -> Self {
        Self { kept, lines: VecDeque::new() }
    }

    pub(crate) fn say(&mut self, at_ms: u64, who: &str, what: impl Into<String>) {
        self.push(at_ms, who, Line::Said(what.into()));
    }

    pub(crate) fn record(&mut self, at_ms: u64, record: &Record) {
        self.push(at_ms, "journal", Line::Record(Box::new(record.clone())));
    }

    fn push(&mut self, at_ms: u64, who: &str, line: Line) {
        if self.lines.len() == self.kept {
            self.lines.pop_front();
        }
        self.lines.push_back((at_ms, who.to_owned(), line));
    }

    /// One line an event: `   12.345 s  compute1  does compute1.pin/1`.
    pub(crate) fn text(&self) -> Vec<String> {
        let text = |(at_ms, who, line): &(u64, String, Line)| {
            let mut what = match line {
                Line::Said(text) => text.clone(),
                Line::Record(record) => format!("{} {:?}", record.seq, record.event),
            };
            if what.chars().count() > WIDTH {
                what = what.chars().take(WIDTH).chain(['…']).collect();
            }
            format!("{:>6}.{:03} s  {who:<12} {what}", at_ms / 1000, at_ms % 1000)
        };
        self.lines.iter().map(text).collect()
    }
}
