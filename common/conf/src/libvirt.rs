//! libvirtd.conf, qemu.conf and their like: the grammar of libvirt's `src/util/virconf.c`.
//!
//! Statements, not lines: a list and a `"""` string run over several lines, `;` parts statements on one line. One
//! syntax error makes libvirt refuse the whole file; here it costs the line it stands on, and is reported.

use std::ops::Range;

use crate::dialect::Refusal;
use crate::document::{Entry, Hint, Kind, Parsed, Style};
use crate::error::Reason;
use crate::text::{self, Splice};
use crate::value::{Found, Value};

/// Lists in lists; the files in the field have none.
const MAX_DEPTH: usize = 16;
/// Lines of one commented-out list.
const MAX_HINT_LINES: usize = 256;

const TRIPLE: &[u8] = b"\"\"\"";

fn is_eol(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// A scanner at an offset of a source.
struct Cursor<'a> {
    source: &'a [u8],
    at: usize,
}

/// A value, and the extents of its elements if it is a list.
struct Scanned {
    found: Found,
    elements: Vec<Range<usize>>,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        self.skip(text::is_blank);
    }

    fn skip_blanks_and_eol(&mut self) {
        self.skip(|b| text::is_blank(b) || is_eol(b));
    }

    /// `virConfParseName`: a letter, then letters, digits and underscores.
    fn name(&mut self) -> Result<Range<usize>, Reason> {
        let start = self.at;
        match self.peek() {
            Some(first) if first.is_ascii_alphabetic() => {}
            Some(b'=') => return Err(Reason::BadKey),
            Some(_) | None => return Err(Reason::NotAnAssignment),
        }
        self.skip(|b| b.is_ascii_alphanumeric() || b == b'_');
        Ok(start..self.at)
    }

    /// `virConfParseValue`.
    fn value(&mut self, depth: usize) -> Result<Scanned, Reason> {
        self.skip_blanks();
        match self.peek() {
            Some(b'"' | b'\'') => Ok(Scanned { found: self.string()?, elements: Vec::new() }),
            Some(b'[') => self.list(depth),
            Some(b'0'..=b'9' | b'-' | b'+') => Ok(Scanned { found: self.number()?, elements: Vec::new() }),
            Some(_) | None => Err(Reason::BadValue),
        }
    }

    fn string(&mut self) -> Result<Found, Reason> {
        let rest = &self.source[self.at..];
        // Six bytes more than the cursor must follow for libvirt to see a triple quote.
        if rest.starts_with(TRIPLE) && rest.len() > 6 {
            let inside = &rest[3..];
            let length = inside.windows(3).position(|w| w == TRIPLE).ok_or(Reason::Unterminated)?;
            self.at += length + 6;
            return Ok(Found::from_bytes(inside[..length].to_vec()));
        }
        let (quote, inside) = rest.split_first().ok_or(Reason::BadValue)?;
        let length = inside.iter().position(|b| b == quote || is_eol(*b)).ok_or(Reason::Unterminated)?;
        if inside[length] != *quote {
            return Err(Reason::Unterminated);
        }
        self.at += length + 2;
        Ok(Found::from_bytes(inside[..length].to_vec()))
    }

    fn number(&mut self) -> Result<Found, Reason> {
        let start = self.at;
        self.skip(|b| matches!(b, b'-' | b'+'));
        let sign = self.at - start;
        self.skip(|b| b.is_ascii_digit());
        if sign > 1 || self.at == start + sign {
            return Err(Reason::BadValue);
        }
        let number = std::str::from_utf8(&self.source[start..self.at])
            .ok()
            .and_then(|digits| digits.parse::<i64>().ok())
            .ok_or(Reason::BadValue)?;
        Ok(Found::Value(Value::Integer(number)))
    }

    /// `[ value, value, … ]`, a last comma allowed, line ends anywhere between; no comments inside.
    fn list(&mut self, depth: usize) -> Result<Scanned, Reason> {
        if depth == MAX_DEPTH {
            return Err(Reason::BadValue);
        }
        self.at += 1;
        let mut values = Vec::new();
        let mut odd = false;
        let mut elements = Vec::new();
        self.skip_blanks_and_eol();
        while self.peek().ok_or(Reason::Unterminated)? != b']' {
            if !elements.is_empty() {
                if self.peek() != Some(b',') {
                    return Err(Reason::BadValue);
                }
                self.at += 1;
                self.skip_blanks_and_eol();
                if self.peek() == Some(b']') {
                    break;
                }
            }
            self.skip_blanks();
            let start = self.at;
            match self.value(depth + 1)?.found {
                Found::Value(value) => values.push(value),
                Found::NotText(_) | Found::Computed(_) => odd = true,
            }
            elements.push(start..self.at);
            self.skip_blanks_and_eol();
        }
        self.at += 1;
        // One element that is not text makes the list one that cannot be told.
        let found = if odd { Found::NotText(Vec::new()) } else { Found::Value(Value::List(values)) };
        Ok(Scanned { found, elements })
    }

    /// `name = value`, up to the value's end.
    fn assignment(&mut self) -> Result<Entry, Reason> {
        let key = self.name()?;
        self.skip_blanks();
        if self.peek() != Some(b'=') {
            return Err(Reason::NotAnAssignment);
        }
        self.at += 1;
        self.skip_blanks();
        let raw = self.at;
        let mut found = self.value(0)?.found;
        if matches!(&found, Found::NotText(bytes) if bytes.is_empty()) {
            found = Found::NotText(self.source[raw..self.at].to_vec());
        }
        let quote = self.source.get(raw).copied().filter(|b| matches!(b, b'"' | b'\''));
        Ok(Entry {
            key: self.source[key.clone()].to_vec(),
            gap: key.end..raw,
            raw: raw..self.at,
            found,
            style: Style { quote, ..Style::default() },
            trailing_comment: false,
            exported: false,
        })
    }

    /// What may follow a value: a comment, then the end of the line, or `;`.
    fn separator(&mut self) -> Result<(), Reason> {
        self.skip_blanks();
        if self.peek() == Some(b'#') {
            self.skip(|b| !is_eol(b));
        }
        match self.peek() {
            None => {}
            Some(b';') => {
                self.at += 1;
                self.skip_blanks();
                self.end_of_line();
            }
            Some(byte) if is_eol(byte) => self.end_of_line(),
            Some(_) => return Err(Reason::TrailingText),
        }
        Ok(())
    }

    /// Over one line terminator, if it is next.
    fn end_of_line(&mut self) {
        if self.peek() == Some(b'\r') {
            self.at += 1;
        }
        if self.peek() == Some(b'\n') {
            self.at += 1;
        }
    }
}

