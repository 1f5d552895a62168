//! ceph.conf: `ConfUtils.cc`, which was written anew in Octopus. Lines that the two readers take differently are kept and reported.
//!
//! Both agree that the last of several occurrences counts, over all sections of one name; that `#` and `;` begin a comment anywhere; that a backslash escapes the
//! next character, and the end of the line when it is the last; that the section's and the value's indentation means nothing; and that the white space in a
//! key stands for underscores (`normalize_key_name`). A hyphen stands for itself: only the command line takes it for an underscore (`ceph_argparse.cc`), and a hyphened key in the
//! file is read by nobody.

use super::{Section, check_characters, entry, has_stray_control, hint, split, style_of};
use crate::dialect::Refusal;
use crate::document::{Kind, Parsed, Style};
use crate::error::Reason;
use crate::text::{self, Line};
use crate::value::Found;

/// Whether two spellings are one key.
pub(crate) fn same_key(one: &[u8], other: &[u8]) -> bool {
    normalised(one) == normalised(other)
}

/// Without white space at its ends; inside, each run of it is one underscore.
fn normalised(key: &[u8]) -> Vec<u8> {
    let words = key.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b'_')
}

pub(crate) fn parse(source: &[u8]) -> Parsed {
    let mut parsed = Parsed::begin(source);
    let mut section: Section = None;
    let lines = text::lines(source, text::bom_len(source));
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let content = line.of(source);
        let kept = text::trim(content);
        if matches!(kept.first(), Some(b'#' | b';')) {
            at += 1;
            let swallows = content.ends_with(b"\\");
            if swallows {
                parsed.problems.push((line.start, Reason::CommentSwallowsNext));
            }
            let hint = if swallows { None } else { hint(kept, b"=", is_crlf(line), false) };
            parsed.push(line.start..line.next, section.as_ref(), Kind::Comment(hint));
            continue;
        }
        if kept.is_empty() {
            at += 1;
            parsed.push(line.start..line.next, section.as_ref(), Kind::Blank);
            continue;
        }
        let count = 1 + lines[at..].iter().take_while(|line| line.of(source).ends_with(b"\\")).count();
        let logical = &lines[at..lines.len().min(at + count)];
        at += logical.len();
        let span = line.start..logical[logical.len() - 1].next;
        let doubt = doubt(source, logical);
        if kept[0] == b'[' {
            let name = section_name(kept).filter(|_| doubt.is_none() && logical.len() == 1);
            section = name.map(Into::into);
            match section {
                Some(_) => parsed.push(span, section.as_ref(), Kind::Section),
                None => parsed.opaque(span, None, doubt.unwrap_or(Reason::BadSection)),
            }
            continue;
        }
        match doubt.map_or_else(|| setting(source, logical), Err) {
            Err(reason) => parsed.opaque(span, section.as_ref(), reason),
            // Before Octopus it is in [global]; from there on nothing of such a file is read.
            Ok(_) if section.is_none() => parsed.opaque(span, None, Reason::OutsideSection),
            Ok(kind) => parsed.push(span, section.as_ref(), kind),
        }
    }
    parsed
}

fn is_crlf(line: &Line) -> bool {
    line.next - line.end == 2
}

/// Why the readers take these lines differently, or not at all, whatever stands in them.
fn doubt(source: &[u8], logical: &[Line]) -> Option<Reason> {
    let last = &logical[logical.len() - 1];
    let odd = |b: &u8| b.is_ascii_control() && *b != b'\t';
    for line in logical {
        let content = line.of(source);
        if has_stray_control(content) || content.iter().any(odd) || std::str::from_utf8(content).is_err() {
            return Some(Reason::StrayControl);
        }
        // Two backslashes at the end are one before Octopus, and the line goes on; from there on it does not. So it is with a carriage return after one.
        if content.ends_with(b"\\\\") || content.ends_with(b"\\") && is_crlf(line) {
            return Some(Reason::ReadersDisagree);
        }
    }
    if last.of(source).ends_with(b"\\") {
        return Some(Reason::Unterminated);
    }
    (last.next == last.end).then_some(Reason::NoFinalNewline)
}

/// The name in `[name]`, which only blanks and a comment may follow. Blanks at its ends are taken off before Octopus only.
fn section_name(kept: &[u8]) -> Option<&[u8]> {
    let close = kept.iter().position(|b| *b == b']')?;
    let rest = text::trim(&kept[close + 1..]);
    let name = &kept[1..close];
    let clean = matches!(rest.first(), None | Some(b'#' | b';'));
    let plain = text::trim(name) == name && !name.iter().any(|b| matches!(b, b'#' | b';' | b'\\' | b'\t'));
    let single = !name.windows(2).any(|pair| pair == b"  ");
    (!name.is_empty() && clean && plain && single).then_some(name)
}

