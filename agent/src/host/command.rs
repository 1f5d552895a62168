//! Running a program: a clean environment, captured output, a deadline, and its whole process group ended when that passes.
//!
//! Programs are started for their answer. None of them is a guest, and a process group that is ended here was started here.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Few programs that the agent runs have reason to say more; what is beyond is dropped.
const OUTPUT_LIMIT: usize = 64 << 20;
/// How long output pipes may stay open after the program itself has ended (a child of it may hold them).
const PIPE_GRACE: Duration = Duration::from_secs(1);
/// Between the request to end and the end by force.
const TERMINATE_GRACE: Duration = Duration::from_secs(5);

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    /// Added to the clean environment.
    pub environment: Vec<(String, String)>,
    pub input: Option<Vec<u8>>,
    pub directory: Option<PathBuf>,
    pub deadline: Duration,
    /// Bytes of its standard output that are kept.
    pub output_limit: usize,
}

impl Command {
    /// `program` is looked up in the clean `PATH` unless it has a slash. The deadline is 30 s until said otherwise.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            directory: None,
            deadline: Duration::from_secs(30),
            output_limit: OUTPUT_LIMIT,
        }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// For a program that is expected to say more than most.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }
}

impl fmt::Display for Command {
    /// The command line for people; not quoted for a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|a| write!(f, " {}", a.display()))
    }
}

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `None`: ended by a signal.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error in one line for a message: its last 400 characters, or those of standard output when it is empty.
    pub fn complaint(&self) -> String {
        let source =
            if self.stderr.iter().any(|b| !b.is_ascii_whitespace()) { &self.stderr } else { &self.stdout };
        one_line(&String::from_utf8_lossy(source))
    }
}

fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" | ");
    let skip = line.chars().count().saturating_sub(400);
    line.chars().skip(skip).collect()
}

/// Why there is no answer, or not a good one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("`{program}` is not on this host")]
    Missing { program: String },
    #[error("failed to start `{command}`: {why}")]
    Start { command: String, why: String },
    #[error("`{command}` gave no answer within {} s and was ended: {said}", .deadline.as_secs())]
    TimedOut { command: String, deadline: Duration, said: String },
    #[error("`{command}` failed with {status}: {said}")]
    Failed { command: String, status: String, said: String },
}

/// Runs programs: [`RealPrograms`], or recorded answers in tests.
pub trait Programs: fmt::Debug + Send + Sync {
    /// Runs the program to its end, whatever its exit code.
    ///
    /// # Errors
    /// It is missing, cannot be started, or passed its deadline.
    fn run(&self, command: &Command) -> Result<Output, CommandError>;

    /// Runs the program and insists on exit code 0.
    ///
    /// # Errors
    /// As [`Programs::run`], and any other exit.
    fn run_ok(&self, command: &Command) -> Result<Output, CommandError> {
        let output = self.run(command)?;
        if output.success() { Ok(output) } else { Err(failed(command, &output)) }
    }
}

/// The error for an output that the caller does not accept.
pub fn failed(command: &Command, output: &Output) -> CommandError {
    let status = match (output.code, output.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    };
    CommandError::Failed { command: command.to_string(), status, said: output.complaint() }
}

/// The programs of the host itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealPrograms;

impl Programs for RealPrograms {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        let started = Instant::now();
        let mut child = spawn(command)?;
        let stdin = child.stdin.take();
        let (out, err) =
            (collect(child.stdout.take(), command.output_limit), collect(child.stderr.take(), OUTPUT_LIMIT));
        if let (Some(mut pipe), Some(bytes)) = (stdin, command.input.clone()) {
            // A program that does not read its input is no error of ours.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let ended = wait_until(&child, command.deadline);
        if !ended {
            end_group(&child);
        }
        let status = child.wait().map_err(|e| start_error(command, &e))?;
        let output = Output {
            code: status.code(),
            signal: status.signal(),
            stdout: out.take(),
            stderr: err.take(),
            took: started.elapsed(),
        };
        if ended {
            Ok(output)
        } else {
            Err(CommandError::TimedOut {
                command: command.to_string(),
                deadline: command.deadline,
                said: output.complaint(),
            })
        }
    }
}

