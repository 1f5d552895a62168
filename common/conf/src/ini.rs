//! INI: oslo.config, systemd units, yum/dnf. One loop each, because the three readers agree on little.

use std::ops::Range;
use std::sync::Arc;

use crate::dialect::Refusal;
use crate::document::{Entry, Hint, Kind, Parsed, Style};
use crate::error::Reason;
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
    let quote = if quoted { oslo_quote(text::trim_end(&setting[gap.end..])) } else { None };
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

// oslo.config ---------------------------------------------------------------------------------------------------------

/// What Python's `str.strip` removes: Unicode white space, and the separators U+001C to U+001F.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn python_trim_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(line) => line.trim_end_matches(is_python_space).as_bytes(),
        Err(_) => {
            let kept = bytes.iter().rposition(|b| !is_python_space(char::from(*b)) || *b >= 0x80);
            &bytes[..kept.map_or(0, |at| at + 1)]
        }
    }
}

fn python_trim(bytes: &[u8]) -> &[u8] {
    let kept = python_trim_end(bytes);
    match std::str::from_utf8(kept) {
        Ok(line) => line.trim_start_matches(is_python_space).as_bytes(),
        Err(_) => {
            let first = kept.iter().position(|b| !is_python_space(char::from(*b)) || *b >= 0x80);
            &kept[first.unwrap_or(kept.len())..]
        }
    }
}

/// The quote that oslo strips: the value begins and ends with it (a lone quote character counts, as in iniparser.py).
fn oslo_quote(value: &[u8]) -> Option<u8> {
    match (value.first(), value.last()) {
        (Some(first @ (b'"' | b'\'')), Some(last)) if first == last => Some(*first),
        _ => None,
    }
}

fn oslo_unquoted(value: &[u8]) -> &[u8] {
    match oslo_quote(value) {
        Some(_) if value.len() >= 2 => &value[1..value.len() - 1],
        Some(_) => b"",
        None => value,
    }
}

pub(crate) fn parse_oslo(source: &[u8]) -> Parsed {
    let mut parsed = Parsed::begin(source);
    let mut section: Section = None;
    let lines = text::lines(source, text::bom_len(source));
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let content = line.of(source);
        let span = line.start..line.next;
        let kept = python_trim_end(content);
        if has_stray_control(content) {
            parsed.opaque(span, section.as_ref(), Reason::StrayControl);
        } else if kept.is_empty() {
            parsed.push(span, section.as_ref(), Kind::Blank);
        } else if text::is_blank(kept[0]) {
            parsed.opaque(span, section.as_ref(), Reason::StrayContinuation);
        } else if kept[0] == b'[' {
            if kept.ends_with(b"]") && kept.len() > 2 {
                section = Some(kept[1..kept.len() - 1].into());
                parsed.push(span, section.as_ref(), Kind::Section);
            } else {
                section = None;
                parsed.opaque(span, None, Reason::BadSection);
            }
        } else if matches!(kept[0], b'#' | b';') {
            let hint = hint(kept, b"=:", line.next - line.end == 2, true);
            let mut end = line.next;
            // The rest of a commented-out value: a mark and an indented line.
            while hint.is_some()
                && lines.get(at).is_some_and(|next| is_commented_continuation(next.of(source)))
            {
                end = lines[at].next;
                at += 1;
            }
            parsed.push(line.start..end, section.as_ref(), Kind::Comment(hint));
        } else {
            let Some((key, gap)) = split(content, line.start, b"=:") else {
                parsed.opaque(span, section.as_ref(), Reason::NotAnAssignment);
                continue;
            };
            let key = key.start..key.start + python_trim_end(&source[key]).len();
            let gap = key.end..gap.end;
            if key.is_empty() {
                parsed.opaque(span, section.as_ref(), Reason::BadKey);
                continue;
            }
            if section.is_none() {
                parsed.opaque(span, None, Reason::OutsideSection);
                continue;
            }
            let first = python_trim(&source[gap.end..line.end]);
            let mut pieces = vec![oslo_unquoted(first)];
            let mut raw = gap.end..gap.end + python_trim_end(&source[gap.end..line.end]).len();
            let mut style = style_of(line, oslo_quote(first), b"");
            let mut end = line.next;
            while let Some(next) = lines.get(at) {
                let content = next.of(source);
                let kept = python_trim_end(content);
                if has_stray_control(content) || kept.is_empty() || !text::is_blank(kept[0]) {
                    break;
                }
                if style.indent.is_empty() {
                    style.indent = content[..text::blanks(content)].to_vec();
                }
                pieces.push(python_trim(content));
                raw.end = next.start + kept.len();
                end = next.next;
                at += 1;
            }
            let found = Found::from_bytes(pieces.join(&b'\n'));
            parsed.push(line.start..end, section.as_ref(), entry(source, key, gap, raw, found, style));
        }
    }
    parsed
}

