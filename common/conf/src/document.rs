//! A parsed file: every byte of it, cut into items, and the questions one can ask of it.

use std::ops::Range;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::error::{Problem, Reason};
use crate::text;
use crate::value::{Found, Value};

/// How a value is written; taken from the line it replaces, or from the commented default it goes after.
#[derive(Clone, Debug, Default)]
pub(crate) struct Style {
    /// The quote character around the value (around the first line of it, in oslo files); none for bare values.
    pub(crate) quote: Option<u8>,
    /// Indentation of continuation lines; empty where the file shows none.
    pub(crate) indent: Vec<u8>,
    pub(crate) crlf: bool,
}

impl Style {
    pub(crate) fn eol(&self) -> &'static [u8] {
        if self.crlf { b"\r\n" } else { b"\n" }
    }
}

/// One assignment. Ranges are offsets into the source.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    /// What stands between key and value: blanks, `=` or `:`, blanks.
    pub(crate) gap: Range<usize>,
    /// The value as written, quotes and continuation lines included; what `set` replaces.
    pub(crate) raw: Range<usize>,
    pub(crate) found: Found,
    pub(crate) style: Style,
    /// Shell only: `# …` after the value.
    pub(crate) trailing_comment: bool,
    /// Shell only: the line begins with `export`.
    pub(crate) exported: bool,
}

/// A commented-out setting, and how to write a live one like it.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    pub(crate) key: Vec<u8>,
    /// `#key`, as programs write their defaults; `# key` may be prose.
    pub(crate) tight: bool,
    pub(crate) prefix: &'static [u8],
    pub(crate) gap: Vec<u8>,
    pub(crate) style: Style,
    /// libvirt only: the default's value, for its type.
    pub(crate) default: Option<Value>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The byte order mark.
    Mark,
    Blank,
    Comment(Option<Hint>),
    /// A section header; the item's own `section` is its name.
    Section,
    Entry(Entry),
    /// Kept as it is: nothing is known about it.
    Opaque,
}

/// A piece of the source. The items' spans follow each other without gap and cover the source.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) span: Range<usize>,
    /// The section it stands in; none before the first header.
    pub(crate) section: Option<Arc<[u8]>>,
    pub(crate) kind: Kind,
}

/// What a dialect's parser makes of a source.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) items: Vec<Item>,
    /// Offsets into the source, with what is wrong there.
    pub(crate) problems: Vec<(usize, Reason)>,
}

impl Parsed {
    /// Starts with the byte order mark, if there is one; the rest begins at [`text::bom_len`].
    pub(crate) fn begin(source: &[u8]) -> Self {
        let mut parsed = Self::default();
        if text::bom_len(source) > 0 {
            parsed.items.push(Item { span: 0..text::BOM.len(), section: None, kind: Kind::Mark });
            parsed.problems.push((0, Reason::ByteOrderMark));
        }
        parsed
    }

    pub(crate) fn push(&mut self, span: Range<usize>, section: Option<&Arc<[u8]>>, kind: Kind) {
        self.items.push(Item { span, section: section.cloned(), kind });
    }

    pub(crate) fn opaque(&mut self, span: Range<usize>, section: Option<&Arc<[u8]>>, reason: Reason) {
        self.problems.push((span.start, reason));
        self.push(span, section, Kind::Opaque);
    }
}

/// One setting of a file, as [`Document::settings`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<'a> {
    /// The section's name as it stands in the file; none in files without sections.
    pub section: Option<&'a [u8]>,
    pub key: &'a [u8],
    /// 1-based line of the key.
    pub line: usize,
    pub found: &'a Found,
}

/// A configuration file, parsed and kept whole.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) dialect: Dialect,
    pub(crate) source: Vec<u8>,
    pub(crate) items: Vec<Item>,
    problems: Vec<Problem>,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
}

