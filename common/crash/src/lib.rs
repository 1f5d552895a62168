//! Named instants at which a test can make the process die, as a power cut or `kill -9` would.
//!
//! The durable parts (the agent's ledger, the coordinator's journal) name the boundaries that matter:
//!
//! ```
//! replank_crash::crash_point!("ledger.intended");
//! ```
//!
//! Without the feature `crash-points` the macro is an empty inline function; released builds never have the feature. With it, these
//! environment variables decide, read at every boundary:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `REPLANK_CRASH_AT=name[:nth]` | die at the nth time (from 1, which is also the default) that this process reaches `name` |
//! | `REPLANK_CRASH_ONCE_FILE=path` | die at each boundary that `path` does not list yet, after listing it durably |
//! | `REPLANK_CRASH_ONLY=beginning` | with the list: die at no boundary whose name begins otherwise |
//!
//! With the list, one scenario that is started again and again until it ends has crashed once at *every* boundary it
//! meets. Dying is `abort()`: no destructor runs, nothing is flushed.

/// Marks a boundary; see the crate's documentation. The name is a literal, unique in the program.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::reach($name)
    };
}

/// What [`crash_point!`] calls; called directly where the name comes from elsewhere.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn reach(_name: &str) {}

#[cfg(feature = "crash-points")]
pub use armed::reach;

#[cfg(feature = "crash-points")]
mod armed {
    use std::collections::BTreeMap;
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Seek, Write};
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    static REACHED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

    /// What [`crate::crash_point!`] calls: counts the boundary, and dies there when the environment says so.
    pub fn reach(name: &str) {
        // Held to the end, so that two threads cannot list the same boundary twice.
        let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let count = reached.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if let Ok(wanted) = std::env::var("REPLANK_CRASH_AT") {
            let (wanted_name, nth) = match wanted.rsplit_once(':') {
                Some((wanted_name, nth)) => (wanted_name, nth.parse().unwrap_or(1)),
                None => (wanted.as_str(), 1),
            };
            if wanted_name == name && nth == *count {
                die(name);
            }
        }
        let only = std::env::var("REPLANK_CRASH_ONLY").unwrap_or_default();
        if let Some(path) = std::env::var_os("REPLANK_CRASH_ONCE_FILE").filter(|_| name.starts_with(&only)) {
            match list_once(Path::new(&path), name) {
                Ok(true) => die(name),
                Ok(false) => {}
                // A sweep that cannot keep its list would crash at the same place for ever.
                Err(error) => panic!("failed to keep the list of crash points in {path:?}: {error}"),
            }
        }
    }

    /// Whether `name` was new to the list; it is on disk when this returns.
    fn list_once(path: &Path, name: &str) -> std::io::Result<bool> {
        let mut file: File = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        if text.lines().any(|line| line == name) {
            return Ok(false);
        }
        file.write_all(format!("{name}\n").as_bytes())?;
        file.sync_all()?;
        Ok(true)
    }

    fn die(name: &str) -> ! {
        eprintln!("crash point {name}: aborting as asked");
        std::process::abort()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_boundary_is_new_once() {
            let path = std::env::temp_dir().join(format!("replank-crash-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            assert!(list_once(&path, "a").unwrap());
            assert!(list_once(&path, "ab").unwrap());
            assert!(!list_once(&path, "a").unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nab\n");
            std::fs::remove_file(&path).unwrap();
        }
    }
}