fn is_commented_continuation(content: &[u8]) -> bool {
    let Some((b'#' | b';', rest)) = content.split_first() else { return false };
    let indent = text::blanks(rest);
    (rest.starts_with(b"\t") || indent >= 2) && indent < rest.len() && !has_stray_control(rest)
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

pub(crate) fn encode_oslo(value: &str, style: &Style) -> Result<Vec<u8>, Refusal> {
    check_characters(value)?;
    let mut pieces = value.split('\n');
    let first = pieces.next().unwrap_or_default();
    let must_quote = first.trim_matches(is_python_space) != first || oslo_quote(first.as_bytes()).is_some();
    let quote = match style.quote {
        Some(quote) => Some(quote),
        None if must_quote => Some(b'"'),
        None => None,
    };
    let mut raw = Vec::new();
    raw.extend(quote);
    raw.extend_from_slice(first.as_bytes());
    raw.extend(quote);
    continued(raw, pieces, style)
}

// systemd -------------------------------------------------------------------------------------------------------------

pub(crate) fn parse_systemd(source: &[u8]) -> Parsed {
    let mut parsed = Parsed::begin(source);
    let mut section: Section = None;
    let lines = text::lines(source, text::bom_len(source));
    let is_comment = |content: &[u8]| matches!(text::trim(content).first(), Some(b'#' | b';'));
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let content = line.of(source);
        if has_stray_control(content) {
            parsed.opaque(line.start..line.next, section.as_ref(), Reason::StrayControl);
            continue;
        }
        let kept = text::trim(content);
        if is_comment(content) {
            let swallows = text::ends_escaped(content);
            if swallows {
                parsed.problems.push((line.start, Reason::CommentSwallowsNext));
            }
            let hint = if swallows { None } else { hint(kept, b"=", line.next - line.end == 2, false) };
            parsed.push(line.start..line.next, section.as_ref(), Kind::Comment(hint));
            continue;
        }
        if kept.is_empty() {
            parsed.push(line.start..line.next, section.as_ref(), Kind::Blank);
            continue;
        }
        // The logical line: a backslash at the end of a physical one becomes a space and joins the next; comment
        // lines in between are skipped (`config_parse`).
        let mut logical = content.to_vec();
        let mut last = *line;
        let mut raw_end = line.start + text::trim_end(content).len();
        let mut pending = text::ends_escaped(content);
        let mut stray = false;
        while pending && at < lines.len() {
            if let Some(backslash) = logical.last_mut() {
                *backslash = b' ';
            }
            let next = lines[at];
            let content = next.of(source);
            at += 1;
            last = next;
            stray |= has_stray_control(content);
            if is_comment(content) {
                // The joined text still ends in the space that was a backslash: mark it again for the next round.
                if let Some(space) = logical.last_mut() {
                    *space = b'\\';
                }
                continue;
            }
            logical.extend_from_slice(content);
            raw_end = next.start + text::trim_end(content).len();
            pending = text::ends_escaped(content);
        }
        if pending && let Some(backslash) = logical.last_mut() {
            *backslash = b' ';
        }
        let span = line.start..last.next;
        if stray {
            parsed.opaque(span, section.as_ref(), Reason::StrayControl);
            continue;
        }
        let joined = text::trim(&logical);
        if joined.first() == Some(&b'[') {
            if joined.ends_with(b"]") && joined.len() > 2 {
                section = Some(joined[1..joined.len() - 1].into());
                parsed.push(span, section.as_ref(), Kind::Section);
            } else {
                section = None;
                parsed.opaque(span, None, Reason::BadSection);
            }
            continue;
        }
        let Some((key, gap)) = split(content, line.start, b"=") else {
            parsed.opaque(span, section.as_ref(), Reason::NotAnAssignment);
            continue;
        };
        if key.is_empty() {
            parsed.opaque(span, section.as_ref(), Reason::BadKey);
        } else if section.is_none() {
            parsed.opaque(span, None, Reason::OutsideSection);
        } else {
            let found = Found::from_bytes(text::trim(&logical[gap.end - line.start..]).to_vec());
            let raw = gap.end..raw_end.max(gap.end);
            let kind = entry(source, key, gap, raw, found, style_of(line, None, b""));
            parsed.push(span, section.as_ref(), kind);
        }
    }
    parsed
}

pub(crate) fn encode_systemd(value: &str) -> Result<Vec<u8>, Refusal> {
    check_characters(value)?;
    if value.contains('\n') {
        return Err(Refusal {
            why: "it has a newline, and a unit file's value is one line",
            remedy: "give each line as a value of its own, or use the setting's own escapes (`\\n`)",
        });
    }
    if text::trim(value.as_bytes()).len() != value.len() {
        return Err(Refusal {
            why: "it begins or ends with white space, which systemd drops",
            remedy: "remove the white space, or quote the value as the setting's own syntax allows",
        });
    }
    if text::ends_escaped(value.as_bytes()) {
        return Err(Refusal {
            why: "it ends in a backslash, which joins the next line to it",
            remedy: "double the backslash or remove it",
        });
    }
    Ok(value.as_bytes().to_vec())
}

