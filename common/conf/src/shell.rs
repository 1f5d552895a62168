//! `/etc/sysconfig` and `/etc/default`: assignments that sh and systemd's `EnvironmentFile=` both read.
//!
//! The two agree on `KEY=value` with bare, single-quoted and double-quoted values, on backslash escapes, and on `#` at
//! the start of a line. They differ on much else, which is kept and reported, or noted when an edit touches it.

use std::ops::Range;

use crate::dialect::Refusal;
use crate::document::{Entry, Hint, Kind, Parsed, Style};
use crate::error::Reason;
use crate::text::{self, Line};
use crate::value::Found;

pub(crate) fn parse(source: &[u8]) -> Parsed {
    let mut parsed = Parsed::begin(source);
    let mut at = text::bom_len(source);
    let mut seen_crlf = false;
    while at < source.len() {
        let line = text::line_at(source, at);
        let content = line.of(source);
        let crlf = line.next - line.end == 2;
        if crlf && !seen_crlf {
            seen_crlf = true;
            parsed.problems.push((at, Reason::CarriageReturns));
        }
        let kept = text::trim(content);
        let span = line.start..line.next;
        at = line.next;
        if content.iter().any(|b| matches!(b, b'\0' | b'\r')) {
            parsed.opaque(span, None, Reason::StrayControl);
        } else if kept.is_empty() {
            parsed.push(span, None, Kind::Blank);
        } else if kept[0] == b'#' {
            let swallows = text::ends_escaped(content);
            if swallows {
                parsed.problems.push((line.start, Reason::CommentSwallowsNext));
            }
            let hint = if swallows { None } else { hint(kept, crlf) };
            parsed.push(span, None, Kind::Comment(hint));
        } else {
            match statement(source, &line) {
                Ok(statement) => {
                    at = statement.end;
                    if statement.disputed {
                        parsed.problems.push((line.start, Reason::ReadersDisagree));
                    }
                    parsed.push(line.start..at, None, Kind::Entry(statement.entry));
                }
                Err(reason) => {
                    at = opaque_end(source, &line);
                    parsed.opaque(line.start..at, None, reason);
                }
            }
        }
    }
    parsed
}

/// Where text that is no assignment ends: after the lines that backslashes join to it, and at the end of the file if
/// it leaves a quote or a here-document open, since nothing says then which lines are inside.
fn opaque_end(source: &[u8], line: &Line) -> usize {
    let mut line = *line;
    let mut quote = None;
    loop {
        let mut escaped = false;
        let mut before = b' ';
        for &byte in line.of(source) {
            match (quote, byte) {
                _ if escaped => escaped = false,
                (None | Some(b'"'), b'\\') => escaped = true,
                (None, b'#') if text::is_blank(before) => break,
                (None, b'<') if before == b'<' => return source.len(),
                (None, b'"' | b'\'' | b'`') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                (Some(_) | None, _) => {}
            }
            before = byte;
        }
        if quote.is_some() {
            return source.len();
        }
        if !escaped || line.next == source.len() {
            return line.next;
        }
        line = text::line_at(source, line.next);
    }
}

struct Statement {
    entry: Entry,
    /// Offset after the terminator of its last line.
    end: usize,
    /// sh and systemd read different values.
    disputed: bool,
}

/// A word of shell text, unquoted.
struct Word {
    raw: Range<usize>,
    text: Vec<u8>,
    /// It has an expansion.
    computed: bool,
    /// A quote opens after bare text: systemd takes that quote literally, sh does not.
    quote_inside: bool,
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn name_len(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(first) if is_name_start(*first) => {
            bytes.iter().take_while(|b| is_name_start(**b) || b.is_ascii_digit()).count()
        }
        Some(_) | None => 0,
    }
}