/// The command as std knows it, with the environment that every program of the agent gets.
pub fn prepared(command: &Command) -> std::process::Command {
    let mut process = std::process::Command::new(&command.program);
    process
        .args(&command.arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("LANG", "C")
        .env("HOME", "/root")
        .env("TERM", "dumb")
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .stdin(if command.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(directory) = &command.directory {
        process.current_dir(directory);
    }
    process
}

fn spawn(command: &Command) -> Result<Child, CommandError> {
    prepared(command).spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            CommandError::Missing { program: command.program.to_string_lossy().into_owned() }
        }
        _ => start_error(command, &e),
    })
}

pub(super) fn start_error(command: &Command, error: &std::io::Error) -> CommandError {
    CommandError::Start { command: command.to_string(), why: error.to_string() }
}

/// What a pipe gave so far, and the news that it was closed.
pub(super) struct Collected {
    kept: Arc<Mutex<Vec<u8>>>,
    closed: mpsc::Receiver<()>,
}

impl Collected {
    /// All of it, or what came until [`PIPE_GRACE`] passed.
    pub(super) fn take(self) -> Vec<u8> {
        // Closed, timed out or gone: in each case what is there is what there is.
        let _ = self.closed.recv_timeout(PIPE_GRACE);
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads a pipe in the background, keeping the first `limit` bytes.
pub(super) fn collect(pipe: Option<impl Read + Send + 'static>, limit: usize) -> Collected {
    let (sender, closed) = mpsc::channel();
    let kept = Arc::new(Mutex::new(Vec::new()));
    if let Some(mut pipe) = pipe {
        let kept = Arc::clone(&kept);
        thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count) = pipe.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = limit.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            let _ = sender.send(());
        });
    }
    Collected { kept, closed }
}

/// Whether the child ended within `deadline`. It is not reaped, so that its process group keeps its id.
fn wait_until(child: &Child, deadline: Duration) -> bool {
    let Some(pid) = pid_of(child) else { return false };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let ended = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        while let Err(rustix::io::Errno::INTR) = ended() {}
        let _ = sender.send(());
    });
    receiver.recv_timeout(deadline).is_ok()
}

/// Ends the child's process group: asked first, by force after [`TERMINATE_GRACE`].
fn end_group(child: &Child) {
    let Some(pid) = pid_of(child) else { return };
    // An error means that nobody of the group is left.
    let _ = kill_process_group(pid, Signal::TERM);
    if !wait_until(child, TERMINATE_GRACE) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn output_and_exit_code_come_back_and_the_environment_is_clean() {
        let output =
            RealPrograms.run(&sh("echo out; echo err >&2; env | sort; exit 3").env("EXTRA", "1")).unwrap();
        assert_eq!((output.code, output.signal), (Some(3), None));
        assert!(output.text().starts_with("out\n"));
        assert!(output.text().contains("EXTRA=1\n") && output.text().contains("LC_ALL=C\n"));
        assert!(!output.text().contains("CARGO"), "{}", output.text());
        assert_eq!(output.complaint(), "err");
        let error = RealPrograms.run_ok(&sh("echo no >&2; exit 3")).unwrap_err();
        assert!(error.to_string().ends_with("failed with exit code 3: no"), "{error}");
    }

    #[test]
    fn input_is_given_and_a_missing_program_is_named() {
        let output = RealPrograms.run(&Command::new("cat").input("hello")).unwrap();
        assert_eq!(output.text(), "hello");
        let error = RealPrograms.run(&Command::new("/no/such/program")).unwrap_err();
        assert_eq!(error, CommandError::Missing { program: "/no/such/program".to_owned() });
    }

    #[test]
    fn a_program_past_its_deadline_is_ended_with_its_children() {
        let command = sh("echo begun; sleep 600 & echo $!; wait").deadline(Duration::from_millis(300));
        let Err(CommandError::TimedOut { said, .. }) = RealPrograms.run(&command) else {
            panic!("it should have passed its deadline")
        };
        let child: u32 = said.rsplit(' ').next().unwrap().parse().unwrap();
        // The child's parent is gone, so it is reaped by init or stays as a zombie; it does not run on. On a busy machine it takes a moment to
        // be scheduled for its own end.
        let since = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ") {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(10), "{stat}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_child_that_keeps_the_pipe_does_not_hold_us() {
        let started = Instant::now();
        let output = RealPrograms.run(&sh("echo said; sleep 20 & exit 0")).unwrap();
        assert!(output.success());
        assert_eq!(output.text(), "said\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
