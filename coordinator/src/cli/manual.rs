//! The whole command with its lessons, and what is generated from it: completions and man pages.

use super::args::Cli;
use super::failure::Failure;
use super::lessons::{self, Lesson};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;
use std::path::Path;

/// The command line, each command with its lesson.
pub fn command() -> Command {
    teach(Cli::command(), "")
}

fn teach(command: Command, path: &str) -> Command {
    let command = match lessons::of(path) {
        Some(lesson) => {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            command.long_about(format!("{about}\n\n{}", lesson.does)).after_long_help(lesson.text())
        }
        None => command,
    };
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        teach(sub, path.trim_start())
    })
}

/// The completion script of a shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "replank", &mut script);
    script
}

/// Writes `replank.1` and one page a command (`replank-host-token.1`); gives their number.
///
/// # Errors
/// A file or folder that cannot be written.
pub fn write_pages(dir: &Path) -> Result<usize, Failure> {
    let failed = |source: io::Error| Failure::Write { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    // The lessons have sections of their own here, so they are not taught to the command.
    let mut command = Cli::command();
    command.build();
    let mut written = 0;
    write_page(&command, "", dir, &mut written)?;
    Ok(written)
}

fn write_page(command: &Command, path: &str, dir: &Path, written: &mut usize) -> Result<(), Failure> {
    let name = format!("replank {path}").trim_end().replace(' ', "-");
    let file = dir.join(format!("{name}.1"));
    let page = page(command, &name, path).map_err(|source| Failure::Write { path: file.clone(), source })?;
    std::fs::write(&file, page).map_err(|source| Failure::Write { path: file, source })?;
    *written += 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        write_page(sub, path.trim_start(), dir, written)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, path: &str) -> io::Result<Vec<u8>> {
    let lesson = lessons::of(path);
    let mut command = command.clone().display_name(name);
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
            "./operator.toml",
            "The operator's settings, when neither --config nor REPLANK_CONFIG names others.",
        ),
        ("/etc/replank/operator.toml", "The settings when there is none in the working directory."),
    ] {
        roff.control("TP", []).text([bold(file)]).text([roman(what)]);
    }
    roff
}
