//! yum and dnf: libdnf's `iniparser.cpp`; what is written, yum 3 (Python's ConfigParser) reads alike.

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
            match section_name(kept) {
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
            while let Some(next) = lines.get(at) {
                let content = next.of(source);
                let kept = text::trim(content);
                let continues = !kept.is_empty() && text::is_blank(content[0]) && kept[0] != b'[';
                if has_stray_control(content) || !continues {
                    break;
                }
                if style.indent.is_empty() {
                    style.indent = content[..text::blanks(content)].to_vec();
                }
                value.push(b'\n');
                value.extend_from_slice(kept);
                raw.end = next.start + text::trim_end(content).len();
                end = next.next;
                at += 1;
            }
            let found = if strips_quotes(&value) {
                parsed.problems.push((line.start, Reason::ReadersDisagree));
                Found::Computed(String::from_utf8_lossy(&source[raw.clone()]).into_owned())
            } else {
                Found::from_bytes(value)
            };
            let kind = entry(source, key, gap, raw, found, style);
            parsed.push(line.start..end, section.as_ref(), kind);
        }
    }
    parsed
}

/// libdnf takes one pair of quotes off a value (`trimValue`); yum 3 and early libdnf keep it.
fn strips_quotes(value: &[u8]) -> bool {
    value.len() > 1 && quote_of(value).is_some()
}

/// The name in `[name]`, which only blanks and a comment may follow.
fn section_name(kept: &[u8]) -> Option<&[u8]> {
    let close = kept.iter().position(|b| *b == b']')?;
    let rest = text::trim(&kept[close + 1..]);
    let clean = matches!(rest.first(), None | Some(b'#' | b';'));
    (close > 1 && clean).then_some(&kept[1..close])
}

pub(crate) fn encode(value: &str, style: &Style) -> Result<Vec<u8>, Refusal> {
    check_characters(value)?;
    if value.contains(" ;") || value.contains("\t;") {
        return Err(Refusal {
            why: "it has a semicolon after white space, where yum begins a comment",
            remedy: "remove the white space before the semicolon",
        });
    }
    if strips_quotes(value.as_bytes()) {
        return Err(Refusal {
            why: "it is in quotes, which dnf takes off and yum keeps",
            remedy: "give the value without quotes",
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
