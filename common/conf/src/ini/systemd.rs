//! systemd units: `config_parse` of `src/shared/conf-parser.c`.

use super::{Section, check_characters, entry, has_stray_control, hint, split, style_of};
use crate::dialect::Refusal;
use crate::document::{Kind, Parsed};
use crate::error::Reason;
use crate::text;
use crate::value::Found;

pub(crate) fn parse(source: &[u8]) -> Parsed {
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
        if content.starts_with(text::BOM) {
            // systemd drops the first mark it meets, on whatever line.
            parsed.opaque(line.start..line.next, section.as_ref(), Reason::ByteOrderMark);
            continue;
        }
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
            stray |= has_stray_control(content) || content.starts_with(text::BOM);
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
            let name = joined[1..].strip_suffix(b"]").unwrap_or_default();
            // As `parse_line` has it: no brackets, and `string_is_safe`.
            let odd = |b: &u8| b.is_ascii_control() || b"[]\"'\\".contains(b);
            if !name.is_empty() && !name.iter().any(odd) {
                section = Some(name.into());
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

pub(crate) fn encode(value: &str) -> Result<Vec<u8>, Refusal> {
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