pub(crate) fn parse(source: &[u8]) -> Parsed {
    let mut parsed = Parsed::begin(source);
    let mut cursor = Cursor { source, at: text::bom_len(source) };
    while let Some(first) = cursor.peek() {
        let start = cursor.at;
        let line = text::line_at(source, start);
        cursor.skip_blanks();
        match cursor.peek() {
            None => parsed.push(start..cursor.at, None, Kind::Blank),
            Some(byte) if is_eol(byte) => {
                cursor.end_of_line();
                parsed.push(start..cursor.at, None, Kind::Blank);
            }
            Some(b'#') => {
                let hint = if first == b'#' { hint(source, start) } else { None };
                cursor.at = match &hint {
                    Some((_, end)) => *end,
                    None => {
                        cursor.skip(|b| !is_eol(b));
                        cursor.end_of_line();
                        cursor.at
                    }
                };
                parsed.push(start..cursor.at, None, Kind::Comment(hint.map(|(hint, _)| hint)));
            }
            Some(_) => {
                let entry = cursor.assignment().and_then(|entry| cursor.separator().map(|()| entry));
                match entry {
                    Ok(mut entry) => {
                        entry.style.crlf = line.next - line.end == 2;
                        parsed.push(start..cursor.at, None, Kind::Entry(entry));
                    }
                    Err(reason) => {
                        // Everything after an open triple quote is inside it.
                        let open = reason == Reason::Unterminated
                            && line.of(source).windows(TRIPLE.len()).any(|w| w == TRIPLE);
                        cursor.at = if open { source.len() } else { line.next };
                        parsed.opaque(start..cursor.at, None, reason);
                    }
                }
            }
        }
    }
    parsed
}

/// A commented-out setting at `start`, which may be a list over several commented lines, and the offset after it.
fn hint(source: &[u8], start: usize) -> Option<(Hint, usize)> {
    let first = text::line_at(source, start);
    // libvirt ends a comment at a lone carriage return too.
    let whole = |line: &text::Line| !line.of(source).contains(&b'\r');
    if !whole(&first) {
        return None;
    }
    let tight = !source.get(start + 1).is_some_and(|b| text::is_blank(*b));
    let setting = start + if tight { 1 } else { 2 };
    if !source.get(setting).is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    // Only a list goes on over lines, and only then are further comment lines looked at.
    let opens_list = source[setting..first.end].contains(&b'[');
    let mut ends = vec![first.next];
    let mut body = source[setting..first.end].to_vec();
    body.push(b'\n');
    while opens_list && ends.len() < MAX_HINT_LINES {
        let line = text::line_at(source, ends[ends.len() - 1]);
        let Some((b'#', rest)) = line.of(source).split_first().filter(|_| whole(&line)) else { break };
        body.extend_from_slice(rest);
        body.push(b'\n');
        ends.push(line.next);
    }
    let mut cursor = Cursor { source: &body, at: 0 };
    let entry = cursor.assignment().ok()?;
    cursor.separator().ok()?;
    let lines = body[..entry.raw.end].iter().filter(|b| **b == b'\n').count();
    let hint = Hint {
        gap: body[entry.gap].to_vec(),
        key: entry.key,
        tight,
        prefix: b"",
        style: Style { crlf: first.next - first.end == 2, ..entry.style },
        default: entry.found.value().cloned(),
    };
    Some((hint, ends[lines]))
}

