//! Which files a program opens: run it once, traced, with all that it starts.
//!
//! By ptrace(2) rather than fanotify(7): every process and thread of the program is followed from its first instruction, an open is seen
//! as the process itself sees it (with overlay file systems and namespaces of its own), nobody else's opens get in, and no kernel
//! since 3.8 lacks any of it. Only programs that are started here are traced. None is ended by a signal of ours: whatever is left
//! when the deadline passes is ended by the kernel, together with the thread that traced it (`PTRACE_O_EXITKILL`).
//!
//! A successful open is seen, and so is what a process becomes by exec. A failed look-up is not; and neither is an open that was
//! submitted through io_uring, which no qemu does.

use super::command::{Command, CommandError, Output, collect, prepared, start_error};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// A busy program stops thousands of times a second; sleeping between its stops would take minutes.
const SPINS: u32 = 200;
const PAUSE: Duration = Duration::from_micros(500);

/// What a program answered, and the files that it and its children opened or ran, by their real paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub output: Output,
    pub opened: BTreeSet<PathBuf>,
}

/// Why the files are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("`{command}` cannot be traced: {why}")]
    Untraceable { command: String, why: String },
}

/// Runs the program to its end, and that of all its children, under a trace.
///
/// # Errors
/// It cannot be started or traced, or something of it still ran at its deadline.
pub fn watch(command: &Command) -> Result<Watched, WatchError> {
    // A trace belongs to the thread that began it, and ends with it.
    thread::scope(|scope| {
        let name = "opens".to_owned();
        let tracer = thread::Builder::new().name(name).spawn_scoped(scope, || traced(command));
        let tracer = tracer.map_err(|e| start_error(command, &e))?;
        let ended = tracer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        ended.map(Ended::into_watched)?
    })
}

/// What is left of a trace whose thread has ended.
struct Ended {
    child: std::process::Child,
    result: Result<Watched, WatchError>,
}

impl Ended {
    fn into_watched(mut self) -> Result<Watched, WatchError> {
        // The kernel ends it with the tracer, so this does not wait; a child that was reaped by the trace answers ECHILD.
        let _ = self.child.wait();
        self.result
    }
}

fn traced(command: &Command) -> Result<Ended, WatchError> {
    let started = Instant::now();
    let mut process = prepared(command);
    // SAFETY: between fork and exec only one system call is made, which allocates nothing.
    unsafe {
        process.pre_exec(|| ptrace::traceme().map_err(Into::into));
    }
    let mut child = process.spawn().map_err(|e| match e.kind() {
        _ if e.raw_os_error() == Some(Errno::EPERM as i32) => untraceable(command, e),
        std::io::ErrorKind::NotFound => {
            let program = command.program.to_string_lossy().into_owned();
            CommandError::Missing { program }.into()
        }
        _ => start_error(command, &e).into(),
    })?;
    let (out, err) = (
        collect(child.stdout.take(), command.output_limit),
        collect(child.stderr.take(), command.output_limit),
    );
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), command.input.clone()) {
        // A program that does not read its input is no error of ours.
        thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    let mut trace = Trace {
        command,
        main: Pid::from_raw(i32::try_from(child.id()).map_err(|e| untraceable(command, e))?),
        until: started + command.deadline,
        known: BTreeSet::new(),
        opened: BTreeSet::new(),
        status: None,
    };
    let result = trace.follow();
    // What still runs would hold its pipes open; it ends with this thread.
    let result = result.map(|()| Watched {
        output: Output {
            code: trace.status.and_then(Result::ok),
            signal: trace.status.and_then(Result::err),
            stdout: out.take(),
            stderr: err.take(),
            took: started.elapsed(),
        },
        opened: std::mem::take(&mut trace.opened),
    });
    Ok(Ended { child, result })
}

fn untraceable(command: &Command, why: impl std::fmt::Display) -> WatchError {
    WatchError::Untraceable { command: command.to_string(), why: why.to_string() }
}

struct Trace<'a> {
    command: &'a Command,
    main: Pid,
    until: Instant,
    /// Processes and threads whose first stop was seen.
    known: BTreeSet<Pid>,
    opened: BTreeSet<PathBuf>,
    /// How the main process ended: its exit code, or the signal.
    status: Option<Result<i32, i32>>,
}