impl Document {
    /// Parses any bytes; never fails. What the dialect's own reader would refuse is in [`Document::problems`].
    pub fn parse(dialect: Dialect, source: &[u8]) -> Self {
        let parsed = dialect.parse(source);
        debug_assert!(
            parsed.items.iter().try_fold(0, |at, i| (i.span.start == at).then_some(i.span.end))
                == Some(source.len()),
            "items cover the source without gap"
        );
        let starts = text::lines(source, 0).iter().map(|line| line.start).collect();
        let mut document =
            Self { dialect, source: source.to_vec(), items: parsed.items, problems: Vec::new(), starts };
        let mut problems: Vec<Problem> = parsed
            .problems
            .into_iter()
            .map(|(at, reason)| Problem { line: document.line_of(at), reason, text: document.shown_line(at) })
            .collect();
        problems.sort_by_key(|problem| problem.line);
        document.problems = problems;
        document
    }

    /// The file, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.source
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.source
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Lines that a reader refuses or that readers take differently, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The value that counts for `key`: the last, and in libvirt files the first. None if it is not set.
    ///
    /// In files with sections a `section` is needed; without one the answer is none. In systemd units an empty text
    /// stands for a reset.
    pub fn get(&self, section: Option<&str>, key: &str) -> Option<&Found> {
        let mut all = self.occurrences(section, key);
        let (_, entry) = if self.dialect.first_counts() { all.next() } else { all.last() }?;
        Some(&entry.found)
    }

    /// All values of `key` that count, in order. In systemd units an empty assignment drops those before it, as
    /// systemd does for lists.
    pub fn get_all(&self, section: Option<&str>, key: &str) -> Vec<&Found> {
        let mut values = Vec::new();
        for (_, entry) in self.occurrences(section, key) {
            if self.dialect == Dialect::Systemd && entry.found.text() == Some("") {
                values.clear();
            } else {
                values.push(&entry.found);
            }
        }
        values
    }

    /// Every setting, in the order of the file, repeated ones included.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'_>> {
        self.items.iter().filter_map(|item| match &item.kind {
            Kind::Entry(entry) => Some(Setting {
                section: item.section.as_deref(),
                key: &entry.key,
                line: self.line_of(entry.gap.start),
                found: &entry.found,
            }),
            Kind::Mark | Kind::Blank | Kind::Comment(_) | Kind::Section | Kind::Opaque => None,
        })
    }

    /// Names of the sections as they stand in the file, in order, repeated ones included.
    pub fn sections(&self) -> impl Iterator<Item = &[u8]> {
        self.items
            .iter()
            .filter(|item| matches!(item.kind, Kind::Section))
            .filter_map(|item| item.section.as_deref())
    }

    /// Lines (1-based) on which `key` is set.
    pub fn lines(&self, section: Option<&str>, key: &str) -> Vec<usize> {
        self.occurrences(section, key).map(|(_, entry)| self.line_of(entry.gap.start)).collect()
    }

    pub(crate) fn in_section(&self, item: &Item, section: Option<&str>) -> bool {
        match (&item.section, section) {
            (None, None) => true,
            (Some(found), Some(asked)) => self.dialect.same_section(found, asked),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    pub(crate) fn occurrences<'a, 'k>(
        &'a self,
        section: Option<&'k str>,
        key: &'k str,
    ) -> impl Iterator<Item = (&'a Item, &'a Entry)> {
        self.items.iter().filter_map(move |item| match &item.kind {
            Kind::Entry(entry)
                if self.dialect.same_key(&entry.key, key) && self.in_section(item, section) =>
            {
                Some((item, entry))
            }
            Kind::Entry(_) | Kind::Mark | Kind::Blank | Kind::Comment(_) | Kind::Section | Kind::Opaque => {
                None
            }
        })
    }

    /// 1-based line of an offset; the offset just past a final newline is on the next line.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        if offset == self.source.len() && self.source.ends_with(b"\n") {
            return self.starts.len() + 1;
        }
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    fn shown_line(&self, offset: usize) -> String {
        let shown = match self.starts.get(self.line_of(offset) - 1) {
            Some(start) => text::shown(text::line_at(&self.source, *start).of(&self.source)),
            None => String::new(),
        };
        match shown.char_indices().nth(160) {
            Some((cut, _)) => format!("{}…", &shown[..cut]),
            None => shown,
        }
    }
}
