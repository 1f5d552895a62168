//! Which qemu a running guest is: asked of the image that its process runs, not of the file that now has its name.
//!
//! `/proc/PID/exe` reaches the image even after it was replaced or removed. A second process of it is started with `-version`, which prints
//! and ends; the guest does not notice. Asked once per image.

use super::processes::{self, QemuProcess};
use super::usage::FileId;
use crate::host::command::{Command, Programs};
use replank_common::version::Version;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(5);
/// An image that gave no answer is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The versions of the images seen so far.
#[derive(Debug, Default)]
pub struct Versions {
    known: Mutex<HashMap<FileId, (Option<Version>, Instant)>>,
}

impl Versions {
    /// The version of a process's image; `None` where it cannot be told.
    pub fn of(&self, proc: &Path, qemu: &QemuProcess, programs: &dyn Programs) -> Option<Version> {
        let file = qemu.executable.file?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&file).cloned();
        if let Some((version, asked)) = known
            && (version.is_some() || asked.elapsed() < ASK_AGAIN)
        {
            return version;
        }
        let version = ask(proc, qemu.pid, programs);
        // Through a process that ended meanwhile nothing was asked; the next guest of this image can be asked.
        if version.is_none() && processes::start_ticks(proc, qemu.pid) != Some(qemu.start_ticks) {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(file, (version.clone(), Instant::now()));
        version
    }
}

fn ask(proc: &Path, pid: u32, programs: &dyn Programs) -> Option<Version> {
    let process = proc.join(pid.to_string());
    let mut command = Command::new(process.join("exe")).arg("-version").deadline(DEADLINE);
    // A relocated build may find its libraries by what its launcher set.
    if let Some(path) = library_path(&std::fs::read(process.join("environ")).unwrap_or_default()) {
        command = command.env("LD_LIBRARY_PATH", &path);
    }
    let output = programs.run_ok(&command).ok()?;
    parse(&output.text())
}

fn library_path(environ: &[u8]) -> Option<String> {
    let value = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"LD_LIBRARY_PATH="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// Reads the first line of `qemu -version`.
pub fn parse(text: &str) -> Option<Version> {
    let line = text.lines().find(|line| line.contains("emulator version"))?;
    let word = line.split("version ").nth(1)?.split([' ', ',', '(']).next()?;
    word.starts_with(|first: char| first.is_ascii_digit()).then(|| Version::new(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_builds_print_is_read() {
        for (text, version) in [
            ("QEMU emulator version 7.2.18 (Debian 1:7.2+dfsg-7+deb12u16)\nCopyright (c) 2003", "7.2.18"),
            ("QEMU emulator version 1.5.3 (qemu-kvm-1.5.3-105.el7), Copyright (c) 2003-2008", "1.5.3"),
            ("QEMU emulator version 0.12.1 (qemu-kvm-0.12.1.2), Copyright", "0.12.1"),
            ("QEMU PC emulator version 0.9.1, Copyright", "0.9.1"),
        ] {
            assert_eq!(parse(text).map(|version| version.as_str().to_owned()).as_deref(), Some(version));
        }
        assert_eq!(parse("error while loading shared libraries"), None);
    }

    #[test]
    fn an_image_is_asked_once_and_a_process_that_has_ended_spoils_nothing_for_others() {
        use super::super::processes::Executable;
        use super::super::processes::tests::{UUID, fake_process};
        use crate::host::command::{CommandError, Output};
        use std::sync::atomic::{AtomicU32, Ordering};

        #[derive(Debug, Default)]
        struct Answers(AtomicU32);
        impl Programs for Answers {
            fn run(&self, command: &Command) -> Result<Output, CommandError> {
                self.0.fetch_add(1, Ordering::Relaxed);
                let gone = command.program.to_string_lossy().contains("/40/");
                let stdout = if gone { "" } else { "QEMU emulator version 7.2.18" }.into();
                let took = Duration::ZERO;
                Ok(Output { code: Some(i32::from(gone)), signal: None, stdout, stderr: Vec::new(), took })
            }
        }

        let dir = tempfile::tempdir().unwrap();
        fake_process(dir.path(), 41, 1, "qemu", 410, &["qemu", "-uuid", UUID], "/bin/sh");
        let qemu = |pid: u32| QemuProcess {
            pid,
            parent: 1,
            start_ticks: u64::from(pid) * 10,
            uuid: UUID.parse().unwrap(),
            name: String::new(),
            machine: None,
            executable: Executable { file: Some(FileId { device: 1, inode: 2 }), ..Executable::default() },
        };
        let (versions, answers) = (Versions::default(), Answers::default());
        assert_eq!(versions.of(dir.path(), &qemu(40), &answers), None);
        for _ in 0..2 {
            assert_eq!(versions.of(dir.path(), &qemu(41), &answers), Some(Version::new("7.2.18")));
        }
        assert_eq!(answers.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_library_path_of_a_process_is_found() {
        assert_eq!(library_path(b"A=1\0LD_LIBRARY_PATH=/opt/q/lib\0"), Some("/opt/q/lib".to_owned()));
        assert_eq!(library_path(b"XLD_LIBRARY_PATH=/x\0"), None);
    }
}
