//! Where things are: the host's root, and the agent's own directory.

use std::path::{Path, PathBuf};

/// The agent's own directory on a real host.
pub const STATE: &str = "/var/lib/replank";

/// The root below which the host's files are found (`/`, or a directory in tests), and the agent's own directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    root: PathBuf,
    state: PathBuf,
}

impl Directories {
    /// The real host.
    pub fn real() -> Self {
        Self { root: PathBuf::from("/"), state: PathBuf::from(STATE) }
    }

    /// The real host, with the agent's directory at another place.
    pub fn real_with(state: impl Into<PathBuf>) -> Self {
        Self { root: PathBuf::from("/"), state: state.into() }
    }

    /// A host below `root`, with its agent's directory at the usual place in it.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let state = root.join(STATE.trim_start_matches('/'));
        Self { root, state }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether programs work on the host itself and need not be told of another root.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where the host's absolute `path` is found from here.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Old bytes of changed files, each under its SHA-256.
    pub fn blobs(&self) -> PathBuf {
        self.state.join("blobs")
    }

    /// Packages of both directions, a directory a set.
    pub fn staged(&self) -> PathBuf {
        self.state.join("staged")
    }

    /// Immutable copies of what running guests use.
    pub fn retained(&self) -> PathBuf {
        self.state.join("retained")
    }

    /// What an action has to remember between `prepare` and `verify` beyond its undo record.
    pub fn notes(&self) -> PathBuf {
        self.state.join("notes")
    }

    /// Scratch trees; anything in it is left over and may be removed when no action runs.
    pub fn scratch(&self) -> PathBuf {
        self.state.join("scratch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_host_are_found_below_its_root() {
        assert_eq!(Directories::real().at("/etc/x"), Path::new("/etc/x"));
        let other = Directories::below("/tmp/h");
        assert_eq!(other.at("/etc/x"), Path::new("/tmp/h/etc/x"));
        assert_eq!(other.blobs(), Path::new("/tmp/h/var/lib/replank/blobs"));
    }
}
