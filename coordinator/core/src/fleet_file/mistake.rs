//! What is wrong with a fleet file, said so that it can be mended without the manual.

use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// `RP10xx`; its page is `docs/errors/<code>.md`.
    pub code: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The thing, as a path through the file: `pace.canary`, `host[3].roles` (the third `[[host]]`).
    pub subject: String,
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// All mistakes of one file, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Mistakes {
    /// The file's name as the operator gave it.
    pub file: String,
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    /// One line a mistake, in the form that editors jump to: `fleet.toml:12:3: RP1002 pace.cannary: …; …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let Mistake { code, line, column, subject, problem, remedy } = mistake;
            write!(f, "{}:{line}:{column}: {code} {subject}: {problem}; {remedy}", self.file)?;
        }
        Ok(())
    }
}

/// Collects mistakes while a file is read.
#[derive(Debug)]
pub(super) struct Notebook<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
    /// Paths whose absence is the consequence of a mistake that was noted already.
    excused: BTreeSet<String>,
}

impl<'t> Notebook<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, mistakes: Vec::new(), excused: BTreeSet::new() }
    }

    /// Notes a mistake at a byte range of the text.
    pub(super) fn note(
        &mut self,
        at: Range<usize>,
        code: &'static str,
        subject: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (line, column) = self.position(at.start);
        self.mistakes.push(Mistake {
            code,
            line,
            column,
            subject: subject.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// From now on nobody is told that `path` is missing.
    pub(super) fn excuse(&mut self, path: impl Into<String>) {
        self.excused.insert(path.into());
    }

    pub(super) fn is_excused(&self, path: &str) -> bool {
        self.excused.contains(path)
    }

    pub(super) fn has(&self, code: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.code == code)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// The mistakes, by line.
    pub(super) fn finish(mut self, file: &str) -> Mistakes {
        self.mistakes.sort_by(|a, b| (a.line, a.column, a.code).cmp(&(b.line, b.column, b.code)));
        Mistakes { file: file.to_owned(), mistakes: self.mistakes }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}
