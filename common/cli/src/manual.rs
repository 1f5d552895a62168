//! The whole command with its lessons, and what is generated from it: completions and man pages.

use crate::{Ending, Lesson};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;
use std::path::{Path, PathBuf};

/// A program's command line and what it teaches.
#[derive(Debug, Clone, Copy)]
pub struct Manual<E: 'static> {
    /// The program's name.
    pub name: &'static str,
    /// The command line without its lessons.
    pub command: fn() -> Command,
    pub lessons: &'static [Lesson<E>],
    /// How every command can end.
    pub everywhere: &'static [E],
    /// Files that the program reads or keeps, each with what it is for.
    pub files: &'static [(&'static str, &'static str)],
}

/// A page that cannot be written; check free space and the folder's permissions.
#[derive(Debug, thiserror::Error)]
#[error("failed to write `{}`: {source}", .path.display())]
pub struct PageError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl<E: Ending> Manual<E> {
    /// The lesson of a command, by the words after the program's name.
    pub fn lesson(&self, path: &str) -> Option<&'static Lesson<E>> {
        self.lessons.iter().find(|lesson| lesson.path == path)
    }

    /// The command line, each command with its lesson.
    pub fn command(&self) -> Command {
        self.teach((self.command)(), "")
    }

    fn teach(&self, command: Command, path: &str) -> Command {
        let command = match self.lesson(path) {
            Some(lesson) => {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                command
                    .long_about(format!("{about}\n\n{}", lesson.does))
                    .after_long_help(lesson.text(self.everywhere))
            }
            None => command,
        };
        command.mut_subcommands(|sub| {
            let path = format!("{path} {}", sub.get_name());
            self.teach(sub, path.trim_start())
        })
    }

    /// The completion script of a shell.
    pub fn completions(&self, shell: clap_complete::Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut (self.command)(), self.name, &mut script);
        script
    }

    /// Writes one page for the program and one a command (`replank-host-token.1`); gives their number.
    ///
    /// # Errors
    /// A file or folder that cannot be written.
    pub fn write_pages(&self, dir: &Path) -> Result<usize, PageError> {
        std::fs::create_dir_all(dir).map_err(|source| PageError { path: dir.to_owned(), source })?;
        // The lessons have sections of their own here, so they are not taught to the command.
        let mut command = (self.command)();
        command.build();
        let mut written = 0;
        self.write_page(&command, "", dir, &mut written)?;
        Ok(written)
    }

    fn write_page(
        &self,
        command: &Command,
        path: &str,
        dir: &Path,
        written: &mut usize,
    ) -> Result<(), PageError> {
        let name = format!("{} {path}", self.name).trim_end().replace(' ', "-");
        let file = dir.join(format!("{name}.1"));
        self.page(command, &name, path)
            .and_then(|page| std::fs::write(&file, page))
            .map_err(|source| PageError { path: file, source })?;
        *written += 1;
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            self.write_page(sub, path.trim_start(), dir, written)?;
        }
        Ok(())
    }

    fn page(&self, command: &Command, name: &str, path: &str) -> io::Result<Vec<u8>> {
        let lesson = self.lesson(path);
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
            self.sections(lesson).to_writer(&mut out)?;
        }
        Ok(out)
    }

    fn sections(&self, lesson: &Lesson<E>) -> Roff {
        let mut roff = Roff::new();
        roff.control("SH", ["CHANGES"]).text([roman(lesson.changes)]);
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for example in lesson.examples {
            roff.text([roman(*example)]);
        }
        roff.control("fi", []);
        roff.control("SH", ["EXIT STATUS"]);
        for exit in lesson.all_exits(self.everywhere) {
            roff.control("TP", ["4"]).text([bold(exit.code().to_string())]).text([roman(exit.title())]);
        }
        roff.control("SH", ["FILES"]);
        for (file, what) in self.files {
            roff.control("TP", []).text([bold(*file)]).text([roman(*what)]);
        }
        roff
    }
}