/// `[export] NAME=word [# comment]`, to the end of the line it ends on.
fn statement(source: &[u8], line: &Line) -> Result<Statement, Reason> {
    let mut at = line.start + text::blanks(line.of(source));
    if source.get(at) == Some(&b';') {
        return Err(Reason::ReadersDisagree);
    }
    let export = export_len(&source[at..line.end]);
    at += export;
    let name = at..at + name_len(&source[at..line.end]);
    if name.is_empty() {
        return Err(if source.get(at) == Some(&b'=') { Reason::BadKey } else { Reason::Command });
    }
    match source.get(name.end) {
        Some(b'=') => {}
        Some(b' ' | b'\t') if text::trim(&source[name.end..line.end]).first() == Some(&b'=') => {
            return Err(Reason::ReadersDisagree);
        }
        _ if export == 0 && name.end == line.end => return Err(Reason::NotAnAssignment),
        _ => return Err(Reason::Command),
    }
    let gap = name.end..name.end + 1;
    let word = word(source, gap.end)?;
    let last = text::line_at(source, word.raw.end);
    let tail = last.of(source);
    let after = text::blanks(tail);
    let trailing_comment = after > 0 && tail.get(after) == Some(&b'#');
    if after < tail.len() && !trailing_comment {
        // `KEY= value` runs a command in sh and assigns in systemd.
        return Err(if word.raw.is_empty() { Reason::ReadersDisagree } else { Reason::Command });
    }
    if tail.contains(&b'\0') {
        return Err(Reason::StrayControl);
    }
    let found = if word.computed || word.quote_inside {
        Found::Computed(String::from_utf8_lossy(&source[word.raw.clone()]).into_owned())
    } else {
        Found::from_bytes(word.text)
    };
    let entry = Entry {
        key: source[name].to_vec(),
        gap,
        style: style(source, &word.raw, line.next - line.end == 2),
        raw: word.raw,
        found,
        trailing_comment,
        exported: export > 0,
    };
    Ok(Statement { entry, end: last.next, disputed: word.quote_inside })
}

/// Length of `export` and the blanks after it.
fn export_len(bytes: &[u8]) -> usize {
    match bytes.strip_prefix(b"export") {
        Some(rest) if text::blanks(rest) > 0 => b"export".len() + text::blanks(rest),
        Some(_) | None => 0,
    }
}

fn style(source: &[u8], raw: &Range<usize>, crlf: bool) -> Style {
    let quote = source[raw.clone()].first().copied().filter(|b| matches!(b, b'"' | b'\''));
    Style { quote, indent: Vec::new(), crlf }
}

/// One word from `start` on, over line ends where quotes or backslashes carry it.
fn word(source: &[u8], start: usize) -> Result<Word, Reason> {
    let mut word = Word { raw: start..start, text: Vec::new(), computed: false, quote_inside: false };
    let mut at = start;
    let mut bare = false;
    while let Some(&byte) = source.get(at) {
        let quote = matches!(byte, b'"' | b'\'');
        word.quote_inside |= quote && bare;
        bare = !quote;
        match byte {
            b' ' | b'\t' | b'\n' => break,
            b'\r' if matches!(source.get(at + 1), Some(b'\n')) => break,
            b'\r' | b'\0' => return Err(Reason::StrayControl),
            b'\'' => {
                let inside = at + 1;
                let close = source[inside..].iter().position(|b| *b == b'\'').ok_or(Reason::Unterminated)?;
                word.text.extend_from_slice(&source[inside..inside + close]);
                at = inside + close + 1;
            }
            b'"' => at = double_quoted(source, at + 1, &mut word)?,
            b'\\' => match source.get(at + 1) {
                Some(b'\n') => at += 2,
                Some(b'\r') | None => return Err(Reason::StrayControl),
                Some(next) => {
                    word.text.push(*next);
                    at += 2;
                }
            },
            b'`' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => return Err(Reason::Command),
            b'$' => at = expansion(source, at, &mut word)?,
            b'~' => {
                word.computed |= at == start || source[at - 1] == b':';
                word.text.push(byte);
                at += 1;
            }
            _ => {
                word.text.push(byte);
                at += 1;
            }
        }
    }
    if word.text.iter().any(|b| matches!(b, b'\0' | b'\r')) {
        return Err(Reason::StrayControl);
    }
    word.raw.end = at;
    Ok(word)
}

