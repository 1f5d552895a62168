//! libvirt's lifecycle events, from a `virsh event --loop` that lives as long as libvirtd does.
//!
//! The client is started only while a daemon runs (a question would start one by socket activation), and again when the daemon comes back.
//! It gets a pseudo-terminal to write to: into a pipe its C library would hold the events back until a block is full.

use super::attribution::LifecycleEvent;
use super::processes;
use super::{Roots, processes::Daemon};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Between two looks for a daemon, and before the client is started again.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts the thread that listens; it ends when nobody receives any more.
///
/// # Errors
/// The operating system gives no thread.
pub fn listen(roots: Roots, sender: UnboundedSender<LifecycleEvent>) -> std::io::Result<()> {
    // A thread of its own for the whole life of the clients: the kernel ends a client when the *thread* that started it ends.
    thread::Builder::new().name("libvirt-events".to_owned()).spawn(move || {
        while !sender.is_closed() {
            if let Ok(Some(_)) = running_daemon(&roots) {
                match follow(&roots, &sender) {
                    Ok(()) => tracing::debug!("the client for libvirt's events ended"),
                    Err(why) => tracing::warn!(%why, "failed to follow libvirt's events"),
                }
            }
            thread::sleep(PAUSE);
        }
    })?;
    Ok(())
}

fn running_daemon(roots: &Roots) -> Result<Option<Daemon>, String> {
    processes::scan(&roots.proc).map(|scan| scan.daemon)
}

/// Follows one client to its end.
fn follow(roots: &Roots, sender: &UnboundedSender<LifecycleEvent>) -> std::io::Result<()> {
    let (ours, mut client) = start(roots)?;
    for line in BufReader::new(File::from(ours)).lines() {
        // Reading the terminal of an ended client fails with EIO; that is its end of file.
        let Ok(line) = line else { break };
        match parse(&line) {
            Some(event) => {
                if sender.send(event).is_err() {
                    break;
                }
            }
            None => tracing::debug!(line, "libvirt's client said something else"),
        }
    }
    // Our end is closed, so the client ends with its next event if it has not yet; it is not left behind in any case.
    let _ = client.kill();
    client.wait().map(drop)
}

fn start(roots: &Roots) -> std::io::Result<(OwnedFd, Child)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = rustix::fs::open(
        ptsname(&ours, Vec::new())?,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut command = Command::new(&roots.virsh);
    command
        .args(["-q", "-r", "-c", "qemu:///system", "event", "--event", "lifecycle", "--loop"])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs))
        .process_group(0);
    // SAFETY: between fork and exec only one system call is made, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    Ok((ours, command.spawn()?))
}

/// Reads `event 'lifecycle' for domain 'web1': Stopped Destroyed`; older releases put no quotes around the name.
pub fn parse(line: &str) -> Option<LifecycleEvent> {
    let rest = line.trim().strip_prefix("event 'lifecycle' for domain ")?;
    // A name may hold a colon; the words after it do not.
    let (name, words) = rest.rsplit_once(": ")?;
    let name = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name);
    let (event, detail) = words.trim().split_once(' ').unwrap_or((words.trim(), ""));
    Some(LifecycleEvent { name: name.to_owned(), event: event.to_owned(), detail: detail.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::processes::tests::fake_process;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn old_and_new_spellings_are_read() {
        let read = |line| parse(line).map(|event| (event.name, event.event, event.detail));
        let is = |name: &str, event: &str, detail: &str| Some((name.into(), event.into(), detail.into()));
        assert_eq!(
            read("event 'lifecycle' for domain web1: Stopped Destroyed"),
            is("web1", "Stopped", "Destroyed")
        );
        assert_eq!(
            read("event 'lifecycle' for domain 'a: b': Shutdown Finished after guest request\r\n"),
            is("a: b", "Shutdown", "Finished after guest request")
        );
        assert_eq!(read("event 'reboot' for domain 'a'"), None);
        assert_eq!(read("error: Disconnected from qemu:///system due to end of file"), None);
    }

    #[test]
    fn events_come_one_by_one_and_the_client_is_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path().join("proc");
        fake_process(&proc, 45, 1, "libvirtd", 50, &["/usr/sbin/libvirtd"], "/usr/sbin/libvirtd");
        let virsh = dir.path().join("virsh");
        // Stays alive after its event, like the real one; then ends at the first line of the other file.
        let script = format!(
            "#!/bin/sh\n[ -e {0}/second ] && {{ echo \"event 'lifecycle' for domain 'b': Stopped Failed\"; exec sleep 600; }}\n\
             : > {0}/second\necho \"event 'lifecycle' for domain 'a': Started Booted\"\nexit 1\n",
            dir.path().display()
        );
        std::fs::write(&virsh, script).unwrap();
        std::fs::set_permissions(&virsh, std::fs::Permissions::from_mode(0o755)).unwrap();
        let roots = Roots { proc, virsh, ..Roots::default() };
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        listen(roots, sender).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut next = || {
            runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(20), receiver.recv())
                    .await
                    .expect("an event")
                    .unwrap()
            })
        };
        assert_eq!(next().name, "a");
        assert_eq!(next().name, "b");
    }
}
