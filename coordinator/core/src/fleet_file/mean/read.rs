//! Reading single keys, with the mistakes that each kind of value can have.

use super::super::mistake::Notebook;
use super::super::strike::nearest;
use crate::codes;
use crate::plan::Way;
use std::ops::Range;
use toml::Spanned;

/// Opens a section that must be there.
pub(super) fn sections<T: Default>(
    raw: Option<Spanned<T>>,
    name: &str,
    notes: &mut Notebook<'_>,
) -> Option<(T, Range<usize>)> {
    match raw {
        Some(raw) => {
            let at = raw.span();
            Some((raw.into_inner(), at))
        }
        None if notes.is_excused(name) => Some((T::default(), 0..0)),
        None => {
            notes.note(
                0..0,
                codes::FLEET_MISSING,
                name,
                format!("the section `[{name}]` is missing"),
                "add it; docs/errors/RP1004.md shows a whole file",
            );
            // Its keys are not reported one by one.
            None
        }
    }
}

/// One table of the file while its keys are read.
pub(super) struct Section<'a, 't> {
    path: String,
    at: Range<usize>,
    pub(super) notes: &'a mut Notebook<'t>,
}

impl<'a, 't> Section<'a, 't> {
    pub(super) fn new(path: impl Into<String>, at: Range<usize>, notes: &'a mut Notebook<'t>) -> Self {
        Self { path: path.into(), at, notes }
    }

    pub(super) fn subject(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    pub(super) fn missing(&mut self, key: &str, example: &str) {
        let subject = self.subject(key);
        if !self.notes.is_excused(&subject) {
            self.notes.note(
                self.at.clone(),
                codes::FLEET_MISSING,
                subject,
                "it is missing",
                format!("add `{example}`"),
            );
        }
    }

    pub(super) fn wrong(
        &mut self,
        at: Range<usize>,
        code: &'static str,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let subject = self.subject(key);
        self.notes.note(at, code, subject, problem, remedy);
    }

    /// A text that must be there and not be empty.
    pub(super) fn text(
        &mut self,
        key: &str,
        typed: Option<Spanned<String>>,
        example: &str,
    ) -> Option<Spanned<String>> {
        let Some(typed) = typed else {
            self.missing(key, example);
            return None;
        };
        if typed.get_ref().trim().is_empty() {
            let remedy = format!("write something like `{example}`");
            self.wrong(typed.span(), codes::FLEET_NAME, key, "it is empty", remedy);
            return None;
        }
        Some(typed)
    }

    /// A list of texts that must be there and not be empty.
    pub(super) fn texts(
        &mut self,
        key: &str,
        typed: Option<Vec<Spanned<String>>>,
        example: &str,
    ) -> Option<Vec<Spanned<String>>> {
        match typed {
            Some(list) if !list.is_empty() => Some(list),
            Some(_) | None => {
                self.missing(key, example);
                None
            }
        }
    }

    /// A name of lower-case letters, digits, dots and hyphens.
    pub(super) fn slug(&mut self, key: &str, typed: Spanned<String>) -> Option<String> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if typed.get_ref().len() <= 64 && typed.get_ref().bytes().all(good) {
            return Some(typed.into_inner());
        }
        let problem = format!("`{}` is not a name", typed.get_ref());
        let remedy = "use at most 64 lower-case letters, digits, dots and hyphens";
        self.wrong(typed.span(), codes::FLEET_NAME, key, problem, remedy);
        None
    }

    /// A package's name in either package manager's alphabet.
    pub(super) fn package_name(&mut self, key: &str, typed: Spanned<String>) -> Option<String> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'+' | b'_');
        if typed.get_ref().bytes().all(good) {
            return Some(typed.into_inner());
        }
        let problem = format!("`{}` is not a package's name", typed.get_ref());
        self.wrong(typed.span(), codes::FLEET_NAME, key, problem, "write the bare name, without version");
        None
    }

    /// One exact version: no wildcard, comparison or range.
    pub(super) fn exact_version(&mut self, key: &str, typed: Spanned<String>) -> Option<String> {
        let good =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'+' | b'~' | b':' | b'_' | b'^');
        let text = typed.get_ref();
        if text.bytes().all(good) && text.bytes().any(|b| b.is_ascii_digit()) {
            return Some(typed.into_inner());
        }
        let problem = format!("`{text}` is not one exact version");
        let remedy =
            "write the package manager's full spelling, such as `11.3.0-2~bpo12+1` or `3.2.0-14.el7`";
        self.wrong(typed.span(), codes::FLEET_VERSION, key, problem, remedy);
        None
    }
}

/// One word of a closed set.
pub(super) fn word<T: Copy>(
    subject: &str,
    typed: &Spanned<String>,
    known: &[(&'static str, T)],
    notes: &mut Notebook<'_>,
) -> Option<T> {
    let text = typed.get_ref();
    if let Some((_, meaning)) = known.iter().find(|(word, _)| word == text) {
        return Some(*meaning);
    }
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let remedy = match nearest(text, &words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of: {}", words.join(", ")),
    };
    notes.note(typed.span(), codes::FLEET_WORD, subject, format!("`{text}` is not known here"), remedy);
    None
}

pub(super) fn way(subject: &str, typed: &Spanned<String>, notes: &mut Notebook<'_>) -> Option<Way> {
    word(subject, typed, &[("in-place", Way::InPlace), ("evacuate-first", Way::EvacuateFirst)], notes)
}