// yum and dnf ---------------------------------------------------------------------------------------------------------

pub(crate) fn parse_dnf(source: &[u8]) -> Parsed {
    let mut parsed = Parsed::begin(source);
    let mut section: Section = None;
    let lines = text::lines(source, text::bom_len(source));
    let is_comment = |content: &[u8]| matches!(content.first(), Some(b'#' | b';'));
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let content = line.of(source);
        let span = line.start..line.next;
        let kept = text::trim(content);
        if has_stray_control(content) {
            parsed.opaque(span, section.as_ref(), Reason::StrayControl);
        } else if is_comment(content) {
            let hint = hint(kept, b"=", line.next - line.end == 2, false);
            parsed.push(span, section.as_ref(), Kind::Comment(hint));
        } else if kept.is_empty() {
            parsed.push(span, section.as_ref(), Kind::Blank);
        } else if kept[0] == b'[' {
            match dnf_section(kept) {
                Some(name) => {
                    section = Some(name.into());
                    parsed.push(span, section.as_ref(), Kind::Section);
                }
                None => {
                    section = None;
                    parsed.opaque(span, None, Reason::BadSection);
                }
            }
        } else if text::is_blank(content[0]) {
            parsed.opaque(span, section.as_ref(), Reason::StrayContinuation);
        } else {
            let Some((key, gap)) = split(content, line.start, b"=") else {
                parsed.opaque(span, section.as_ref(), Reason::NotAnAssignment);
                continue;
            };
            if key.is_empty() {
                parsed.opaque(span, section.as_ref(), Reason::BadKey);
                continue;
            }
            if section.is_none() {
                parsed.opaque(span, None, Reason::OutsideSection);
                continue;
            }
            let mut value = text::trim(&source[gap.end..line.end]).to_vec();
            let mut raw = gap.end..gap.end.max(line.start + text::trim_end(content).len());
            let mut style = style_of(line, None, b"");
            let mut end = line.next;
            // libdnf lets comments and blank lines stand between a value's lines.
            let mut ahead = at;
            while let Some(next) = lines.get(ahead) {
                let content = next.of(source);
                let kept = text::trim(content);
                ahead += 1;
                if has_stray_control(content) {
                    break;
                }
                if is_comment(content) || kept.is_empty() {
                    continue;
                }
                if !text::is_blank(content[0]) || kept[0] == b'[' {
                    break;
                }
                if style.indent.is_empty() {
                    style.indent = content[..text::blanks(content)].to_vec();
                }
                value.push(b'\n');
                value.extend_from_slice(kept);
                raw.end = next.start + text::trim_end(content).len();
                end = next.next;
                at = ahead;
            }
            let kind = entry(source, key, gap, raw, Found::from_bytes(value), style);
            parsed.push(line.start..end, section.as_ref(), kind);
        }
    }
    parsed
}

/// The name in `[name]`, which only blanks and a comment may follow.
fn dnf_section(kept: &[u8]) -> Option<&[u8]> {
    let close = kept.iter().position(|b| *b == b']')?;
    let rest = text::trim(&kept[close + 1..]);
    let clean = matches!(rest.first(), None | Some(b'#' | b';'));
    (close > 1 && clean).then_some(&kept[1..close])
}

pub(crate) fn encode_dnf(value: &str, style: &Style) -> Result<Vec<u8>, Refusal> {
    check_characters(value)?;
    if value.contains(" ;") || value.contains("\t;") {
        return Err(Refusal {
            why: "it has a semicolon after white space, where yum begins a comment",
            remedy: "remove the white space before the semicolon",
        });
    }
    let mut pieces = value.split('\n');
    let first = pieces.next().unwrap_or_default();
    if first.trim_matches(is_python_space) != first {
        return Err(Refusal {
            why: "it begins or ends with white space, which readers drop",
            remedy: "remove the white space",
        });
    }
    if pieces.clone().any(|piece| piece.starts_with('[')) {
        return Err(Refusal {
            why: "a line of it begins with `[`, which dnf takes for a section header",
            remedy: "put the whole value on one line",
        });
    }
    continued(first.as_bytes().to_vec(), pieces, style)
}

// Names ---------------------------------------------------------------------------------------------------------------

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
    if name.contains(|c: char| c.is_control() || matches!(c, '[' | ']' | '\\')) {
        return Err("it contains a bracket, a backslash or a control character");
    }
    Ok(())
}
