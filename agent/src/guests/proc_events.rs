//! Ends of processes as the kernel's process connector tells them, for kernels without pidfd (EL7's 3.10).
//!
//! Needs `CONFIG_PROC_EVENTS`, `CAP_NET_ADMIN` and the initial network namespace; where one is missing the watch is left with
//! looking again every so often. Layouts: the kernel's `include/uapi/linux/{netlink,connector,cn_proc}.h`.

use super::pidfd::Exit;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;
const NLMSG_DONE: u16 = 3;
/// `struct nlmsghdr`, then `struct cn_msg`.
const NETLINK_HEADER: usize = 16;
const HEADERS: usize = NETLINK_HEADER + 20;
/// `what`, `cpu` and `timestamp_ns` of `struct proc_event`.
const EVENT_HEADER: usize = 16;

/// A process that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub pid: u32,
    pub exit: Exit,
}

/// Subscribes; `None` where the kernel does not let us.
pub fn subscribe() -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::CONNECTOR)).ok()?;
    bind(&socket, &SocketAddrNetlink::new(0, CN_IDX_PROC)).ok()?;
    send(&socket, &subscription(), SendFlags::empty()).ok()?;
    Some(socket)
}

fn subscription() -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADERS + 4);
    message.extend(u32::try_from(HEADERS + 4).unwrap_or_default().to_ne_bytes());
    message.extend(NLMSG_DONE.to_ne_bytes());
    message.extend(0u16.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(rustix::process::getpid().as_raw_nonzero().get().to_ne_bytes());
    message.extend(CN_IDX_PROC.to_ne_bytes());
    message.extend(CN_VAL_PROC.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(4u16.to_ne_bytes());
    message.extend(0u16.to_ne_bytes());
    message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    message
}

/// Reads what is there now, without waiting. Ends that the kernel dropped because we were slow are found by looking again.
pub fn drain(socket: impl AsFd) -> Vec<Ended> {
    let mut ended = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok((count, _)) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT) {
        ended.extend(parse(&buffer[..count]));
    }
    ended
}

fn parse(datagram: &[u8]) -> Option<Ended> {
    let word = |at: usize| Some(u32::from_ne_bytes(datagram.get(at..at + 4)?.try_into().ok()?));
    if word(HEADERS)? != PROC_EVENT_EXIT {
        return None;
    }
    let data = HEADERS + EVENT_HEADER;
    let (task, process) = (word(data)?, word(data + 4)?);
    // The end of a thread is not the end of its process.
    (task == process).then_some(Ended {
        pid: process,
        exit: Exit::from_wait_status(i32::from_ne_bytes(word(data + 8)?.to_ne_bytes())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: u32, task: u32, process: u32, status: u32) -> Vec<u8> {
        let mut datagram = vec![0; HEADERS];
        for word in [what, 0, 0, 0, task, process, status, 17] {
            datagram.extend(word.to_ne_bytes());
        }
        datagram
    }

    #[test]
    fn the_end_of_a_process_is_told_from_that_of_a_thread() {
        assert_eq!(parse(&event(PROC_EVENT_EXIT, 40, 40, 9)), Some(Ended { pid: 40, exit: Exit::Signal(9) }));
        assert_eq!(parse(&event(PROC_EVENT_EXIT, 41, 40, 0)), None);
        assert_eq!(parse(&event(1, 40, 40, 0)), None);
        assert_eq!(parse(&event(PROC_EVENT_EXIT, 40, 40, 9)[..50]), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn a_real_end_is_told_where_the_kernel_lets_us() {
        let Some(socket) = subscribe() else { return };
        let mut child = std::process::Command::new("false").spawn().unwrap();
        child.wait().unwrap();
        let begun = std::time::Instant::now();
        loop {
            if let Some(ended) = drain(&socket).into_iter().find(|ended| ended.pid == child.id()) {
                assert_eq!(ended.exit, Exit::Code(1));
                break;
            }
            assert!(begun.elapsed().as_secs() < 10, "the connector was silent about pid {}", child.id());
            std::thread::yield_now();
        }
    }
}
