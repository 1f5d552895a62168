//! Where a setting that is not in the file yet goes, and what its line looks like.

use std::ops::Range;

use crate::document::{Document, Hint, Item, Kind, Style};
use crate::text::{self, Splice};
use crate::value::Value;

/// A place for new lines and the shape they take.
pub(crate) struct Slot {
    /// Offset; always at the start of a line or at the end of the source.
    pub(crate) at: usize,
    pub(crate) prefix: &'static [u8],
    pub(crate) gap: Vec<u8>,
    pub(crate) style: Style,
    /// Lines to put before the setting: a new section's header.
    pub(crate) before: Vec<Vec<u8>>,
}

impl Document {
    /// The commented-out default of a key: the last one written `#key`, else the last one written `# key`.
    pub(crate) fn hint(&self, section: Option<&str>, key: &str) -> Option<(&Item, &Hint)> {
        let all = || {
            self.items.iter().filter_map(|item| match &item.kind {
                Kind::Comment(Some(hint))
                    if self.dialect.same_key(&hint.key, key) && self.in_section(item, section) =>
                {
                    Some((item, hint))
                }
                Kind::Comment(_)
                | Kind::Mark
                | Kind::Blank
                | Kind::Section
                | Kind::Entry(_)
                | Kind::Opaque => None,
            })
        };
        all().rfind(|(_, hint)| hint.tight).or_else(|| all().next_back())
    }

    /// The type that the file documents for a key, and the line it does so on.
    pub(crate) fn documented(&self, section: Option<&str>, key: &str) -> Option<(&Value, usize)> {
        let (item, hint) = self.hint(section, key)?;
        let default = hint.default.as_ref().filter(|_| hint.tight)?;
        Some((default, self.line_of(item.span.start)))
    }

    /// Right after the commented default; else at the end of the (last such) section or of the file; else in a new
    /// section at the end of the file.
    pub(crate) fn slot(&self, section: Option<&str>, key: &str) -> Slot {
        if let Some((item, hint)) = self.hint(section, key) {
            return Slot {
                at: item.span.end,
                prefix: hint.prefix,
                gap: balanced(&hint.gap),
                style: hint.style.clone(),
                before: Vec::new(),
            };
        }
        let (at, before) = match section {
            None => (self.end_of(0..self.items.len()), Vec::new()),
            Some(name) => match self.section_items(name) {
                Some(items) => (self.end_of(items), Vec::new()),
                None => (self.source.len(), self.new_section(name)),
            },
        };
        let gap = self.gap_like(section).map_or_else(|| self.dialect.default_gap().to_vec(), balanced);
        let style = Style { crlf: text::eol_near(&self.source, at).len() == 2, ..Style::default() };
        Slot { at, prefix: b"", gap, style, before }
    }

    /// A slot right after an item, in the shape of the entry that the item is.
    pub(crate) fn slot_after(&self, item: &Item, gap: &Range<usize>, style: &Style) -> Slot {
        let gap = balanced(&self.source[gap.clone()]);
        Slot { at: item.span.end, prefix: b"", gap, style: style.clone(), before: Vec::new() }
    }

    /// Items of the last section of this name, header included.
    fn section_items(&self, name: &str) -> Option<Range<usize>> {
        let is_header = |item: &Item| matches!(item.kind, Kind::Section);
        let head =
            self.items.iter().rposition(|item| is_header(item) && self.in_section(item, Some(name)))?;
        let inside = |item: &Item| !is_header(item) && self.in_section(item, Some(name));
        let length = self.items[head + 1..].iter().take_while(|item| inside(item)).count();
        Some(head..head + 1 + length)
    }

