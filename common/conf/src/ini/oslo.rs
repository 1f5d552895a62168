//! oslo.config: `oslo_config/iniparser.py`.

use super::{
    Section, check_characters, continued, entry, has_stray_control, hint, is_python_space, quote_of, split,
    style_of,
};
use crate::dialect::Refusal;
use crate::document::{Kind, Parsed, Style};
use crate::error::Reason;
use crate::text;
use crate::value::Found;

pub(crate) fn parse(source: &[u8]) -> Parsed {
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
            let name = python_trim(&source[key.clone()]);
            let lead = python_trim_end(&source[key.clone()]).len() - name.len();
            let key = key.start + lead..key.start + lead + name.len();
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
            let mut pieces = vec![unquoted(first)];
            let mut raw = gap.end..gap.end + python_trim_end(&source[gap.end..line.end]).len();
            let mut style = style_of(line, quote_of(first), b"");
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

pub(crate) fn encode(value: &str, style: &Style) -> Result<Vec<u8>, Refusal> {
    check_characters(value)?;
    let mut pieces = value.split('\n');
    let first = pieces.next().unwrap_or_default();
    let must_quote = first.trim_matches(is_python_space) != first || quote_of(first.as_bytes()).is_some();
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

fn unquoted(value: &[u8]) -> &[u8] {
    match quote_of(value) {
        Some(_) if value.len() >= 2 => &value[1..value.len() - 1],
        Some(_) => b"",
        None => value,
    }
}
