//! The words of a command: options, what they are about, the command inside a command.

use super::{Harm, Kind};
use crate::guard::shell::{ANY, Command};

pub(super) fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
pub(super) fn harm(kind: Kind, subject: &str, command: &Command, asks_policy: bool) -> Harm {
    Harm { kind, subject: subject.to_owned(), command: show(command), line: command.line, asks_policy }
}

/// Characters of a command that a message shows.
const COMMAND_MAX: usize = 120;

pub(super) fn show(command: &Command) -> String {
    let words: Vec<String> = command.words.iter().map(|word| word.join("|")).collect();
    let mut text = words.join(" ");
    for target in &command.writes {
        text.push_str(" > ");
        text.push_str(&target.join("|"));
    }
    let text = text.replace(ANY, "…").trim().to_owned();
    if text.chars().count() > COMMAND_MAX {
        text.chars().take(COMMAND_MAX).chain(['…']).collect()
    } else {
        text
    }
}
/// Whether `word` is a bundle of short options with `letter` in it.
pub(super) fn is_short(word: &str, letter: char) -> bool {
    word.strip_prefix('-').is_some_and(|bundle| {
        !bundle.starts_with('-') && bundle.chars().all(|c| c.is_ascii_alphabetic()) && bundle.contains(letter)
    })
}

/// Arguments that are no options; those of `with_value` take the next word along.
pub(super) fn positional(arguments: &[Vec<String>], with_value: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    let mut options_end = false;
    while let Some(word) = rest.next() {
        let first = word.first().map(String::as_str).unwrap_or_default();
        if options_end || !first.starts_with('-') || first == "-" {
            found.push(word.clone());
        } else if first == "--" {
            options_end = true;
        } else if with_value.contains(&first) {
            rest.next();
        }
    }
    found
}

/// The value of an option, in the next word or behind `=`.
pub(super) fn option(arguments: &[Vec<String>], names: &[&str]) -> Option<Vec<String>> {
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        for value in word {
            if names.contains(&value.as_str()) {
                return rest.next().cloned();
            }
            let joined = names.iter().filter(|name| name.starts_with("--"));
            if let Some(value) =
                joined.into_iter().find_map(|name| value.strip_prefix(name)?.strip_prefix('='))
            {
                return Some(vec![value.to_owned()]);
            }
        }
    }
    None
}

/// The command inside `env`, `nohup`, `timeout` and the like; what `xargs` adds to one is unknown.
pub(super) fn unwrap(words: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut words = words;
    let mut from_input = false;
    loop {
        let Some(program) = words.first().and_then(|word| word.first()) else { return words.to_vec() };
        let options_with_value: &[&str] = match base(program) {
            "exec" | "command" | "nohup" | "setsid" | "builtin" | "busybox" | "time" => &[],
            "env" => &["-u", "-C"],
            "nice" | "ionice" => &["-n", "-c", "-p"],
            "timeout" => &["-s", "-k"],
            "sudo" => &["-u", "-g"],
            "xargs" => &["-n", "-I", "-P", "-L", "-d", "-a", "-s", "-E"],
            "systemd-run" => &["-p", "-u", "--unit"],
            "chroot" => &[],
            _ => break,
        };
        from_input |= base(program) == "xargs";
        let takes_one = matches!(base(program), "timeout" | "chroot");
        let mut at = 1;
        while let Some(word) = words.get(at).and_then(|word| word.first()) {
            if options_with_value.contains(&word.as_str()) {
                at += 2;
            } else if word.starts_with('-') || (base(program) == "env" && word.contains('=')) {
                at += 1;
            } else {
                break;
            }
        }
        at += usize::from(takes_one);
        if at >= words.len() {
            return Vec::new();
        }
        words = &words[at..];
    }
    let mut words = words.to_vec();
    if from_input {
        words.push(vec![ANY.to_string()]);
    }
    words
}
