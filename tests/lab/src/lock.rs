//! Who a lab belongs to: one process at a time, as long as it lives.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{IoContext, LabError, Result};
use crate::name::{DATA_DIR, LabName, STATE_DIR};
use crate::state::LabState;

/// A process that was killed while it started another leaves the lock with that one until it is a program of its own.
const HANDED_DOWN: Duration = Duration::from_secs(5);

/// The right to boot or remove the lab of a name. The kernel takes it back when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct LabLock {
    name: LabName,
    _file: Flock<File>,
}

impl LabLock {
    /// Takes the lab's lock, or says which running process has it.
    pub(crate) fn take(name: &LabName) -> Result<Self> {
        let path = name.lock_file();
        let since = Instant::now();
        loop {
            // Whoever leaves as the last takes the shared directories along, perhaps just now.
            let made = fs::create_dir_all(STATE_DIR).and_then(|()| File::create(&path));
            let file = match made {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                made => made.doing("create", &path)?,
            };
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err(_) => {
                    let owner = LabState::load(name).map(|state| state.owner);
                    if owner.is_none_or(|owner| !owner.is_alive()) && since.elapsed() < HANDED_DOWN {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    let owner = owner.map_or_else(|| "unknown".to_owned(), |owner| owner.pid.to_string());
                    return Err(LabError::Refused(format!(
                        "lab `{name}` belongs to a running process ({owner}); end that first"
                    )));
                }
            };
            // The one before us may have removed the file between our opening and our locking it.
            let ours = file.metadata().doing("look at", &path)?.ino();
            if !fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
                continue;
            }
            match fs::create_dir_all(name.data_dir()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                made => {
                    made.doing("create", name.data_dir())?;
                    return Ok(Self { name: name.clone(), _file: file });
                }
            }
        }
    }
}

impl Drop for LabLock {
    fn drop(&mut self) {
        // Still locked: nobody else can take this file to be valid and then lose it. Directories that hold
        // another lab stay, being not empty.
        let _ = fs::remove_file(self.name.lock_file());
        let _ = fs::remove_dir(STATE_DIR);
        let _ = fs::remove_dir(DATA_DIR);
    }
}
