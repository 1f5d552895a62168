//! Guests: the census from four sources, the watch on each incarnation, and what each guest uses.
//!
//! Owns reading. It stops, pauses and signals no guest, opens no monitor socket, starts no libvirtd, and repairs no disagreement
//! (P3): what the sources do not agree on is reported as it is.

pub mod api;
pub mod attribution;
pub mod census;
pub mod events;
pub mod host_guests;
pub mod pidfd;
pub mod proc_events;
pub mod processes;
pub mod scopes;
pub mod status_files;
pub mod usage;
pub mod version;
pub mod watch;

pub use host_guests::HostGuests;

use std::path::PathBuf;

/// Where the sources lie; another place only in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// procfs.
    pub proc: PathBuf,
    /// libvirt's status files of qemu guests.
    pub status: PathBuf,
    /// The directory in which the cgroup hierarchies are mounted.
    pub cgroup: PathBuf,
    /// libvirt's command line client.
    pub virsh: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            status: PathBuf::from("/run/libvirt/qemu"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
            virsh: PathBuf::from("virsh"),
        }
    }
}
