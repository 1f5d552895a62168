//! The whole command with its lessons, and what is generated from it: completions and man pages.

use super::args::Cli;
use super::lessons::{self, Lesson};
use crate::config;
use crate::failure::Failure;
use crate::host::files::FileError;
use crate::policy;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;
use std::path::Path;

const NAME: &str = "replank-agent";

/// The command line, each command with its lesson.
pub fn command() -> Command {
    teach(Cli::command(), "").mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        teach(sub, &name)
    })
}

fn teach(command: Command, name: &str) -> Command {
    match lessons::of(name) {
        Some(lesson) => {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            command.long_about(format!("{about}\n\n{}", lesson.does)).after_long_help(lesson.text())
        }
        None => command,
    }
}

/// The completion script of a shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    script
}

/// Writes `replank-agent.1` and one page a command (`replank-agent-run.1`); gives their number.
///
/// # Errors
/// A file or folder that cannot be written.
pub fn write_pages(dir: &Path) -> Result<usize, Failure> {
    std::fs::create_dir_all(dir).map_err(|source| FileError::new("make the directory", dir, source))?;
    // The lessons have sections of their own here, so they are not taught to the command.
    let mut command = Cli::command();
    command.build();
    write_page(&command, "", dir)?;
    let mut written = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        write_page(sub, sub.get_name(), dir)?;
        written += 1;
    }
    Ok(written)
}

fn write_page(command: &Command, sub: &str, dir: &Path) -> Result<(), Failure> {
    let name = if sub.is_empty() { NAME.to_owned() } else { format!("{NAME}-{sub}") };
    let file = dir.join(format!("{name}.1"));
    page(command, &name, sub)
        .and_then(|page| std::fs::write(&file, page))
        .map_err(|source| FileError::new("write", &file, source).into())
}

fn page(command: &Command, name: &str, sub: &str) -> io::Result<Vec<u8>> {
    let lesson = lessons::of(sub);
    let mut command = command.clone().name(name.to_owned());
    if let Some(lesson) = lesson {
        command = command.long_about(lesson.does);
    }
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .manual("replank manual")
        .source(format!("replank {}", env!("CARGO_PKG_VERSION")));
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.get_subcommands().any(|sub| sub.get_name() != "help") {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(lesson) = lesson {
        sections(lesson).to_writer(&mut out)?;
    }
    Ok(out)
}

fn sections(lesson: &Lesson) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["CHANGES"]).text([roman(lesson.changes)]);
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for example in lesson.examples {
        roff.text([roman(*example)]);
    }
    roff.control("fi", []);
    roff.control("SH", ["EXIT STATUS"]);
    for exit in lesson.all_exits() {
        roff.control("TP", ["4"]).text([bold(exit.code().to_string())]).text([roman(exit.title())]);
    }
    roff.control("SH", ["FILES"]);
    for (file, what) in [
        (
            config::PATH,
            "Where things are, and who the coordinator is; files in conf.d beside it have the last word.",
        ),
        (policy::PATH, "What this host lets anybody command at all."),
        ("/var/lib/replank/identity", "The key and the certificate of this host, for root only."),
        ("/var/lib/replank", "The ledger, and what is kept for running guests and for the way back."),
    ] {
        roff.control("TP", []).text([bold(file)]).text([roman(what)]);
    }
    roff
}
