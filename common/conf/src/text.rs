//! Lines, trimming and splicing of raw bytes.

use std::ops::Range;

/// The UTF-8 byte order mark.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// One physical line: `start..end` is its content, `end..next` its terminator (LF, CRLF, or none at the end of input).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: usize,
}

impl Line {
    pub(crate) fn of<'a>(&self, source: &'a [u8]) -> &'a [u8] {
        &source[self.start..self.end]
    }
}

/// The line that starts at `start`.
pub(crate) fn line_at(source: &[u8], start: usize) -> Line {
    match source[start..].iter().position(|&b| b == b'\n') {
        Some(length) => {
            let lf = start + length;
            let end = if lf > start && source[lf - 1] == b'\r' { lf - 1 } else { lf };
            Line { start, end, next: lf + 1 }
        }
        None => Line { start, end: source.len(), next: source.len() },
    }
}

/// All lines from `from` on; none for an empty rest.
pub(crate) fn lines(source: &[u8], from: usize) -> Vec<Line> {
    let mut all = Vec::new();
    let mut at = from;
    while at < source.len() {
        let line = line_at(source, at);
        at = line.next;
        all.push(line);
    }
    all
}

/// How long the byte order mark at the start is: 0 or 3.
pub(crate) fn bom_len(source: &[u8]) -> usize {
    if source.starts_with(BOM) { BOM.len() } else { 0 }
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Number of spaces and tabs that `bytes` begins with.
pub(crate) fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| is_blank(**b)).count()
}

/// `bytes` without spaces and tabs at its end.
pub(crate) fn trim_end(bytes: &[u8]) -> &[u8] {
    let kept = bytes.iter().rposition(|b| !is_blank(*b)).map_or(0, |at| at + 1);
    &bytes[..kept]
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let kept = trim_end(bytes);
    &kept[blanks(kept)..]
}

/// Whether the line ends in an odd number of backslashes, so that the last one escapes the end of the line.
pub(crate) fn ends_escaped(content: &[u8]) -> bool {
    content.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

/// The line ending to use for a line inserted at `at`: that of the line before, else of the first line, else LF.
pub(crate) fn eol_near(source: &[u8], at: usize) -> &'static [u8] {
    let crlf = |lf: usize| lf > 0 && source[lf - 1] == b'\r';
    let before = source[..at].iter().rposition(|&b| b == b'\n');
    match before.or_else(|| source.iter().position(|&b| b == b'\n')) {
        Some(lf) if crlf(lf) => b"\r\n",
        Some(_) | None => b"\n",
    }
}

/// A replacement of `range` by `with`.
#[derive(Clone, Debug)]
pub(crate) struct Splice {
    pub(crate) range: Range<usize>,
    pub(crate) with: Vec<u8>,
}

/// Applies splices that do not overlap; those at one offset keep their order.
pub(crate) fn spliced(source: &[u8], mut splices: Vec<Splice>) -> Vec<u8> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let mut out = Vec::with_capacity(source.len() + splices.iter().map(|s| s.with.len()).sum::<usize>());
    let mut at = 0;
    for splice in splices {
        debug_assert!(at <= splice.range.start, "splices overlap");
        out.extend_from_slice(&source[at..splice.range.start]);
        out.extend_from_slice(&splice.with);
        at = splice.range.end;
    }
    out.extend_from_slice(&source[at..]);
    out
}

/// A line for people: UTF-8 as it is, control characters and other bytes as `\xNN`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\t' {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}
