//! The host as the agent sees it: one adapter a tool, each parsing just what it needs, with fixtures beside it.
//!
//! Owns how a tool is called and what its answer means. Never decides what ought to be done, and never stops, pauses or
//! signals a guest (P3).

pub mod boundary;
pub mod ceph;
pub mod command;
pub mod dirs;
pub mod files;
pub mod libvirt;
pub mod mapped;
pub mod notes;
pub mod opens;
pub mod os;
pub mod owners;
pub mod packages;
pub mod proc;
pub mod retain;
pub mod space;
pub mod systemd;

use crate::guard::Transaction;
use crate::guests::usage::Usage;
use boundary::Boundary;
use command::Programs;
use dirs::Directories;
use replank_common::action::Action;
use replank_common::census::Census;
use replank_common::finding::Finding;
use replank_common::ids::HostName;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use systemd::Systemd;

/// What actions need to know of the guests; implemented by `crate::guests`, and by a fake in the tests of actions.
pub trait Guests: Debug + Send + Sync {
    /// Takes a census now. Blocking; bounded by the census's own deadlines.
    fn census(&self) -> Census;

    /// What the guests use of the host now.
    ///
    /// # Errors
    /// What cannot be told, which blocks.
    fn usage(&self) -> Result<Usage, String>;

    /// Compares a resolved transaction with what the guests use now: `guests::usage::collect`, then `guard::judge`.
    ///
    /// # Errors
    /// What cannot be told, which blocks.
    fn judge(&self, transaction: &Transaction) -> Result<Vec<Finding>, String>;

    /// Compares an action, before it starts, with what the guests use now (`guard::judge_action`), and where it matters asks whether the
    /// sources of the census agree.
    ///
    /// # Errors
    /// What cannot be told, which blocks.
    fn judge_action(&self, action: &Action) -> Result<Vec<Finding>, String>;
}

/// The adapters and directories that actions work with.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: HostName,
    pub directories: Directories,
    pub programs: Arc<dyn Programs>,
    pub systemd: Arc<dyn Systemd>,
    pub guests: Arc<dyn Guests>,
    pub boundary: Boundary,
}

impl Host {
    /// The host that this process runs on.
    ///
    /// # Errors
    /// The operating system gives no thread for the connection to systemd.
    pub fn real(name: HostName, guests: Arc<dyn Guests>) -> std::io::Result<Self> {
        Ok(Self {
            name,
            directories: Directories::real(),
            programs: Arc::new(command::RealPrograms),
            systemd: Arc::new(systemd::Bus::system()?),
            guests,
            boundary: Boundary::none(),
        })
    }

    /// Where the host's absolute `path` is found from here.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directories.at(path)
    }
}