    /// Offset at which these items end, without the blank lines after them and without a comment that introduces the
    /// next section.
    fn end_of(&self, items: Range<usize>) -> usize {
        let mut end = items.end;
        if end < self.items.len() {
            let is_prose = |item: &Item| matches!(&item.kind, Kind::Comment(hint) if !hint.as_ref().is_some_and(|h| h.tight));
            let prose = self.items[items.clone()].iter().rev().take_while(|item| is_prose(item)).count();
            let above = end.checked_sub(prose + 1).filter(|at| *at >= items.start);
            if above.is_some_and(|at| matches!(self.items[at].kind, Kind::Blank)) {
                end -= prose;
            }
        }
        while end > items.start && matches!(self.items[end - 1].kind, Kind::Blank) {
            end -= 1;
        }
        match end.checked_sub(1) {
            Some(last) => self.items[last].span.end,
            None => 0,
        }
    }

    fn new_section(&self, name: &str) -> Vec<Vec<u8>> {
        let header = [b"[", name.as_bytes(), b"]"].concat();
        let last = self.items.last();
        let apart = last.is_none_or(|item| matches!(item.kind, Kind::Blank | Kind::Mark));
        if apart { vec![header] } else { vec![Vec::new(), header] }
    }

    /// How the file separates keys from values: as in the last setting of the section, else of the file.
    fn gap_like(&self, section: Option<&str>) -> Option<&[u8]> {
        let gaps = |here: bool| {
            self.items.iter().rev().find_map(move |item| match &item.kind {
                Kind::Entry(entry) if !here || self.in_section(item, section) => Some(entry.gap.clone()),
                Kind::Entry(_)
                | Kind::Mark
                | Kind::Blank
                | Kind::Comment(_)
                | Kind::Section
                | Kind::Opaque => None,
            })
        };
        gaps(true).or_else(|| gaps(false)).map(|gap| &self.source[gap])
    }

    /// The splice that puts one line per value into a slot.
    pub(crate) fn insertion(&self, slot: &Slot, key: &str, values: &[Vec<u8>]) -> Splice {
        let eol = text::eol_near(&self.source, slot.at);
        let mut lines = slot.before.clone();
        if lines.is_empty() && self.swallows_next(slot.at) {
            lines.push(Vec::new());
        }
        let line = |raw: &Vec<u8>| [slot.prefix, key.as_bytes(), &slot.gap, raw].concat();
        lines.extend(values.iter().map(line));
        let mut with = lines.join(eol);
        if self.starts_line(slot.at) {
            with.extend_from_slice(eol);
        } else {
            // The file has no final newline, and shall have none unless its reader needs one.
            with.splice(..0, eol.iter().copied());
            if self.dialect.ends_in_newline() {
                with.extend_from_slice(eol);
            }
        }
        Splice { range: slot.at..slot.at, with }
    }

    /// The line that an insertion at `at` would have.
    pub(crate) fn insertion_line(&self, slot: &Slot) -> usize {
        let before = slot.before.len() + usize::from(!self.starts_line(slot.at));
        self.line_of(slot.at) + before
    }

    pub(crate) fn starts_line(&self, at: usize) -> bool {
        at == text::bom_len(&self.source) || at == 0 || self.source[at - 1] == b'\n'
    }

    /// Whether an older reader takes the line at `at` as part of the comment before it; an empty line stops that.
    fn swallows_next(&self, at: usize) -> bool {
        let start =
            self.source[..at.saturating_sub(1)].iter().rposition(|b| *b == b'\n').map_or(0, |lf| lf + 1);
        let content = text::line_at(&self.source, start);
        let content = content.of(&self.source);
        matches!(text::trim(content).first(), Some(b'#' | b';')) && self.dialect.comment_continues(content)
    }
}

/// A gap with as much white space after the separator as before it, where a value-less line has none.
fn balanced(gap: &[u8]) -> Vec<u8> {
    let before = text::blanks(gap);
    let mut gap = gap.to_vec();
    if before > 0 && !gap.last().is_some_and(|b| text::is_blank(*b)) {
        gap.extend_from_within(..before);
    }
    gap
}
