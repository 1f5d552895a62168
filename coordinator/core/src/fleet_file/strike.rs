//! Reads TOML into the raw form and goes on after a mistake: what serde refuses is noted, struck from the document, and
//! the rest is read again. So one run tells of every unknown key and every value of a wrong type.

use super::mistake::Notebook;
use super::raw::RawFile;
use crate::codes;
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// More than this and the file is something else than a fleet file.
const MAX_STRIKES: usize = 100;

/// What stood at a mistake, and was taken out of the document.
struct Struck {
    /// The path of the entry: `pace.canary`.
    path: String,
    /// The path of its table, with a dot: `pace.`; empty at the top.
    table: String,
}

/// The document as far as it can be read; what cannot is in the notebook.
pub(super) fn read(text: &str, notebook: &mut Notebook<'_>) -> RawFile {
    let (mut document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        notebook.note(
            error.span().unwrap_or(0..0),
            codes::FLEET_SYNTAX,
            "syntax",
            error.message().to_owned(),
            "correct the line; the rules of the language are at https://toml.io",
        );
    }
    if !notebook.is_empty() {
        // What a recovered document lacks would only be reported as missing.
        return RawFile::default();
    }
    for _ in 0..MAX_STRIKES {
        let error = match RawFile::deserialize(Deserializer::from(document.clone())) {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let at = error.span().unwrap_or(0..0);
        let Some(struck) = strike(document.get_mut(), &at) else {
            notebook.note(
                at,
                codes::FLEET_TYPE,
                "file",
                first_line(error.message()),
                "write what is expected there",
            );
            return RawFile::default();
        };
        note(notebook, at, struck, error.message());
    }
    RawFile::default()
}

fn note(notebook: &mut Notebook<'_>, at: Range<usize>, struck: Struck, message: &str) {
    let Some(allowed) = message.strip_prefix("unknown field ") else {
        notebook.note(
            at,
            codes::FLEET_TYPE,
            struck.path.clone(),
            first_line(message),
            "write a value of the type that is expected",
        );
        notebook.excuse(struck.path);
        return;
    };
    let mut names = allowed.split('`').skip(1).step_by(2);
    let typed = names.next().unwrap_or_default().to_owned();
    let known: Vec<&str> = names.collect();
    let remedy = match nearest(&typed, &known) {
        Some(name) => {
            notebook.excuse(format!("{}{name}", struck.table));
            format!("did you mean `{name}`?")
        }
        None => format!("remove it; known here: {}", known.join(", ")),
    };
    notebook.note(at, codes::FLEET_UNKNOWN_KEY, struck.path, "no such key", remedy);
}

/// serde's message, with words for Rust's names of numbers.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    ["u16", "u32", "u64"].iter().fold(line.to_owned(), |line, number| {
        line.replace(&format!("expected {number}"), "expected a whole number from 0 on")
    })
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|word| (strsim::jaro_winkler(typed, word), *word))
        .filter(|(likeness, _)| *likeness >= 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Removes the innermost entry at `at` and says what it was.
fn strike(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<Struck> {
    let mut best: Option<(usize, Vec<Turn>)> = None;
    search_table(table, at, &mut Vec::new(), &mut best);
    let (_, turns) = best?;
    let mut path = String::new();
    let mut parent = String::new();
    for turn in &turns {
        match turn {
            Turn::Key(key) => {
                parent = if path.is_empty() { String::new() } else { format!("{path}.") };
                path = format!("{parent}{key}");
            }
            Turn::Index(index) => path = format!("{path}[{}]", index + 1),
        }
    }
    remove(table, &turns);
    Some(Struck { path, table: parent })
}

#[derive(Clone)]
enum Turn {
    Key(String),
    Index(usize),
}

/// Looks for the shortest key or value that holds the start of `at`.
fn search_table(
    table: &DeTable<'_>,
    at: &Range<usize>,
    turns: &mut Vec<Turn>,
    best: &mut Option<(usize, Vec<Turn>)>,
) {
    for (key, value) in table {
        turns.push(Turn::Key(key.get_ref().to_string()));
        offer(&key.span(), at, turns, best);
        search_value(value, at, turns, best);
        turns.pop();
    }
}

fn search_value(
    value: &Spanned<DeValue<'_>>,
    at: &Range<usize>,
    turns: &mut Vec<Turn>,
    best: &mut Option<(usize, Vec<Turn>)>,
) {
    offer(&value.span(), at, turns, best);
    match value.get_ref() {
        DeValue::Table(table) => search_table(table, at, turns, best),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                turns.push(Turn::Index(index));
                search_value(item, at, turns, best);
                turns.pop();
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

fn offer(span: &Range<usize>, at: &Range<usize>, turns: &[Turn], best: &mut Option<(usize, Vec<Turn>)>) {
    let better = best.as_ref().is_none_or(|(length, _)| span.len() <= *length);
    if span.contains(&at.start) && better {
        *best = Some((span.len(), turns.to_vec()));
    }
}

fn remove(table: &mut DeTable<'_>, turns: &[Turn]) {
    let Some((Turn::Key(key), rest)) = turns.split_first() else { return };
    if rest.is_empty() {
        table.remove(key.as_str());
        return;
    }
    let found = table.iter_mut().find(|(name, _)| name.get_ref().as_ref() == key.as_str());
    if let Some((_, value)) = found {
        remove_below(value.get_mut(), rest);
    }
}

fn remove_below(value: &mut DeValue<'_>, turns: &[Turn]) {
    match (value, turns) {
        (DeValue::Table(table), _) => remove(table, turns),
        (DeValue::Array(items), [Turn::Index(index), rest @ ..]) => {
            if rest.is_empty() {
                let kept = items.iter().enumerate().filter(|(i, _)| i != index).map(|(_, v)| v.clone());
                *items = kept.collect();
            } else if let Some(item) = items.get_mut(*index) {
                remove_below(item.get_mut(), rest);
            }
        }
        _ => {}
    }
}
