//! What can go wrong in the lab, each with the thing it went wrong for.

use std::path::PathBuf;
use std::time::Duration;

/// A result of the lab.
pub type Result<T> = std::result::Result<T, LabError>;

/// Why the lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A tool could not be started at all.
    #[error("failed to start `{program}`; run tests/lab/setup.sh, as root")]
    Start {
        /// What was to run.
        program: String,
        /// Why it did not.
        #[source]
        source: std::io::Error,
    },
    /// A tool ran and did not succeed.
    #[error("`{command}` ended with {status}: {said}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status, or the signal that ended it.
        status: String,
        /// The last of what it wrote.
        said: String,
    },
    /// A file, directory or socket of the lab's.
    #[error("failed to {what} {path}")]
    Io {
        /// The verb: read, write, create, …
        what: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A condition did not come in time.
    #[error("{what} not reached within {} s: {last}", .limit.as_secs_f32())]
    Deadline {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
        /// What was seen last.
        last: String,
    },
    /// The caller asked for something that the lab does not have or allow.
    #[error("{0}")]
    Refused(String),
    /// Something of a lab is still there after its removal.
    #[error("lab `{lab}` is not removed: still there: {}", .left.join(", "))]
    Left {
        /// The lab's name.
        lab: String,
        /// Mounts, namespaces, processes, directories.
        left: Vec<String>,
    },
}

/// Gives an I/O error the path and the verb.
pub(crate) trait IoContext<T> {
    fn doing(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn doing(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| LabError::Io { what, path: path.into(), source })
    }
}
