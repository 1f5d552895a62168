//! Help, man pages, completions, and the exit codes that all three tell.

use crate::support::Desk;
use replank_coordinator::cli::exit::Exit;
use replank_coordinator::cli::lessons::LESSONS;
use replank_coordinator::cli::manual::MANUAL;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The words after `replank` of every command, itself included.
fn commands() -> BTreeSet<String> {
    fn walk(command: &clap::Command, path: &str, all: &mut BTreeSet<String>) {
        all.insert(path.to_owned());
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(sub, format!("{path} {}", sub.get_name()).trim_start(), all);
        }
    }
    let mut all = BTreeSet::new();
    walk(&MANUAL.command(), "", &mut all);
    all
}

#[test]
fn every_command_has_a_lesson_and_every_lesson_a_command() {
    let taught: BTreeSet<String> = LESSONS.iter().map(|lesson| lesson.path.to_owned()).collect();
    assert_eq!(commands(), taught);
    for lesson in LESSONS {
        assert!(!lesson.examples.is_empty() && !lesson.does.is_empty() && !lesson.changes.is_empty());
    }
}

#[test]
fn the_exit_codes_of_every_command() {
    let mut table = String::new();
    for exit in Exit::ALL {
        let _ = writeln!(table, "{}  {}", exit.code(), exit.title());
    }
    table.push('\n');
    for lesson in LESSONS {
        let codes: Vec<String> =
            lesson.all_exits(MANUAL.everywhere).iter().map(|exit| exit.code().to_string()).collect();
        let _ = writeln!(table, "{}: {}", format!("replank {}", lesson.path).trim_end(), codes.join(" "));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn help_teaches() {
    let desk = Desk::new();
    insta::assert_snapshot!("help", desk.must(&["--help"]));
    for path in commands() {
        let words: Vec<&str> = path.split_whitespace().collect();
        let help = desk.must(&[&words[..], &["--help"]].concat());
        for part in ["Changes:", "Examples:", "Exit codes:", "--json"] {
            assert!(help.contains(part), "`replank {path} --help` has no {part}: {help}");
        }
    }
}

#[test]
fn a_command_line_that_is_none_is_code_2() {
    let desk = Desk::new();
    for arguments in [
        &["upgrade"][..],
        &["plan"],
        &["watch", "run-1"],
        &["rollback", "run-0193", "--to", "nowhere"],
        &["apply", "plan.json", "--until-hold"],
        &["host", "token", "Not A Host"],
        &["host", "token", "compute1", "--minutes", "0"],
        &["operator", "add", "Alice", "--level", "viewer", "-o", "alice.pem"],
        &["operator", "add", "alice", "--level", "root", "-o", "alice.pem"],
        &["operator", "add", "alice", "--level", "viewer"],
        &["watch", "--since", "0"],
        &["plan", "-f", "fleet.toml", "--force"],
    ] {
        let said = desk.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:#?}");
    }
    assert_eq!(desk.must(&["--version"]), format!("replank {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn man_pages_are_written_for_every_command() {
    let desk = Desk::new();
    desk.must(&["man", "--dir", "man/man1"]);
    let written: BTreeSet<String> = std::fs::read_dir(desk.path("man/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<String> = commands()
        .iter()
        .map(|path| format!("{}.1", format!("replank {path}").trim_end().replace(' ', "-")))
        .collect();
    assert_eq!(written, expected);
    let page = desk.read("man/man1/replank-rollback.1");
    for section in
        ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "CHANGES", "EXAMPLES", "EXIT STATUS", "FILES"]
    {
        let quoted = format!(".SH \"{section}\"");
        let there = page.lines().any(|line| line == format!(".SH {section}") || line == quoted);
        assert!(there, "no {section} in {page}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.must(&["completions", shell]);
        assert!(script.contains("rollback") && script.contains("until-hold"), "{shell}");
    }
}

/// docs/planted-faults.md: what can be made to fail on purpose knows the variable that says how.
#[test]
fn no_fault_can_be_planted_in_the_program() {
    let program = env!("CARGO_BIN_EXE_replank");
    let grep = std::process::Command::new("grep").args(["-q", "REPLANK_PLANT", program]).status();
    assert_eq!(grep.unwrap().code(), Some(1), "grep found it, or could not look");
}
