//! Which commands of a script can be reached, and with which words.

use super::lex::{Piece, Word};
use super::parse::{Joint, List, Node, parse};
use super::{ANY, Unreadable, glob};
use std::collections::{BTreeMap, BTreeSet};

/// A command that the script may run. Each word comes as every text that it may be; [`ANY`] stands for what cannot be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<Vec<String>>,
    /// What its output is written to.
    pub writes: Vec<Vec<String>>,
    pub here: Option<String>,
    pub line: usize,
}

/// More values of one word than this, and it is unknown.
const VALUES_MAX: usize = 64;
/// Substitutions inside substitutions.
const DEPTH_MAX: usize = 8;

/// The commands that `text` may run when it is called with one of `first` as its first argument (`None`: cannot be told).
///
/// # Errors
/// The text is no shell script that we can read.
pub fn commands(text: &str, first: Option<&[&str]>) -> Result<Vec<Command>, Unreadable> {
    let list = parse(text)?;
    let mut walk = Walk {
        variables: BTreeMap::new(),
        first: first.map(|first| first.iter().map(|value| (*value).to_owned()).collect()),
        found: Vec::new(),
        depth: 0,
        error: None,
    };
    // Once for what is assigned anywhere (functions are written before their variables are), once for the commands.
    for _ in 0..2 {
        walk.found.clear();
        walk.list(&list, Sure::Yes);
    }
    match walk.error {
        Some(error) => Err(error),
        None => Ok(walk.found),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sure {
    Yes,
    No,
    Unknown,
}

impl Sure {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

struct Walk {
    variables: BTreeMap<String, BTreeSet<String>>,
    /// What `$1` may be.
    first: Option<Vec<String>>,
    found: Vec<Command>,
    depth: usize,
    error: Option<Unreadable>,
}

impl Walk {
    /// Walks a list that is reached as surely as `reached`; tells whether its last command succeeds.
    fn list(&mut self, list: &List, reached: Sure) -> Sure {
        let mut result = Sure::Yes;
        let mut here = reached;
        for (joint, node) in list {
            let (mut reach, before) = (reached, result);
            match joint {
                Joint::Then => {}
                Joint::And => reach = reached.and(result),
                Joint::Or => reach = reached.and(result.not()),
                Joint::Pipe => reach = here,
            }
            if reach == Sure::No {
                // Not run: the result of what comes before stands.
                continue;
            }
            here = reach;
            let own = self.node(node, reach);
            result = match joint {
                Joint::Then | Joint::Pipe => own,
                Joint::And => before.and(own),
                Joint::Or if before == Sure::Yes || own == Sure::Yes => Sure::Yes,
                Joint::Or => before.not().and(own.not()).not(),
            };
        }
        result
    }

    fn node(&mut self, node: &Node, reach: Sure) -> Sure {
        match node {
            Node::Simple { words, writes, here } => self.simple(words, writes, here.as_ref()),
            Node::Not(inner) => self.node(inner, reach).not(),
            Node::Group(list) => self.list(list, reach),
            Node::Function(list) => {
                // Whoever calls it gives it arguments of its own.
                let first = self.first.take();
                self.list(list, Sure::Unknown);
                self.first = first;
                Sure::Yes
            }
            Node::While { condition, body } => {
                self.list(condition, reach);
                self.list(body, Sure::Unknown);
                Sure::Unknown
            }
            Node::For { variable, values, body } => {
                let values: Vec<String> = match values {
                    Some(values) => values.iter().flat_map(|value| self.split(value)).collect(),
                    None => vec![ANY.to_string()],
                };
                self.assign(variable, values);
                self.list(body, Sure::Unknown);
                Sure::Unknown
            }
            Node::If { arms, otherwise } => {
                let mut left = reach;
                for (condition, body) in arms {
                    if left == Sure::No {
                        return Sure::Unknown;
                    }
                    let holds = self.list(condition, left);
                    let into = left.and(holds);
                    if into != Sure::No {
                        self.list(body, into);
                    }
                    left = left.and(holds.not());
                }
                if left != Sure::No {
                    self.list(otherwise, left);
                }
                Sure::Unknown
            }
            Node::Case { subject, arms } => {
                let subject = self.values(subject);
                let mut left = reach;
                for (patterns, body) in arms {
                    let patterns: Vec<String> =
                        patterns.iter().flat_map(|pattern| self.values(pattern)).collect();
                    let matches = matches(&subject, &patterns);
                    let into = left.and(matches);
                    if into != Sure::No {
                        self.list(body, into);
                    }
                    left = left.and(matches.not());
                }
                Sure::Unknown
            }
        }
    }

    fn simple(&mut self, words: &[Word], writes: &[Word], here: Option<&String>) -> Sure {
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            let Some((name, value)) = assignment(word) else { break };
            let values = self.values(&value);
            self.assign(&name, values);
            rest = after;
        }
        let writes: Vec<Vec<String>> = writes.iter().map(|word| self.values(word)).collect();
        let Some(program) = rest.first() else {
            if !writes.is_empty() {
                self.found.push(Command {
                    words: Vec::new(),
                    writes,
                    here: None,
                    line: words.first().map_or(0, |w| w.line),
                });
            }
            return Sure::Unknown;
        };
        let line = program.line;
        let plain = program.plain();
        if matches!(plain.as_deref(), Some("export" | "local" | "readonly" | "declare" | "typeset")) {
            for word in &rest[1..] {
                if let Some((name, value)) = assignment(word) {
                    let values = self.values(&value);
                    self.assign(&name, values);
                }
            }
            return Sure::Yes;
        }
        if matches!(plain.as_deref(), Some("shift" | "set")) {
            let sets = rest.iter().any(|word| word.plain().as_deref() == Some("--"));
            if plain.as_deref() == Some("shift") || sets {
                self.first = None;
            }
        }
        let words: Vec<Vec<String>> = rest.iter().flat_map(|word| self.arguments(word)).collect();
        let result = match plain.as_deref() {
            Some("true" | ":") => Sure::Yes,
            Some("false") => Sure::No,
            Some("[" | "[[" | "test") => test(&words),
            _ => Sure::Unknown,
        };
        self.found.push(Command { words, writes, here: here.cloned(), line });
        result
    }

    fn assign(&mut self, name: &str, values: Vec<String>) {
        let known = self.variables.entry(name.to_owned()).or_default();
        known.extend(values);
        if known.len() > VALUES_MAX {
            *known = BTreeSet::from([ANY.to_string()]);
        }
    }

    /// A word as arguments: an unquoted `$list` becomes several.
    fn arguments(&mut self, word: &Word) -> Vec<Vec<String>> {
        let values = self.values(word);
        if word.quoted || values.len() != 1 || !values[0].contains(char::is_whitespace) {
            return vec![values];
        }
        values[0].split_whitespace().map(|part| vec![part.to_owned()]).collect()
    }

    /// A word's values with whitespace taken as a separator, as in `for x in $LIST`.
    fn split(&mut self, word: &Word) -> Vec<String> {
        let values = self.values(word);
        if word.quoted {
            return values;
        }
        values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
    }

    /// Every text that a word may be.
    fn values(&mut self, word: &Word) -> Vec<String> {
        let mut values = vec![String::new()];
        for piece in &word.pieces {
            let parts: Vec<String> = match piece {
                Piece::Text(text) => vec![text.clone()],
                Piece::Variable { name, default } => self.variable(name, default.as_deref()),
                Piece::Unknown { command } => {
                    if let Some(command) = command {
                        self.substitution(command);
                    }
                    vec![ANY.to_string()]
                }
            };
            if values.len() * parts.len() > VALUES_MAX {
                return vec![ANY.to_string()];
            }
            values = values
                .iter()
                .flat_map(|value| parts.iter().map(move |part| format!("{value}{part}")))
                .collect();
        }
        values
    }

    fn variable(&self, name: &str, default: Option<&str>) -> Vec<String> {
        let known: Option<Vec<String>> = match name {
            "1" => self.first.clone(),
            // All arguments: the first is known, the rest is not.
            _ => self.variables.get(name).map(|values| values.iter().cloned().collect()),
        };
        match (known, default) {
            (Some(known), None) => known,
            (Some(mut known), Some(default)) => {
                known.push(default.to_owned());
                known
            }
            (None, Some(default)) => vec![default.to_owned(), ANY.to_string()],
            (None, None) => vec![ANY.to_string()],
        }
    }

    fn substitution(&mut self, text: &str) {
        if self.depth >= DEPTH_MAX {
            return;
        }
        self.depth += 1;
        match parse(text) {
            Ok(list) => {
                self.list(&list, Sure::Unknown);
            }
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
        self.depth -= 1;
    }
}

/// `name=value`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Piece::Text(text)) = word.pieces.first() else { return None };
    let (name, rest) = text.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let mut value = word.clone();
    value.pieces[0] = Piece::Text(rest.to_owned());
    Some((name.to_owned(), value))
}

/// Whether one of `patterns` matches what `subject` may be.
fn matches(subject: &[String], patterns: &[String]) -> Sure {
    if patterns.iter().any(|pattern| pattern == "*") {
        return Sure::Yes;
    }
    if subject.iter().any(|value| value.contains(ANY)) {
        return Sure::Unknown;
    }
    if patterns.iter().any(|pattern| pattern.contains([ANY, '['])) {
        return Sure::Unknown;
    }
    let count = subject.iter().filter(|value| patterns.iter().any(|pattern| glob(pattern, value))).count();
    match count {
        0 => Sure::No,
        all if all == subject.len() => Sure::Yes,
        _ => Sure::Unknown,
    }
}

/// `[ a = b ]`, `[ a != b ]`, `[ -z a ]` and `[ -n a ]` on words that are known.
fn test(words: &[Vec<String>]) -> Sure {
    let close = words.last().is_some_and(|last| last == &["]"] || last == &["]]"]);
    let inner = &words[1..words.len() - usize::from(close && words.len() > 1)];
    let is = |word: &[String], wanted: &[&str]| word.len() == 1 && wanted.contains(&word[0].as_str());
    match inner {
        [negation, rest @ ..] if is(negation, &["!"]) => {
            let mut whole = vec![vec!["[".to_owned()]];
            whole.extend(rest.iter().cloned());
            test(&whole).not()
        }
        [left, operator, right] if is(operator, &["=", "=="]) => matches(left, right),
        [left, operator, right] if is(operator, &["!="]) => matches(left, right).not(),
        [operator, word] if is(operator, &["-z"]) && !word.iter().any(|value| value.contains(ANY)) => {
            matches(word, &[String::new()])
        }
        [operator, word] if is(operator, &["-n"]) && !word.iter().any(|value| value.contains(ANY)) => {
            matches(word, &[String::new()]).not()
        }
        _ => Sure::Unknown,
    }
}