fn setting(source: &[u8], logical: &[Line]) -> Result<Kind, Reason> {
    let first = &logical[0];
    let (key, gap) = split(first.of(source), first.start, b"=").ok_or(Reason::NotAnAssignment)?;
    let name = &source[key.clone()];
    if name.is_empty() || name.iter().any(|b| matches!(b, b'#' | b';' | b'\\' | b'[' | b']')) {
        return Err(Reason::BadKey);
    }
    let mut written: Vec<(u8, usize)> = Vec::new();
    for (number, line) in logical.iter().enumerate() {
        let start = if number == 0 { gap.end } else { line.start };
        let end = if number + 1 == logical.len() { line.end } else { line.end - 1 };
        written.extend((start..end).map(|at| (source[at], at)));
    }
    let scanned = scan(&written)?;
    let in_last = scanned.comment.is_none_or(|at| at >= logical[logical.len() - 1].start);
    if !in_last {
        return Err(Reason::ReadersDisagree);
    }
    let raw = gap.end..scanned.end.unwrap_or(gap.end);
    let found = if scanned.disagree {
        Found::Computed(String::from_utf8_lossy(&source[raw.clone()]).into_owned())
    } else {
        Found::from_bytes(scanned.value)
    };
    Ok(entry(source, key, gap, raw, found, style_of(first, scanned.quote, b"")))
}

#[derive(Default)]
struct Scanned {
    value: Vec<u8>,
    quote: Option<u8>,
    /// Offset just past the last byte of the value; `None`: it is empty.
    end: Option<usize>,
    /// Where a comment begins.
    comment: Option<usize>,
    disagree: bool,
}

/// The value in `written`, bytes with their offsets.
fn scan(written: &[(u8, usize)]) -> Result<Scanned, Reason> {
    let begins = written.iter().position(|(b, _)| !text::is_blank(*b)).unwrap_or(written.len());
    let mut rest = written[begins..].iter().copied();
    // Quotes of this kind are the value's own before Octopus.
    let disagree = matches!(rest.clone().next(), Some((b'\'', _)));
    let mut scanned = Scanned { disagree, ..Scanned::default() };
    if matches!(rest.clone().next(), Some((b'"', _))) {
        rest.next();
        scanned.quote = Some(b'"');
        loop {
            match rest.next().ok_or(Reason::Unterminated)? {
                (b'"', at) => {
                    scanned.end = Some(at + 1);
                    break;
                }
                (b'\\', _) => scanned.value.push(rest.next().ok_or(Reason::Unterminated)?.0),
                // Inside quotes a comment mark ends the value from Octopus on.
                (b, _) => {
                    scanned.disagree |= matches!(b, b'#' | b';');
                    scanned.value.push(b);
                }
            }
        }
        // White space inside the quotes is dropped from Octopus on.
        scanned.disagree |= text::trim(&scanned.value).len() != scanned.value.len();
        return match rest.find(|(b, _)| !text::is_blank(*b)) {
            None => Ok(scanned),
            Some((b'#' | b';', at)) => Ok(Scanned { comment: Some(at), ..scanned }),
            Some(_) => Err(Reason::TrailingText),
        };
    }
    while let Some((b, at)) = rest.next() {
        match b {
            b'#' | b';' => {
                scanned.comment = Some(at);
                break;
            }
            b'\\' => {
                let (escaped, at) = rest.next().ok_or(Reason::Unterminated)?;
                scanned.value.push(escaped);
                scanned.end = Some(at + 1);
            }
            _ => {
                scanned.value.push(b);
                if !text::is_blank(b) {
                    scanned.end = Some(at + 1);
                }
            }
        }
    }
    scanned.value.truncate(text::trim_end(&scanned.value).len());
    Ok(scanned)
}

pub(crate) fn encode(value: &str, style: &Style) -> Result<Vec<u8>, Refusal> {
    check_characters(value)?;
    if value.contains(|c: char| c.is_ascii_control() && c != '\t') {
        return Err(Refusal {
            why: "it has a newline or another control character, and a value of ceph.conf is one line",
            remedy: "put the whole value on one line",
        });
    }
    if text::trim(value.as_bytes()).len() != value.len() {
        return Err(Refusal {
            why: "it begins or ends with white space, which Ceph drops",
            remedy: "remove the white space",
        });
    }
    if value.ends_with('\\') {
        return Err(Refusal {
            why: "it ends in a backslash, which joins the next line to it before Octopus",
            remedy: "remove the backslash",
        });
    }
    let quote = style.quote.filter(|quote| *quote == b'"');
    let mut raw: Vec<u8> = quote.into_iter().collect();
    for (at, byte) in value.bytes().enumerate() {
        let opens = at == 0 && matches!(byte, b'"' | b'\'');
        if matches!(byte, b'#' | b';' | b'\\') || opens || byte == b'"' && quote.is_some() {
            raw.push(b'\\');
        }
        raw.push(byte);
    }
    raw.extend(quote);
    Ok(raw)
}

pub(crate) fn check_key(key: &str) -> Result<(), &'static str> {
    super::check_key(key, &['='])?;
    if key.contains(['#', ';', '[', ']']) {
        return Err("it contains a bracket or a mark that begins a comment");
    }
    Ok(())
}
