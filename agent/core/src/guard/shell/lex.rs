//! Characters to words and operators.

use super::Unreadable;
use std::collections::VecDeque;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// `$name`, and the default of `${name:-default}`.
    Variable {
        name: String,
        default: Option<String>,
    },
    /// The output of a command, whose text is also read; or an expansion too clever for us.
    Unknown {
        command: Option<String>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub pieces: Vec<Piece>,
    pub quoted: bool,
    pub line: usize,
}

impl Word {
    /// The word when it is plain text.
    pub fn plain(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Variable { .. } | Piece::Unknown { .. } => None,
            })
            .collect()
    }

    /// The word when it can be a keyword.
    pub fn keyword(&self) -> Option<String> {
        if self.quoted { None } else { self.plain() }
    }

    fn push(&mut self, c: char) {
        if let Some(Piece::Text(text)) = self.pieces.last_mut() {
            text.push(c);
        } else {
            self.pieces.push(Piece::Text(c.to_string()));
        }
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.quoted
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// `;`, `;;`, `&`, `&&`, `|`, `||`, `(`, `)` or a line's end (`\n`).
    Operator(&'static str),
    /// `>`, `>>`, `>|` and the like: the next word is written to.
    WritesTo,
    /// `<`, `>&`, `<&`: the next word is nothing to us.
    ReadsFrom,
    HereDocument(String),
}

struct Lexer {
    rest: VecDeque<char>,
    line: usize,
    tokens: Vec<Token>,
    word: Word,
    /// Delimiters of here-documents that begin after this line, and whether leading tabs are dropped.
    here: Vec<(usize, String, bool)>,
}

pub(super) fn lex(text: &str) -> Result<Vec<Token>, Unreadable> {
    let mut lexer = Lexer {
        rest: text.chars().collect(),
        line: 1,
        tokens: Vec::new(),
        word: Word::default(),
        here: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

impl Lexer {
    fn error<T>(&self, why: &'static str) -> Result<T, Unreadable> {
        Err(Unreadable { line: self.line, why })
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.pop_front()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.front().copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            let mut word = std::mem::take(&mut self.word);
            word.line = self.line;
            self.tokens.push(Token::Word(word));
        }
        self.word = Word::default();
    }

    fn operator(&mut self, operator: &'static str) {
        self.end_word();
        self.tokens.push(Token::Operator(operator));
    }

    fn run(&mut self) -> Result<(), Unreadable> {
        while let Some(c) = self.next() {
            match c {
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' => {
                    self.operator("\n");
                    self.here_documents();
                }
                '#' if self.word.is_empty() => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => {
                        self.word.quoted = true;
                        self.word.push(c);
                    }
                },
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '$' => self.dollar()?,
                '`' => {
                    let command = self.until_backtick()?;
                    self.word.pieces.push(Piece::Unknown { command: Some(command) });
                }
                ';' => {
                    let operator = if self.eat(';') { ";;" } else { ";" };
                    self.operator(operator);
                }
                '&' if self.peek() == Some('>') => {
                    self.next();
                    self.eat('>');
                    self.end_word();
                    self.tokens.push(Token::WritesTo);
                }
                '&' => {
                    let operator = if self.eat('&') { "&&" } else { "&" };
                    self.operator(operator);
                }
                '|' => {
                    let operator = if self.eat('|') { "||" } else { "|" };
                    self.eat('&');
                    self.operator(operator);
                }
                '(' => self.operator("("),
                ')' => self.operator(")"),
                '<' | '>' => self.redirection(c)?,
                c => self.word.push(c),
            }
        }
        self.operator("\n");
        if self.here.is_empty() { Ok(()) } else { self.error("a here-document has no end") }
    }

    fn redirection(&mut self, first: char) -> Result<(), Unreadable> {
        // The number before it is a descriptor, no word.
        if self
            .word
            .keyword()
            .is_some_and(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()))
        {
            self.word = Word::default();
        }
        self.end_word();
        if first == '>' {
            let token = if self.eat('&') { Token::ReadsFrom } else { Token::WritesTo };
            if token == Token::WritesTo && !self.eat('>') {
                self.eat('|');
            }
            self.tokens.push(token);
        } else if self.eat('<') {
            if self.eat('<') {
                self.tokens.push(Token::ReadsFrom);
                return Ok(());
            }
            let drops_tabs = self.eat('-');
            let mut delimiter = String::new();
            while self.peek().is_some_and(|c| c == ' ' || c == '\t') {
                self.next();
            }
            while let Some(c) = self.peek().filter(|c| !c.is_whitespace() && !";&|()<>".contains(*c)) {
                self.next();
                if !matches!(c, '\'' | '"' | '\\') {
                    delimiter.push(c);
                }
            }
            if delimiter.is_empty() {
                return self.error("a here-document has no delimiter");
            }
            self.here.push((self.tokens.len(), delimiter, drops_tabs));
            self.tokens.push(Token::HereDocument(String::new()));
        } else {
            self.eat('&');
            if self.eat('>') {
                self.tokens.push(Token::WritesTo);
            } else {
                self.tokens.push(Token::ReadsFrom);
            }
        }
        Ok(())
    }

    fn here_documents(&mut self) {
        for (token, delimiter, drops_tabs) in std::mem::take(&mut self.here) {
            let mut body = String::new();
            while !self.rest.is_empty() {
                let mut line = String::new();
                while let Some(c) = self.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                let bare = if drops_tabs { line.trim_start_matches('\t') } else { &line };
                if bare == delimiter {
                    break;
                }
                body.push_str(bare);
                body.push('\n');
            }
            self.tokens[token] = Token::HereDocument(body);
        }
    }

    fn single_quoted(&mut self) -> Result<(), Unreadable> {
        self.word.quoted = true;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.word.push(c),
                None => return self.error("a quotation has no end"),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), Unreadable> {
        self.word.quoted = true;
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('\\') => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => {
                        if !matches!(c, '$' | '`' | '"' | '\\') {
                            self.word.push('\\');
                        }
                        self.word.push(c);
                    }
                },
                Some('$') => self.dollar()?,
                Some('`') => {
                    let command = self.until_backtick()?;
                    self.word.pieces.push(Piece::Unknown { command: Some(command) });
                }
                Some(c) => self.word.push(c),
                None => return self.error("a quotation has no end"),
            }
        }
    }

    fn until_backtick(&mut self) -> Result<String, Unreadable> {
        let mut command = String::new();
        loop {
            match self.next() {
                Some('`') => return Ok(command),
                Some('\\') => command.extend(self.next()),
                Some(c) => command.push(c),
                None => return self.error("a command substitution has no end"),
            }
        }
    }

    fn dollar(&mut self) -> Result<(), Unreadable> {
        let piece = match self.peek() {
            Some('(') => {
                self.next();
                let text = self.balanced('(', ')')?;
                let arithmetic = text.starts_with('(');
                Piece::Unknown { command: (!arithmetic).then_some(text) }
            }
            Some('{') => {
                self.next();
                let text = self.balanced('{', '}')?;
                braced(&text)
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.next();
                }
                Piece::Variable { name, default: None }
            }
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.next();
                Piece::Variable { name: c.to_string(), default: None }
            }
            _ => {
                self.word.push('$');
                return Ok(());
            }
        };
        self.word.pieces.push(piece);
        Ok(())
    }

    /// What is between a bracket, already taken, and its partner; quotations inside are skipped.
    fn balanced(&mut self, open: char, close: char) -> Result<String, Unreadable> {
        let mut text = String::new();
        let mut depth = 1;
        let mut quote: Option<char> = None;
        while let Some(c) = self.next() {
            match quote {
                Some(q) if c == q => quote = None,
                Some('"') | None if c == '\\' => {
                    text.push(c);
                    text.extend(self.next());
                    continue;
                }
                Some(_) => {}
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c == open => depth += 1,
                None if c == close => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(text);
                    }
                }
                None => {}
            }
            text.push(c);
        }
        self.error("an expansion has no end")
    }
}

/// `${…}`.
fn braced(text: &str) -> Piece {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let default = rest.strip_prefix(":-").or(rest.strip_prefix('-')).or(rest.strip_prefix(":="));
    match (name.is_empty(), rest.is_empty(), default) {
        (false, true, _) => Piece::Variable { name: name.to_owned(), default: None },
        (false, false, Some(default)) if !default.contains(['$', '`']) => {
            let default = default.trim_matches(['"', '\'']).to_owned();
            Piece::Variable { name: name.to_owned(), default: Some(default) }
        }
        _ => Piece::Unknown { command: None },
    }
}