/// The inside of `"…"`; gives the offset after the closing quote.
fn double_quoted(source: &[u8], start: usize, word: &mut Word) -> Result<usize, Reason> {
    let mut at = start;
    loop {
        match source.get(at).ok_or(Reason::Unterminated)? {
            b'"' => return Ok(at + 1),
            b'\\' => match source.get(at + 1).ok_or(Reason::Unterminated)? {
                b'\n' => at += 2,
                next @ (b'"' | b'\\' | b'$' | b'`') => {
                    word.text.push(*next);
                    at += 2;
                }
                _ => {
                    word.text.push(b'\\');
                    at += 1;
                }
            },
            b'`' => return Err(Reason::Command),
            b'$' => at = expansion(source, at, word)?,
            byte => {
                word.text.push(*byte);
                at += 1;
            }
        }
    }
}

/// `$NAME` and `${NAME}` make the word computed; `$(…)` is a command, and so is a `${…}` that holds more than plain
/// text. A `$` before anything else is itself.
fn expansion(source: &[u8], at: usize, word: &mut Word) -> Result<usize, Reason> {
    match source.get(at + 1) {
        Some(b'(' | b'\'' | b'"') => Err(Reason::Command),
        Some(b'{') => {
            let length = source[at..]
                .iter()
                .position(|b| matches!(b, b'}' | b'\n' | b'"' | b'\'' | b'`' | b'\\'))
                .ok_or(Reason::Unterminated)?;
            if source[at + length] != b'}' || source[at + 2..at + length].contains(&b'$') {
                return Err(Reason::Command);
            }
            word.computed = true;
            Ok(at + length + 1)
        }
        Some(next) if is_name_start(*next) || next.is_ascii_digit() || b"@*#?-$!".contains(next) => {
            word.computed = true;
            Ok(at + 2)
        }
        Some(_) | None => {
            word.text.push(b'$');
            Ok(at + 1)
        }
    }
}

/// `#KEY="value"`, `# KEY=value`, `#export KEY=value`, on one line.
fn hint(comment: &[u8], crlf: bool) -> Option<Hint> {
    let after = &comment[1..];
    let tight = !after.first().is_some_and(|b| text::is_blank(*b));
    let setting = if tight { after } else { &after[1..] };
    if text::blanks(setting) > 0 || setting.is_empty() {
        return None;
    }
    let line = text::line_at(setting, 0);
    let Statement { entry, .. } = statement(setting, &line).ok()?;
    Some(Hint {
        key: entry.key,
        tight,
        prefix: if entry.exported { b"export " } else { b"" },
        gap: b"=".to_vec(),
        style: Style { crlf, ..entry.style },
        default: None,
    })
}

/// Bare where sh and systemd both allow it, unless the line was quoted before.
///
/// Single quotes hold no backslash: systemd 219 takes one there for an escape, sh does not. In double quotes all four
/// of `"`, `\`, `$` and `` ` `` are escaped, which sh and every systemd undo alike.
pub(crate) fn encode(value: &str, style: &Style) -> Result<Vec<u8>, Refusal> {
    if value.contains('\n') {
        return Err(Refusal {
            why: "it has a newline, and what reads these files expects one line",
            remedy: "put it on one line",
        });
    }
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err(Refusal { why: "it has a control character", remedy: "remove that character" });
    }
    let single = !value.contains(['\'', '\\']);
    let bare = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./:,@%+=-".contains(&b));
    let plain_double = !value.contains(['"', '\\', '$', '`']);
    let quote = match style.quote {
        None if bare => return Ok(value.as_bytes().to_vec()),
        Some(b'\'') if single => b'\'',
        Some(b'"') => b'"',
        Some(_) | None if !plain_double && single => b'\'',
        Some(_) | None => b'"',
    };
    let mut raw = vec![quote];
    for byte in value.bytes() {
        if quote == b'"' && matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            raw.push(b'\\');
        }
        raw.push(byte);
    }
    raw.push(quote);
    Ok(raw)
}

pub(crate) fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        Err("it is empty")
    } else if name_len(key.as_bytes()) != key.len() {
        Err("a variable's name is a letter or underscore, then letters, digits and underscores")
    } else {
        Ok(())
    }
}
