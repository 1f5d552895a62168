//! Real hosts on one machine: systemd, libvirtd, qemu, package repositories, beating guests.
//!
//! ```no_run
//! use replank_lab::{Lab, LabSpec};
//!
//! let spec = LabSpec::new("voyage".parse()?).hosts(3).guests_per_host(3);
//! let lab = Lab::up(&spec)?;
//! let listed = lab.host("compute1")?.must(&["virsh", "list", "--name"])?;
//! println!("{listed}{:?}", lab.beats()?.reports());
//! # Ok::<(), replank_lab::LabError>(())
//! ```
//! Everything a lab makes bears its name and is removed when the [`Lab`] is dropped, or after a crash by
//! [`down`] and by the next [`Lab::up`] of that name. It needs root, and the packages of `setup.sh`.

pub mod beat;
pub mod ceph;
mod cgroup;
mod command;
mod error;
pub mod guest;
pub mod host;
mod lab;
mod lock;
pub mod mounts;
mod name;
mod net;
mod process;
pub mod repo;
pub mod root;
mod state;
mod teardown;

pub use command::wait_for;
pub use error::{LabError, Result};
pub use guest::GuestSpec;
pub use host::{Host, Kind};
pub use lab::{Lab, LabSpec, REPOSITORY, Times, down};
pub use name::LabName;
pub use net::{COORDINATOR, Cut};
pub use process::Process;
pub use state::{HostState, LabState, known_labs};
pub use teardown::traces;
