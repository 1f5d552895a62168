//! Editing: which bytes change, and the proof that nothing else does.

use crate::dialect::Refusal;
use crate::document::{Document, Entry, Item, Kind};
use crate::error::{EditError, Note, Place};
use crate::place::Slot;
use crate::text::{self, Splice};
use crate::value::{Found, Value};
use crate::{ini, libvirt};

/// A piece of a file that means something.
#[derive(PartialEq)]
enum Meant<'a> {
    /// Section, key, value.
    Setting(Option<&'a [u8]>, &'a [u8], &'a Found),
    /// Section, and a line nothing is known about.
    Unknown(Option<&'a [u8]>, &'a [u8]),
}

/// What must hold of the key after an edit.
enum Wanted<'a> {
    /// The occurrence that counts has this value.
    Counts(&'a Value),
    /// The occurrences are exactly these.
    Exactly(&'a [Value]),
}

impl Document {
    /// Gives `key` this value.
    ///
    /// Changes the occurrence that counts (the last; in libvirt files the first) and leaves others, with a
    /// [`Note::Duplicate`]. A key that is not set goes right after its commented-out default if there is one, else to
    /// the end of the section or file; a section that is not there is added at the end of the file. A file without a
    /// final newline stays so.
    pub fn set(
        &mut self,
        section: Option<&str>,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<Vec<Note>, EditError> {
        let mut place = self.checked_place(section, key)?;
        let all: Vec<_> = self.occurrences(section, key).collect();
        let chosen = if self.dialect.first_counts() { all.first() } else { all.last() }.copied();
        let slot = chosen.is_none().then(|| self.slot(section, key));
        place.line = match (&chosen, &slot) {
            (Some((_, entry)), _) => Some(self.line_of(entry.gap.start)),
            (None, Some(slot)) => Some(self.insertion_line(slot)),
            (None, None) => None,
        };
        let value = self.normalised(&place, &value.into())?;
        self.check_type(section, key, &place, &value)?;

        let mut notes = Vec::new();
        let mut splices = Vec::new();
        if let Some((_, entry)) = chosen {
            let own = self.line_of(entry.gap.start);
            let others: Vec<_> = self.lines(section, key).into_iter().filter(|line| *line != own).collect();
            if !others.is_empty() {
                let may_accumulate = self.dialect.is_multi_valued();
                notes.push(Note::Duplicate { place: place.clone(), others, may_accumulate });
            }
            if let Some(splice) = self.replacement(&place, entry, &value)? {
                splices.push(splice);
                if entry.trailing_comment {
                    notes.push(Note::TrailingComment { place: place.clone() });
                }
                if entry.exported {
                    notes.push(Note::Exported { place: place.clone() });
                }
            }
        } else if let Some(slot) = slot {
            let raw = self.encoded(&place, &value, &slot.style)?;
            self.check_slot(&place, &slot)?;
            splices.push(self.insertion(&slot, key, &[raw]));
        }
        self.commit(&place, splices, Wanted::Counts(&value))?;
        Ok(notes)
    }

    /// Gives `key` exactly these values, one line each, in this order; none of them is the same as
    /// [`Document::unset`]. Lines that have their value already stay as they are.
    ///
    /// More than one value only where keys may repeat ([`crate::Dialect::is_multi_valued`]); in the other dialects one
    /// value is the same as [`Document::set`]. An empty text first in a systemd unit resets what earlier files set.
    pub fn set_all(
        &mut self,
        section: Option<&str>,
        key: &str,
        values: &[Value],
    ) -> Result<Vec<Note>, EditError> {
        let mut place = self.checked_place(section, key)?;
        match values {
            [] => return self.unset(section, key),
            [only] if !self.dialect.is_multi_valued() => return self.set(section, key, only.clone()),
            _ if !self.dialect.is_multi_valued() => {
                return Err(EditError::NotMultiValued { place, dialect: self.dialect });
            }
            _ => {}
        }
        let values = values.iter().map(|v| self.normalised(&place, v)).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<_> = self.occurrences(section, key).collect();
        let mut splices = Vec::new();
        for (value, (_, entry)) in values.iter().zip(&all) {
            place.line = Some(self.line_of(entry.gap.start));
            splices.extend(self.replacement(&place, entry, value)?);
        }
        for (item, _) in all.iter().skip(values.len()) {
            splices.push(self.removal(&place, item)?);
        }
        if let Some(more) = values.get(all.len()..).filter(|more| !more.is_empty()) {
            let slot = match all.last() {
                Some((item, entry)) => self.slot_after(item, &entry.gap, &entry.style),
                None => self.slot(section, key),
            };
            place.line = Some(self.insertion_line(&slot));
            let raws = more
                .iter()
                .map(|value| self.encoded(&place, value, &slot.style))
                .collect::<Result<Vec<_>, _>>()?;
            self.check_slot(&place, &slot)?;
            splices.push(self.insertion(&slot, key, &raws));
        }
        self.commit(&place, splices, Wanted::Exactly(&values))?;
        Ok(Vec::new())
    }

    /// Removes every occurrence of `key`. Its commented-out default stays, and so does a section left empty.
    pub fn unset(&mut self, section: Option<&str>, key: &str) -> Result<Vec<Note>, EditError> {
        let mut place = self.checked_place(section, key)?;
        let mut splices = Vec::new();
        for (item, entry) in self.occurrences(section, key) {
            place.line = Some(self.line_of(entry.gap.start));
            splices.push(self.removal(&place, item)?);
        }
        self.commit(&place, splices, Wanted::Exactly(&[]))?;
        Ok(Vec::new())
    }

    /// Puts `#` before every occurrence of `key`, on each line of its value.
    pub fn comment_out(&mut self, section: Option<&str>, key: &str) -> Result<Vec<Note>, EditError> {
        let mut place = self.checked_place(section, key)?;
        let mut splices = Vec::new();
        for (item, entry) in self.occurrences(section, key) {
            place.line = Some(self.line_of(entry.gap.start));
            self.check_own_lines(&place, item)?;
            let mut at = item.span.start;
            while at < item.span.end {
                let line = text::line_at(&self.source, at);
                let content = line.of(&self.source);
                // The mark goes right before the key, so that the line is known for a commented default later.
                let indent = if at == item.span.start { text::blanks(content) } else { 0 };
                if !text::trim(content).is_empty() {
                    splices.push(Splice { range: at + indent..at + indent, with: b"#".to_vec() });
                }
                at = line.next;
            }
        }
        self.commit(&place, splices, Wanted::Exactly(&[]))?;
        Ok(Vec::new())
    }

    fn checked_place(&self, section: Option<&str>, key: &str) -> Result<Place, EditError> {
        let place = Place { section: section.map(str::to_owned), key: key.to_owned(), line: None };
        let dialect = self.dialect;
        match section {
            None if dialect.has_sections() => return Err(EditError::SectionNeeded { place, dialect }),
            Some(_) if !dialect.has_sections() => return Err(EditError::SectionForbidden { place, dialect }),
            Some(name) => {
                if let Err(why) = ini::check_section(name) {
                    return Err(EditError::BadSection { place, dialect, why });
                }
            }
            None => {}
        }
        match dialect.check_key(key) {
            Ok(()) => Ok(place),
            Err(why) => Err(EditError::BadKey { place, dialect, why }),
        }
    }

    fn refused(&self, place: &Place, refusal: Refusal) -> EditError {
        let Refusal { why, remedy } = refusal;
        EditError::BadValue { place: place.clone(), dialect: self.dialect, why, remedy }
    }

    fn normalised(&self, place: &Place, value: &Value) -> Result<Value, EditError> {
        self.dialect.normalise(value).map_err(|refusal| self.refused(place, refusal))
    }

    fn encoded(
        &self,
        place: &Place,
        value: &Value,
        style: &crate::document::Style,
    ) -> Result<Vec<u8>, EditError> {
        self.dialect.encode(value, style).map_err(|refusal| self.refused(place, refusal))
    }

    /// Text and list may stand for each other (`virConfGetValueStringList` takes both); numbers for neither.
    fn check_type(
        &self,
        section: Option<&str>,
        key: &str,
        place: &Place,
        value: &Value,
    ) -> Result<(), EditError> {
        let Some((default, default_line)) = self.documented(section, key) else { return Ok(()) };
        match (default, value) {
            (Value::Integer(_), Value::Integer(_))
            | (Value::Text(_) | Value::List(_), Value::Text(_) | Value::List(_)) => Ok(()),
            (Value::Integer(_), Value::Text(_) | Value::List(_))
            | (Value::Text(_) | Value::List(_), Value::Integer(_)) => Err(EditError::WrongType {
                place: place.clone(),
                default_line,
                documented: default.kind(),
                given: value.kind(),
            }),
        }
    }

    /// The splice that gives an entry another value; none if it has it already.
    fn replacement(&self, place: &Place, entry: &Entry, value: &Value) -> Result<Option<Splice>, EditError> {
        if entry.found.value() == Some(value) {
            return Ok(None);
        }
        let in_list =
            libvirt::rewrite_list(&self.source, entry, value).map_err(|r| self.refused(place, r))?;
        if in_list.is_some() {
            return Ok(in_list);
        }
        let mut with = self.encoded(place, value, &entry.style)?;
        let gap = &self.source[entry.gap.clone()];
        let before = text::blanks(gap);
        if entry.raw.is_empty() && before > 0 && !gap.last().is_some_and(|b| text::is_blank(*b)) {
            // `key =` becomes `key = value`.
            with.splice(..0, gap[..before].iter().copied());
        }
        Ok(Some(Splice { range: entry.raw.clone(), with }))
    }

    /// New lines go between whole lines only. Lone carriage returns get in the way: a newline after one would make the
    /// two one line ending.
    fn check_slot(&self, place: &Place, slot: &Slot) -> Result<(), EditError> {
        let at_end = slot.at == self.source.len() && !self.source.ends_with(b"\r");
        if at_end || self.starts_line(slot.at) {
            Ok(())
        } else {
            Err(EditError::Disturbs { place: place.clone() })
        }
    }

    fn removal(&self, place: &Place, item: &Item) -> Result<Splice, EditError> {
        self.check_own_lines(place, item)?;
        Ok(Splice { range: item.span.clone(), with: Vec::new() })
    }

    fn check_own_lines(&self, place: &Place, item: &Item) -> Result<(), EditError> {
        let starts =
            item.span.start == text::bom_len(&self.source) || self.source[item.span.start - 1] == b'\n';
        let ends = item.span.end == self.source.len() || self.source[item.span.end - 1] == b'\n';
        if starts && ends { Ok(()) } else { Err(EditError::SharedLine { place: place.clone() }) }
    }

    /// Makes the change, reads the result, and keeps it only if the key is as wanted and all else is as it was.
    fn commit(&mut self, place: &Place, splices: Vec<Splice>, wanted: Wanted<'_>) -> Result<(), EditError> {
        if splices.is_empty() {
            return Ok(());
        }
        let cuts_end = splices.iter().any(|s| s.with.is_empty() && s.range.end == self.source.len());
        let mut bytes = text::spliced(&self.source, splices);
        if cuts_end && !self.source.ends_with(b"\n") && bytes.ends_with(b"\n") {
            // The last line went, and with it the lack of a final newline: the line before takes that over.
            bytes.truncate(bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { 1 });
        }
        let after = Self::parse(self.dialect, &bytes);
        let section = place.section.as_deref();
        let fits = match wanted {
            Wanted::Counts(value) => after.get(section, &place.key).and_then(Found::value) == Some(value),
            Wanted::Exactly(values) => {
                let found = after.occurrences(section, &place.key).map(|(_, entry)| entry.found.value());
                found.eq(values.iter().map(Some))
            }
        };
        if !fits || self.others(place) != after.others(place) {
            return Err(EditError::Disturbs { place: place.clone() });
        }
        *self = after;
        Ok(())
    }

    /// Everything in the file that means something, except the key edited.
    fn others(&self, place: &Place) -> Vec<Meant<'_>> {
        let section = place.section.as_deref();
        self.items
            .iter()
            .filter_map(|item| match &item.kind {
                Kind::Entry(entry)
                    if self.dialect.same_key(&entry.key, &place.key) && self.in_section(item, section) =>
                {
                    None
                }
                Kind::Entry(entry) => Some(Meant::Setting(item.section.as_deref(), &entry.key, &entry.found)),
                Kind::Opaque => {
                    Some(Meant::Unknown(item.section.as_deref(), trimmed(&self.source[item.span.clone()])))
                }
                Kind::Mark | Kind::Blank | Kind::Comment(_) | Kind::Section => None,
            })
            .collect()
    }
}

/// Without the terminator: an edit may give a last line the newline it lacked.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
