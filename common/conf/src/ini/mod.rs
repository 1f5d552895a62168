//! INI as oslo.config, systemd, yum/dnf and Ceph read it. A file each, because the readers agree on little; what they
//! share is here.

mod ceph;
mod dnf;
mod oslo;
mod systemd;

pub(crate) use ceph::{
    check_key as check_ceph_key, encode as encode_ceph, parse as parse_ceph, same_key as same_ceph_key,
};
pub(crate) use dnf::{encode as encode_dnf, parse as parse_dnf};
pub(crate) use oslo::{encode as encode_oslo, parse as parse_oslo};
pub(crate) use systemd::{encode as encode_systemd, parse as parse_systemd};

use std::ops::Range;
use std::sync::Arc;

use crate::dialect::Refusal;
use crate::document::{Entry, Hint, Kind, Style};
use crate::text::{self, Line};
use crate::value::Found;

type Section = Option<Arc<[u8]>>;

/// Whether readers would cut the line elsewhere than at its LF: Python ends lines at a lone CR, systemd also at NUL.
fn has_stray_control(content: &[u8]) -> bool {
    content.iter().any(|b| matches!(b, b'\r' | b'\0'))
}

/// The key, gap and start of the value in `content` (which starts at `base` in the source), cut at the first of
/// `separators`. None without a separator.
fn split(content: &[u8], base: usize, separators: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let at = content.iter().position(|b| separators.contains(b))?;
    let indent = text::blanks(content);
    let key_end = text::trim_end(&content[..at]).len().max(indent.min(at));
    let raw = at + 1 + text::blanks(&content[at + 1..]);
    Some((base + indent.min(at)..base + key_end, base + key_end..base + raw))
}

/// A commented-out setting: `#key = value`, `;key=value`, or with one space after the mark.
fn hint(comment: &[u8], separators: &[u8], crlf: bool, quoted: bool) -> Option<Hint> {
    let after = comment.get(1..)?;
    let tight = !after.first().is_some_and(|b| text::is_blank(*b));
    let setting = if tight { after } else { &after[1..] };
    let (key, gap) = split(setting, 0, separators)?;
    let name = &setting[key];
    if name.is_empty() || text::blanks(setting) > 0 || name.iter().any(|b| text::is_blank(*b)) {
        return None;
    }
    let quote = if quoted { quote_of(text::trim_end(&setting[gap.end..])) } else { None };
    Some(Hint {
        key: name.to_vec(),
        tight,
        prefix: b"",
        gap: setting[gap].to_vec(),
        style: Style { quote, indent: Vec::new(), crlf },
        default: None,
    })
}

fn style_of(line: &Line, quote: Option<u8>, indent: &[u8]) -> Style {
    Style { quote, indent: indent.to_vec(), crlf: line.next - line.end == 2 }
}

fn entry(
    source: &[u8],
    key: Range<usize>,
    gap: Range<usize>,
    raw: Range<usize>,
    found: Found,
    style: Style,
) -> Kind {
    Kind::Entry(Entry {
        key: source[key].to_vec(),
        gap,
        raw,
        found,
        style,
        trailing_comment: false,
        exported: false,
    })
}

/// What Python's `str.strip` removes: Unicode white space, and the separators U+001C to U+001F.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The quote that oslo strips: the value begins and ends with it (a lone quote character counts, as in iniparser.py).
fn quote_of(value: &[u8]) -> Option<u8> {
    match (value.first(), value.last()) {
        (Some(first @ (b'"' | b'\'')), Some(last)) if first == last => Some(*first),
        _ => None,
    }
}

/// Refuses what no INI reader keeps inside one line of a value.
fn check_characters(value: &str) -> Result<(), Refusal> {
    if value.contains(['\r', '\0']) {
        return Err(Refusal {
            why: "it has a carriage return or NUL, at which readers end the line",
            remedy: "remove that character",
        });
    }
    Ok(())
}

/// Lines after the first of a value in a dialect that continues values by indentation.
fn check_continuation(piece: &str) -> Result<(), Refusal> {
    if piece.is_empty() || piece.trim_matches(is_python_space) != piece {
        return Err(Refusal {
            why: "a line of it after the first is empty or begins or ends with white space, which readers drop",
            remedy: "remove the empty lines and the white space at the ends of its lines",
        });
    }
    Ok(())
}

fn continued(mut raw: Vec<u8>, pieces: std::str::Split<'_, char>, style: &Style) -> Result<Vec<u8>, Refusal> {
    for piece in pieces {
        check_continuation(piece)?;
        raw.extend_from_slice(style.eol());
        raw.extend_from_slice(if style.indent.is_empty() { b"    " } else { &style.indent });
        raw.extend_from_slice(piece.as_bytes());
    }
    Ok(raw)
}

pub(crate) fn check_key(key: &str, separators: &[char]) -> Result<(), &'static str> {
    if key.is_empty() {
        return Err("it is empty");
    }
    if key.trim_matches(is_python_space) != key {
        return Err("it begins or ends with white space");
    }
    if key.contains(separators) {
        return Err("it contains the separator between key and value");
    }
    if key.contains(|c: char| c.is_control() || c == '\\') {
        return Err("it contains a control character or a backslash");
    }
    if key.starts_with(['[', '#', ';', '\u{feff}']) {
        return Err("it begins like a section header, a comment or a byte order mark");
    }
    Ok(())
}

pub(crate) fn check_section(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.trim_matches(is_python_space) != name {
        return Err("it begins or ends with white space");
    }
    if name.contains(|c: char| c.is_control() || matches!(c, '[' | ']' | '\\' | '"' | '\'')) {
        return Err("it contains a bracket, a quote, a backslash or a control character");
    }
    Ok(())
}
