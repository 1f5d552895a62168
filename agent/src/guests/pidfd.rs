//! A handle on one incarnation that tells its end at once and cannot be fooled by a reused pid: Linux's pidfd (5.3 and later).

use super::processes;
use procfs::process::Process;
use replank_common::census::Incarnation;
use replank_common::planted::{self, Planted};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::path::Path;

/// What opening a handle came to.
#[derive(Debug)]
pub enum Opened {
    /// Readable once the process has ended.
    Handle(OwnedFd),
    /// That incarnation has ended.
    Ended,
    /// This kernel has no pidfd, or does not let us have one.
    Unavailable,
}

/// Opens a handle on `incarnation`.
pub fn open(proc: &Path, incarnation: Incarnation) -> Opened {
    let Some(pid) = i32::try_from(incarnation.pid).ok().and_then(Pid::from_raw) else { return Opened::Ended };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // The pid may have been reused before the handle was opened; from now on it cannot be.
        Ok(handle) => match processes::start_ticks(proc, incarnation.pid) {
            Some(ticks) if ticks == incarnation.start_ticks || planted::is(Planted::PidIsTheLife) => {
                Opened::Handle(handle)
            }
            _ => Opened::Ended,
        },
        Err(Errno::SRCH) => Opened::Ended,
        Err(_) => Opened::Unavailable,
    }
}

/// Whether this kernel gives pidfds, tried on ourselves.
pub fn is_available() -> bool {
    pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).is_ok()
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// From the form that `wait` gives.
    pub fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "its process ended with exit code {code}"),
            Self::Signal(signal) => match name_of_signal(*signal) {
                Some(name) => write!(f, "its process was ended by signal {signal} ({name})"),
                None => write!(f, "its process was ended by signal {signal}"),
            },
        }
    }
}

fn name_of_signal(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// How an ended process of somebody else's ended, as far as the kernel still tells: from its zombie while it has not been reaped,
/// else from the handle (Linux 6.15 and later).
pub fn exit_of(proc: &Path, pid: u32, handle: Option<impl AsFd>) -> Option<Exit> {
    let zombie = Process::new_with_root(proc.join(pid.to_string()))
        .and_then(|process| process.stat())
        .ok()
        .filter(|stat| stat.state == 'Z')
        .and_then(|stat| stat.exit_code);
    zombie.or_else(|| recorded_exit(handle?.as_fd())).map(Exit::from_wait_status)
}

/// `struct pidfd_info` of the kernel's `include/uapi/linux/pidfd.h`, in its first size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    thread_group: u32,
    parent: u32,
    credentials: [u32; 8],
    exit_code: i32,
}

const INFO_EXIT: u64 = 1 << 3;
const GET_INFO: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<PidfdInfo>(0xff, 11);

fn recorded_exit(handle: rustix::fd::BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the opcode is made of the size of `PidfdInfo`, which is the layout that the kernel reads and writes for it;
    // a kernel without this request answers ENOTTY and writes nothing.
    let answer = unsafe {
        let request = rustix::ioctl::Updater::<GET_INFO, PidfdInfo>::new(&mut info);
        rustix::ioctl::ioctl(handle, request)
    };
    (answer.is_ok() && info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_common::ids::BootId;
    use std::process::Command;
    use uuid::Uuid;

    fn incarnation(pid: u32, start_ticks: u64) -> Incarnation {
        Incarnation { boot_id: BootId(Uuid::nil()), pid, start_ticks }
    }

    #[test]
    fn a_handle_is_for_one_incarnation_and_tells_how_it_ended() {
        let proc = Path::new("/proc");
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let ticks = processes::start_ticks(proc, child.id()).unwrap();
        let opened = open(proc, incarnation(child.id(), ticks));
        assert!(matches!(open(proc, incarnation(child.id(), ticks + 1)), Opened::Ended));
        child.kill().unwrap();
        if let Opened::Handle(handle) = &opened {
            let mut wait = [rustix::event::PollFd::new(handle, rustix::event::PollFlags::IN)];
            let bound = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut wait, Some(&bound)).unwrap(), 1);
            // Not reaped yet: the zombie tells.
            assert_eq!(exit_of(proc, child.id(), Some(handle)), Some(Exit::Signal(9)));
        }
        child.wait().unwrap();
        assert!(matches!(open(proc, incarnation(child.id(), ticks)), Opened::Ended));
    }

    #[test]
    fn wait_statuses_are_read() {
        assert_eq!(Exit::from_wait_status(9), Exit::Signal(9));
        assert_eq!(Exit::from_wait_status(0x8b), Exit::Signal(11));
        assert_eq!(Exit::from_wait_status(1 << 8), Exit::Code(1));
        assert_eq!(Exit::Signal(9).to_string(), "its process was ended by signal 9 (SIGKILL)");
    }
}
