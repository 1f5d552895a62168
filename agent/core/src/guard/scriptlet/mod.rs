//! What a maintainer script or scriptlet would do to live guests.
//!
//! Four kinds of harm: a daemon that guests depend on is stopped or restarted; a file that guests have mapped is written in place; something
//! that guests use is removed; a guest is ended outright. A script that cannot be read, or says what it acts on only when it
//! runs, is taken for harmful if it names anything of these at all.

mod daemons;
mod paths;
mod reader;
mod words;

use super::{Scriptlet, Situation, TransactionItem, shell};
use reader::Reader;
use replank_common::facts::PackageManager;

/// A harm that a script would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Harm {
    pub kind: Kind,
    /// The unit, path or command.
    pub subject: String,
    /// The command as written.
    pub command: String,
    pub line: usize,
    /// Through `invoke-rc.d` or `deb-systemd-invoke`, which ask `policy-rc.d`.
    pub asks_policy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Daemon,
    WritesInPlace,
    Removes,
    EndsGuests,
    CannotTell,
}
/// The harms of one script in the transaction it would run in.
pub(super) fn harms(
    manager: PackageManager,
    item: &TransactionItem,
    script: &Scriptlet,
    situation: &Situation<'_>,
) -> Vec<Harm> {
    let mut reader = Reader { situation, text: &script.text, directories: vec!["/".to_owned()] };
    if let Some(interpreter) = foreign_interpreter(&script.text) {
        return reader.suspect(format!("a script for {interpreter}"), 1).into_iter().collect();
    }
    let first = occasions(manager, item, script);
    let mut harms = match shell::commands(&script.text, first.as_deref()) {
        Ok(commands) => {
            let changes = commands.iter().filter(|command| {
                command
                    .words
                    .first()
                    .is_some_and(|word| word.iter().any(|word| word == "cd" || word == "pushd"))
            });
            reader
                .directories
                .extend(changes.flat_map(|command| command.words[1..].iter().flatten().cloned()));
            commands.iter().flat_map(|command| reader.command(command, 0)).collect()
        }
        Err(error) => reader
            .suspect(format!("a script that cannot be read ({error})"), error.line)
            .into_iter()
            .collect::<Vec<_>>(),
    };
    // `if invoke-rc.d is there … else /etc/init.d/x restart`: where it is there, the other branch is not taken.
    let asked: Vec<String> =
        harms.iter().filter(|harm| harm.asks_policy).map(|harm| harm.subject.clone()).collect();
    for harm in &mut harms {
        if manager == PackageManager::Apt
            && harm.command.contains("/etc/init.d/")
            && asked.contains(&harm.subject)
        {
            harm.asks_policy = true;
        }
    }
    one_a_command(harms)
}

/// The harms of one command as one, which names every subject.
fn one_a_command(harms: Vec<Harm>) -> Vec<Harm> {
    let mut merged: Vec<(Harm, Vec<String>)> = Vec::new();
    for harm in harms {
        let same = merged.iter_mut().find(|(known, _)| {
            known.line == harm.line && known.command == harm.command && known.asks_policy == harm.asks_policy
        });
        match same {
            // What can be told says more than that something cannot.
            Some((known, _)) if harm.kind == Kind::CannotTell && known.kind != Kind::CannotTell => {}
            Some(same) if same.0.kind == Kind::CannotTell && harm.kind != Kind::CannotTell => {
                *same = (harm.clone(), vec![harm.subject]);
            }
            Some((known, subjects)) if known.kind == harm.kind => {
                if !subjects.contains(&harm.subject) {
                    subjects.push(harm.subject);
                }
            }
            Some(_) | None => merged.push((harm.clone(), vec![harm.subject])),
        }
    }
    merged.into_iter().map(|(harm, subjects)| Harm { subject: subjects.join(", "), ..harm }).collect()
}

/// What `$1` is when the script runs; Debian Policy 6.5. `None`: cannot be told.
fn occasions(
    manager: PackageManager,
    item: &TransactionItem,
    script: &Scriptlet,
) -> Option<Vec<&'static str>> {
    if manager != PackageManager::Apt {
        return None;
    }
    let stays = item.after.is_some();
    Some(match (script.name.as_str(), script.of_old_package) {
        ("preinst", false) => vec!["install", "upgrade"],
        ("postinst", false) => vec!["configure", "triggered"],
        ("postinst", true) => vec!["triggered"],
        ("prerm", true) if stays => vec!["upgrade", "deconfigure"],
        ("prerm", true) => vec!["remove"],
        ("postrm", true) if stays => vec!["upgrade"],
        ("postrm", true) => vec!["remove"],
        _ => return None,
    })
}

/// The interpreter of a script that is not for a shell.
fn foreign_interpreter(text: &str) -> Option<String> {
    let line = text.lines().next()?.strip_prefix("#!")?.trim();
    let mut words = line.split_whitespace();
    let mut name = words::base(words.next()?);
    if name == "env" {
        name = words::base(words.find(|word| !word.starts_with('-'))?);
    }
    (!matches!(name, "sh" | "bash" | "dash" | "ksh" | "ash" | "zsh")).then(|| name.to_owned())
}