impl Trace<'_> {
    /// Until nothing traced is left.
    fn follow(&mut self) -> Result<(), WatchError> {
        while let Some(status) = self.next()? {
            self.on(status)?;
        }
        Ok(())
    }

    /// The next stop or end; `None` when all have ended.
    fn next(&self) -> Result<Option<WaitStatus>, WatchError> {
        // Only what this thread started or traces: the agent's other children are others' business.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
        let mut spins = 0;
        loop {
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => return Ok(Some(status)),
                Err(Errno::ECHILD) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(untraceable(self.command, e)),
            }
            if Instant::now() >= self.until {
                return Err(WatchError::Command(CommandError::TimedOut {
                    command: self.command.to_string(),
                    deadline: self.command.deadline,
                    said: "it or a process that it started still ran".to_owned(),
                }));
            }
            spins += 1;
            if spins < SPINS { thread::yield_now() } else { thread::sleep(PAUSE) }
        }
    }

    fn on(&mut self, status: WaitStatus) -> Result<(), WatchError> {
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, code) => {
                self.ended(pid, Ok(code));
                return Ok(());
            }
            WaitStatus::Signaled(pid, signal, _) => {
                self.ended(pid, Err(signal as i32));
                return Ok(());
            }
            WaitStatus::PtraceSyscall(pid) => {
                self.on_system_call(pid)?;
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
                    self.note(pid, "exe")?;
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) if self.known.insert(pid) => {
                // The main process stops at its exec, each other one at its beginning.
                if pid == self.main {
                    let follow = Options::PTRACE_O_TRACEFORK
                        | Options::PTRACE_O_TRACEVFORK
                        | Options::PTRACE_O_TRACECLONE
                        | Options::PTRACE_O_TRACEEXEC
                        | Options::PTRACE_O_TRACESYSGOOD
                        | Options::PTRACE_O_EXITKILL;
                    ptrace::setoptions(pid, follow).map_err(|e| untraceable(self.command, e))?;
                    self.note(pid, "exe")?;
                }
                let first = if pid == self.main { Signal::SIGTRAP } else { Signal::SIGSTOP };
                (pid, (signal != first).then_some(signal))
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => return Ok(()),
        };
        match ptrace::syscall(pid, signal) {
            // It was ended while it was stopped; that is told next.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => Err(untraceable(self.command, e)),
        }
    }

    fn ended(&mut self, pid: Pid, status: Result<i32, i32>) {
        self.known.remove(&pid);
        if pid == self.main {
            self.status = Some(status);
        }
    }

    fn on_system_call(&mut self, pid: Pid) -> Result<(), WatchError> {
        match new_descriptor(pid) {
            Ok(Some(descriptor)) => self.note(pid, &format!("fd/{descriptor}")),
            Ok(None) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => Err(untraceable(self.command, e)),
        }
    }

    /// Notes where a link of `/proc/PID` leads.
    fn note(&mut self, pid: Pid, link: &str) -> Result<(), WatchError> {
        let link = format!("/proc/{pid}/{link}");
        let target = std::fs::read_link(&link)
            .map_err(|e| untraceable(self.command, format!("{link} cannot be read: {e}")))?;
        // Pipes, sockets and the like have no path.
        if target.is_absolute() {
            self.opened.insert(target);
        }
        Ok(())
    }
}

/// The descriptor, when this stop is the end of a system call that opened one. At the beginning of a call the result reads `ENOSYS`.
#[cfg(target_arch = "x86_64")]
fn new_descriptor(pid: Pid) -> Result<Option<u64>, Errno> {
    /// The code segment of 32-bit programs, whose system calls have other numbers.
    const CODE_32: u64 = 0x23;
    /// open, creat, openat, open_by_handle_at, openat2.
    const OPENS: [u64; 5] = [2, 85, 257, 304, 437];
    let registers = ptrace::getregs(pid)?;
    if registers.cs == CODE_32 {
        return Err(Errno::ENOEXEC);
    }
    let opened = OPENS.contains(&registers.orig_rax) && registers.rax.cast_signed() >= 0;
    Ok(opened.then_some(registers.rax))
}

#[cfg(not(target_arch = "x86_64"))]
fn new_descriptor(_pid: Pid) -> Result<Option<u64>, Errno> {
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn sh(script: &str) -> Command {
        Command::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn files_opened_by_the_program_and_its_children_are_seen_by_their_real_paths() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        for name in ["own", "childs", "grandchilds", "never"] {
            std::fs::write(here.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("own", here.join("link")).unwrap();
        let script = "read x < link; echo $x; cat childs; (sh -c 'cat grandchilds' &) ; cat absent; test -e never; exit 4";
        let watched = watch(&sh(script).directory(&here)).unwrap();
        assert_eq!(watched.output.code, Some(4));
        let text = watched.output.text();
        assert!(text.contains("childs") && text.contains("grandchilds"), "{text}");
        let below: Vec<&Path> =
            watched.opened.iter().filter_map(|path| path.strip_prefix(&here).ok()).collect();
        assert_eq!(below, ["childs", "grandchilds", "own"].map(Path::new));
        assert!(watched.opened.iter().any(|path| path.ends_with("cat")), "a program that runs is seen too");
    }

    #[test]
    fn input_is_given_and_many_opens_do_not_take_long() {
        let script = "read word; i=0; while [ $i -lt 3000 ]; do : < /dev/null; i=$((i+1)); done; echo $word";
        let watched = watch(&sh(script).input("quit\n")).unwrap();
        assert_eq!(watched.output.text(), "quit\n");
        assert!(watched.output.took < Duration::from_secs(20), "{:?}", watched.output.took);
    }

    #[test]
    fn a_program_past_its_deadline_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("setsid sleep 600 & echo $! >> {0}; echo $$ >> {0}; wait", pids.display());
        let started = Instant::now();
        let error = watch(&sh(&script).deadline(Duration::from_millis(500))).unwrap_err();
        assert!(matches!(error, WatchError::Command(CommandError::TimedOut { .. })), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
            let gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ")
            };
            let until = Instant::now() + Duration::from_secs(5);
            while !gone() {
                assert!(Instant::now() < until, "{pid} runs on");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn signals_reach_the_program_and_a_missing_one_is_named() {
        let watched = watch(&sh("trap 'echo caught' USR1; kill -USR1 $$; kill -TERM $$")).unwrap();
        assert_eq!((watched.output.text().as_str(), watched.output.signal), ("caught\n", Some(15)));
        let error = watch(&Command::new("/no/such/program")).unwrap_err();
        assert_eq!(error.to_string(), "`/no/such/program` is not on this host");
    }
}