pub(crate) fn encode(value: &Value, style: &Style) -> Result<Vec<u8>, Refusal> {
    match value {
        Value::Text(text) => encode_text(text, style.quote),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::List(items) if items.is_empty() => Ok(b"[]".to_vec()),
        Value::List(items) => Ok([&b"[ "[..], &encode_elements(items)?, b" ]"].concat()),
    }
}

fn encode_elements(items: &[Value]) -> Result<Vec<u8>, Refusal> {
    let encoded: Result<Vec<_>, _> = items
        .iter()
        .map(|item| match item {
            Value::Text(text) => encode_text(text, None),
            Value::Integer(number) => Ok(number.to_string().into_bytes()),
            Value::List(_) => Err(Refusal { why: "it is a list in a list", remedy: "give a flat list" }),
        })
        .collect();
    Ok(encoded?.join(&b", "[..]))
}

/// As `virConfSaveValue` writes strings: the quote that the text does not hold, else triple quotes; there are no
/// escapes.
fn encode_text(value: &str, quote: Option<u8>) -> Result<Vec<u8>, Refusal> {
    if value.contains(['\r', '\0']) {
        return Err(Refusal {
            why: "it has a carriage return or NUL, which libvirt cannot keep",
            remedy: "remove that character",
        });
    }
    let one_line = !value.contains('\n');
    let wrapped = |with: &[u8]| Ok([with, value.as_bytes(), with].concat());
    match (value.contains('"'), value.contains('\'')) {
        (_, false) if one_line && quote == Some(b'\'') => wrapped(b"'"),
        (false, _) if one_line => wrapped(b"\""),
        (true, false) if one_line => wrapped(b"'"),
        (false | true, _) => {
            if value.contains("\"\"\"") || value.ends_with('"') {
                return Err(Refusal {
                    why: "it needs triple quotes and holds them, or ends in a double quote",
                    remedy: "leave out the double quotes: libvirt has no escape for them",
                });
            }
            wrapped(TRIPLE)
        }
    }
}

/// Changes the elements of a list that differ and leaves its layout; none where the whole value has to be written.
pub(crate) fn rewrite_list(source: &[u8], entry: &Entry, wanted: &Value) -> Result<Option<Splice>, Refusal> {
    let (Found::Value(Value::List(old)), Value::List(new)) = (&entry.found, wanted) else { return Ok(None) };
    let mut cursor = Cursor { source, at: entry.raw.start };
    let Ok(Scanned { elements, .. }) = cursor.value(0) else { return Ok(None) };
    if elements.is_empty() || new.is_empty() || elements.len() != old.len() {
        return Ok(None);
    }
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let gone = &elements[head..elements.len() - tail];
    let added = encode_elements(&new[head..new.len() - tail])?;
    let splice = match (gone.first(), gone.last()) {
        (Some(first), Some(last)) if !added.is_empty() => {
            Splice { range: first.start..last.end, with: added }
        }
        (Some(first), Some(last)) => {
            // Dropped together with the comma before them, or after them at the list's start.
            let range = if head > 0 {
                elements[head - 1].end..last.end
            } else {
                first.start..elements[gone.len()].start
            };
            Splice { range, with: Vec::new() }
        }
        (None, _) | (_, None) if head > 0 => {
            let at = elements[head - 1].end;
            Splice { range: at..at, with: [&b", "[..], &added].concat() }
        }
        (None, _) | (_, None) => {
            let at = elements[0].start;
            Splice { range: at..at, with: [&added[..], b", "].concat() }
        }
    };
    Ok(Some(splice))
}

pub(crate) fn check_key(key: &str) -> Result<(), &'static str> {
    let mut bytes = key.bytes();
    match bytes.next() {
        None => Err("it is empty"),
        Some(first) if !first.is_ascii_alphabetic() => Err("it does not begin with a letter"),
        Some(_) if bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') => Ok(()),
        Some(_) => Err("a name is letters, digits and underscores"),
    }
}
