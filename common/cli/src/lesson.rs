//! What `--help` and the man pages teach beyond the options: what a command changes, examples, and how it can end.

use crate::Ending;

/// One command's lesson.
#[derive(Debug)]
pub struct Lesson<E: 'static> {
    /// The words after the program's name; empty for the program itself.
    pub path: &'static str,
    /// What it does, in sentences.
    pub does: &'static str,
    pub changes: &'static str,
    /// Each a line that can be typed.
    pub examples: &'static [&'static str],
    /// Beside those of every command.
    pub exits: &'static [E],
}

impl<E: Ending> Lesson<E> {
    /// All ways to end, in ascending order of code; `everywhere` are those of every command.
    pub fn all_exits(&self, everywhere: &[E]) -> Vec<E> {
        let mut exits = [everywhere, self.exits].concat();
        exits.sort();
        exits.dedup();
        exits
    }

    /// The end of `--help`.
    pub fn text(&self, everywhere: &[E]) -> String {
        let mut text = format!("Changes:\n  {}\n\nExamples:\n", self.changes);
        for example in self.examples {
            text.push_str(&format!("  {example}\n"));
        }
        text.push_str("\nExit codes:\n");
        for exit in self.all_exits(everywhere) {
            text.push_str(&format!("  {}  {}\n", exit.code(), exit.title()));
        }
        text
    }
}
