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
        sure: BTreeSet::new(),
        functions: 0,
        found: Vec::new(),
        depth: 0,
        error: None,
    };
    // Once for what is assigned anywhere (functions are written before their variables are), once for the commands.
    for _ in 0..2 {
        walk.found.clear();
        walk.sure.clear();
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
    /// Variables that hold one of their values for certain where the walk is. Any other may be unset, or come from the environment or a
    /// file that was read in, when a test looks at it.
    sure: BTreeSet<String>,
    /// Inside how many functions' bodies the walk is.
    functions: usize,
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
            Node::Simple { words, writes, here } => self.simple(words, writes, here.as_ref(), reach),
            Node::Not(inner) => self.node(inner, reach).not(),
            Node::Group(list) => self.list(list, reach),
            Node::Function(list) => {
                // Whoever calls it gives it arguments of its own.
                let first = self.first.take();
                // It runs where it is called, so nothing of what holds here needs to hold there.
                let sure = std::mem::take(&mut self.sure);
                self.functions += 1;
                self.list(list, Sure::Unknown);
                self.functions -= 1;
                self.first = first;
                self.sure = sure;
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
                self.assign(variable, values, Sure::Unknown);
                let inside = self.sure.insert(variable.clone());
                self.list(body, Sure::Unknown);
                if inside {
                    self.sure.remove(variable);
                }
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
                let subject = self.tested(subject);
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

    fn simple(&mut self, words: &[Word], writes: &[Word], here: Option<&String>, reach: Sure) -> Sure {
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            let Some((name, value)) = assignment(word) else { break };
            let values = self.values(&value);
            // Before a command it holds for the command alone.
            let reach = if after.is_empty() { reach } else { Sure::Unknown };
            self.assign(&name, values, reach);
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
        match plain.as_deref() {
            Some("export" | "local" | "readonly" | "declare" | "typeset") => {
                for word in &rest[1..] {
                    if let Some((name, value)) = assignment(word) {
                        let values = self.values(&value);
                        self.assign(&name, values, reach);
                    }
                }
                return Sure::Yes;
            }
            // What comes in from outside: the words of `read`, everything that a file may set, the answer of debconf.
            Some("read" | "unset" | "getopts" | "mapfile" | "printf") => {
                for name in rest[1..].iter().filter_map(Word::plain) {
                    self.sure.remove(&name);
                    if self.variables.contains_key(&name) {
                        self.assign(&name, vec![ANY.to_string()], Sure::Unknown);
                    }
                }
            }
            Some("." | "source" | "eval") => self.sure.clear(),
            Some(name) if name.starts_with("db_") => {
                self.sure.remove("RET");
            }
            Some("shift") => self.first = None,
            Some("set") => {
                let sets = |word: &Word| {
                    word.plain().is_none_or(|word| word == "--" || !word.starts_with(['-', '+']))
                };
                if rest[1..].iter().any(sets) {
                    self.first = None;
                }
            }
            _ => {}
        }
        if matches!(plain.as_deref(), Some("[" | "[[" | "test")) {
            let words: Vec<Vec<String>> = rest.iter().map(|word| self.tested(word)).collect();
            return test(&words);
        }
        let result = match plain.as_deref() {
            Some("true" | ":") => Sure::Yes,
            Some("false") => Sure::No,
            _ => Sure::Unknown,
        };
        for words in self.lines(rest) {
            self.found.push(Command { words, writes: writes.clone(), here: here.cloned(), line });
        }
        result
    }

    fn assign(&mut self, name: &str, values: Vec<String>, reach: Sure) {
        if reach == Sure::Yes && self.functions == 0 && self.depth == 0 {
            self.sure.insert(name.to_owned());
        }
        let known = self.variables.entry(name.to_owned()).or_default();
        known.extend(values);
        if known.len() > VALUES_MAX {
            *known = BTreeSet::from([ANY.to_string()]);
        }
    }

    /// The words of a command, once for each way in which its unquoted variables fall apart at whitespace: `$x` becomes several words, or
    /// none. A word whose values do not is one word with several values.
    fn lines(&mut self, words: &[Word]) -> Vec<Vec<Vec<String>>> {
        let mut lines: Vec<Vec<Vec<String>>> = vec![Vec::new()];
        for word in words {
            let values = self.values(word);
            let whole =
                word.quoted || values.iter().all(|v| !v.is_empty() && !v.contains(char::is_whitespace));
            let ways: Vec<Vec<Vec<String>>> = if whole {
                vec![vec![values]]
            } else {
                let apart =
                    |value: &String| value.split_whitespace().map(|part| vec![part.to_owned()]).collect();
                values.iter().map(apart).collect()
            };
            if lines.len() * ways.len() > VALUES_MAX {
                lines.iter_mut().for_each(|line| line.push(vec![ANY.to_string()]));
                continue;
            }
            lines = lines
                .iter()
                .flat_map(|line| ways.iter().map(move |way| [line.as_slice(), way.as_slice()].concat()))
                .collect();
        }
        lines.retain(|line| !line.is_empty());
        lines
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
        let values = self.texts(word, false);
        if word.quoted {
            return values;
        }
        let values: Vec<String> = values.iter().flat_map(|value| braces(value)).collect();
        if values.len() > VALUES_MAX { vec![ANY.to_string()] } else { values }
    }

    /// Every text that a word may be where its value decides what is run.
    fn tested(&mut self, word: &Word) -> Vec<String> {
        self.texts(word, true)
    }

    fn texts(&mut self, word: &Word, tested: bool) -> Vec<String> {
        let mut values = vec![String::new()];
        for piece in &word.pieces {
            let parts: Vec<String> = match piece {
                Piece::Text(text) => vec![text.clone()],
                Piece::Variable { name, default } => self.variable(name, default.as_deref(), tested),
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

    fn variable(&self, name: &str, default: Option<&str>, tested: bool) -> Vec<String> {
        let known: Option<Vec<String>> = match name {
            "1" => self.first.clone(),
            // All arguments: the first is known, the rest is not.
            _ => self.variables.get(name).map(|values| values.iter().cloned().collect()),
        };
        let mut values = match (known, default) {
            (Some(known), None) => known,
            (Some(mut known), Some(default)) => {
                known.push(default.to_owned());
                known
            }
            (None, Some(default)) => vec![default.to_owned(), ANY.to_string()],
            (None, None) => vec![ANY.to_string()],
        };
        if tested && name != "1" && !self.sure.contains(name) {
            values.push(ANY.to_string());
        }
        values
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

/// The words that bash makes of `{a,b}`.
fn braces(value: &str) -> Vec<String> {
    let Some((open, close)) = value.find('{').zip(value.rfind('}')).filter(|(open, close)| open < close)
    else {
        return vec![value.to_owned()];
    };
    let inner = &value[open + 1..close];
    if !inner.contains(',') || inner.contains(['{', '}']) {
        // Nested ones say what they are only to a shell.
        let text = if inner.contains(',') {
            format!("{}{ANY}{}", &value[..open], &value[close + 1..])
        } else {
            value.to_owned()
        };
        return vec![text];
    }
    inner.split(',').map(|part| format!("{}{part}{}", &value[..open], &value[close + 1..])).collect()
}

/// Whether two words are equal; `[[` reads the right one as a pattern.
fn equal(left: &[String], right: &[String], pattern: bool) -> Sure {
    if pattern && right.len() == 1 {
        return matches(left, right);
    }
    if left.iter().chain(right).any(|value| value.contains(ANY)) || pattern {
        return Sure::Unknown;
    }
    match (left, right) {
        ([left], [right]) if left == right => Sure::Yes,
        _ if left.iter().any(|value| right.contains(value)) => Sure::Unknown,
        _ => Sure::No,
    }
}

/// `[ a = b ]`, `[ a != b ]`, `[ -z a ]` and `[ -n a ]` on words that are known.
fn test(words: &[Vec<String>]) -> Sure {
    let close = words.last().is_some_and(|last| last == &["]"] || last == &["]]"]);
    let inner = &words[1..words.len() - usize::from(close && words.len() > 1)];
    let is = |word: &[String], wanted: &[&str]| word.len() == 1 && wanted.contains(&word[0].as_str());
    let pattern = is(&words[0], &["[["]);
    let empty = |word: &[String]| equal(word, &[String::new()], false);
    match inner {
        [negation, rest @ ..] if is(negation, &["!"]) => {
            let mut whole = vec![words[0].clone()];
            whole.extend(rest.iter().cloned());
            test(&whole).not()
        }
        [left, operator, right] if is(operator, &["=", "=="]) => equal(left, right, pattern),
        [left, operator, right] if is(operator, &["!="]) => equal(left, right, pattern).not(),
        [operator, word] if is(operator, &["-z"]) => empty(word),
        [operator, word] if is(operator, &["-n"]) => empty(word).not(),
        _ => Sure::Unknown,
    }
}
