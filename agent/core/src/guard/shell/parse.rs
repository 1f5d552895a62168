//! Words to lists, branches and loops: as much of the shell's grammar as scripts of packages use.

use super::Unreadable;
use super::lex::{Token, Word, lex};

/// Commands one after the other, each with how it follows the one before.
pub(super) type List = Vec<(Joint, Node)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// After it, whatever came of it.
    Then,
    And,
    Or,
    Pipe,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Simple { words: Vec<Word>, writes: Vec<Word>, here: Option<String> },
    If { arms: Vec<(List, List)>, otherwise: List },
    Case { subject: Word, arms: Vec<(Vec<Word>, List)> },
    For { variable: String, values: Option<Vec<Word>>, body: List },
    While { condition: List, body: List },
    Group(List),
    Function(List),
    Not(Box<Node>),
}

pub(super) fn parse(text: &str) -> Result<List, Unreadable> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, line: 1, depth: 0 };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(_) => parser.error("an end without its beginning"),
    }
}

/// Deeper nesting is no script of a package.
const DEPTH_MAX: usize = 60;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    line: usize,
    depth: usize,
}

impl Parser {
    fn error<T>(&self, why: &'static str) -> Result<T, Unreadable> {
        Err(Unreadable { line: self.line, why })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn keyword(&self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(word)) => word.keyword(),
            _ => None,
        }
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Operator(found)) if *found == operator)
    }

    fn eat_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        self.at += usize::from(found);
        found
    }

    fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self.keyword().as_deref() == Some(keyword);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, keyword: &str, why: &'static str) -> Result<(), Unreadable> {
        if self.eat_keyword(keyword) { Ok(()) } else { self.error(why) }
    }

    fn word(&mut self) -> Option<Word> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let word = word.clone();
        self.line = word.line;
        self.at += 1;
        Some(word)
    }

    fn skip_separators(&mut self) {
        while matches!(self.peek(), Some(Token::Operator(";" | "\n" | "&"))) {
            self.at += 1;
        }
    }

    /// Commands up to one of `ends` (left in place), a `)`, a `;;` or the end.
    fn list(&mut self, ends: &[&str]) -> Result<List, Unreadable> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error("it is nested too deeply");
        }
        let mut list = List::new();
        let mut joint = Joint::Then;
        loop {
            if joint == Joint::Then {
                self.skip_separators();
            } else {
                while self.eat_operator("\n") {}
            }
            let ends_here = self.keyword().is_some_and(|keyword| ends.contains(&keyword.as_str()));
            if ends_here || self.is_operator(")") || self.is_operator(";;") || self.peek().is_none() {
                break;
            }
            list.push((joint, self.command()?));
            joint = match self.peek() {
                Some(Token::Operator("&&")) => Joint::And,
                Some(Token::Operator("||")) => Joint::Or,
                Some(Token::Operator("|")) => Joint::Pipe,
                _ => Joint::Then,
            };
            if joint != Joint::Then {
                self.at += 1;
            }
        }
        self.depth -= 1;
        Ok(list)
    }

    fn command(&mut self) -> Result<Node, Unreadable> {
        if self.eat_operator("(") {
            let list = self.list(&[])?;
            if !self.eat_operator(")") {
                return self.error("a `(` has no `)`");
            }
            return self.redirected(Node::Group(list));
        }
        match self.keyword().as_deref() {
            Some("!") => {
                self.at += 1;
                Ok(Node::Not(Box::new(self.command()?)))
            }
            Some("{") => {
                self.at += 1;
                let list = self.list(&["}"])?;
                self.expect("}", "a `{` has no `}`")?;
                self.redirected(Node::Group(list))
            }
            Some("if") => self.branch(),
            Some("case") => self.case(),
            Some("for" | "select") => self.for_loop(),
            Some("while" | "until") => {
                self.at += 1;
                let condition = self.list(&["do"])?;
                let body = self.body()?;
                self.redirected(Node::While { condition, body })
            }
            Some("function") => {
                self.at += 1;
                self.word();
                if self.eat_operator("(") {
                    self.eat_operator(")");
                }
                self.function()
            }
            Some("then" | "elif" | "else" | "fi" | "do" | "done" | "esac" | "}") => {
                self.error("an end without its beginning")
            }
            _ => self.simple(),
        }
    }

    fn body(&mut self) -> Result<List, Unreadable> {
        self.expect("do", "a loop has no `do`")?;
        let body = self.list(&["done"])?;
        self.expect("done", "a `do` has no `done`")?;
        Ok(body)
    }

    fn branch(&mut self) -> Result<Node, Unreadable> {
        let mut arms = Vec::new();
        let mut otherwise = List::new();
        self.at += 1;
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then", "an `if` has no `then`")?;
            let body = self.list(&["elif", "else", "fi"])?;
            arms.push((condition, body));
            if self.eat_keyword("elif") {
                continue;
            }
            if self.eat_keyword("else") {
                otherwise = self.list(&["fi"])?;
            }
            self.expect("fi", "an `if` has no `fi`")?;
            return self.redirected(Node::If { arms, otherwise });
        }
    }

    fn case(&mut self) -> Result<Node, Unreadable> {
        self.at += 1;
        let Some(subject) = self.word() else { return self.error("a `case` has no word") };
        self.skip_separators();
        self.expect("in", "a `case` has no `in`")?;
        let mut arms = Vec::new();
        loop {
            self.skip_separators();
            if self.eat_keyword("esac") {
                return self.redirected(Node::Case { subject, arms });
            }
            self.eat_operator("(");
            let mut patterns = Vec::new();
            loop {
                let Some(pattern) = self.word() else { return self.error("a `case` has no pattern") };
                patterns.push(pattern);
                if !self.eat_operator("|") {
                    break;
                }
            }
            if !self.eat_operator(")") {
                return self.error("a pattern has no `)`");
            }
            let body = self.list(&["esac"])?;
            self.eat_operator(";;");
            // `;&` and `;;&` of bash fall through, which is read as an arm of its own.
            self.eat_operator("&");
            arms.push((patterns, body));
        }
    }

    fn for_loop(&mut self) -> Result<Node, Unreadable> {
        self.at += 1;
        let Some(variable) = self.word().and_then(|word| word.plain()) else {
            return self.error("a `for` has no variable");
        };
        self.skip_separators();
        let values = if self.eat_keyword("in") {
            let mut values = Vec::new();
            while let Some(value) = self.word() {
                values.push(value);
            }
            Some(values)
        } else {
            None
        };
        self.skip_separators();
        let body = self.body()?;
        self.redirected(Node::For { variable, values, body })
    }

    fn function(&mut self) -> Result<Node, Unreadable> {
        self.skip_separators();
        match self.command()? {
            Node::Group(list) => Ok(Node::Function(list)),
            other => Ok(Node::Function(vec![(Joint::Then, other)])),
        }
    }

    /// Redirections behind a compound command count as a command of their own.
    fn redirected(&mut self, node: Node) -> Result<Node, Unreadable> {
        let tail = self.simple()?;
        match &tail {
            Node::Simple { words, writes, .. } if words.is_empty() && writes.is_empty() => Ok(node),
            Node::Simple { words, .. } if !words.is_empty() => {
                self.error("words follow the end of a compound command")
            }
            _ => Ok(Node::Group(vec![(Joint::Then, node), (Joint::Then, tail)])),
        }
    }

    fn simple(&mut self) -> Result<Node, Unreadable> {
        let (mut words, mut writes, mut here) = (Vec::new(), Vec::new(), None);
        loop {
            match self.peek() {
                Some(Token::Word(_)) => words.extend(self.word()),
                Some(Token::WritesTo) => {
                    self.at += 1;
                    match self.word() {
                        Some(word) => writes.push(word),
                        None => return self.error("a redirection goes nowhere"),
                    }
                }
                Some(Token::ReadsFrom) => {
                    self.at += 1;
                    self.word();
                }
                Some(Token::HereDocument(body)) => {
                    here = Some(body.clone());
                    self.at += 1;
                }
                Some(Token::Operator("(")) if words.len() == 1 => {
                    self.at += 1;
                    if !self.eat_operator(")") {
                        return self.error("a `(` in the middle of a command");
                    }
                    return self.function();
                }
                Some(Token::Operator("(")) if !words.is_empty() => {
                    return self.error("a `(` in the middle of a command");
                }
                _ => return Ok(Node::Simple { words, writes, here }),
            }
        }
    }
}
