//! Reading shell scripts far enough to say which commands they may run, on which words.
//!
//! Not a shell: nothing is run, and what cannot be known (a command's output, a file's presence) is taken both ways. What can be
//! known is used, because maintainer scripts are full of branches for other occasions: `case "$1" in purge) rm -rf …`.
//!
//! | file | part |
//! | --- | --- |
//! | `lex.rs` | characters to words and operators |
//! | `parse.rs` | words to lists, branches and loops |
//! | `walk.rs` | which commands can be reached, with which words |

mod lex;
mod parse;
mod walk;

pub use walk::{Command, commands};

/// Stands for a part of a word that cannot be known.
pub const ANY: char = '\u{fffc}';

/// Why a text could not be read as a shell script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Unreadable {
    pub line: usize,
    pub why: &'static str,
}

/// Whether a word as [`Command`] has it can be `wanted`: equal, or with its unknown parts and its globs filled in suitably.
pub fn may_be(word: &str, wanted: &str) -> bool {
    glob(word, wanted)
}

/// Whether `pattern` (`*`, `?` and [`ANY`]) matches the whole of `text`.
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*' | &ANY) => {
                retry = Some((p, t));
                p += 1;
            }
            Some('?') => (p, t) = (p + 1, t + 1),
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((star, from)) => {
                    (p, t) = (star + 1, from + 1);
                    retry = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| matches!(c, '*' | &ANY))
}

#[cfg(test)]
mod tests;
