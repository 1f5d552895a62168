//! The packages and binaries under test, made beforehand by `packaging/build.sh --test`.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Where the built RPMs and binaries are.
#[derive(Debug, Clone)]
pub struct Packages {
    directory: PathBuf,
}

impl Packages {
    /// `$REPLANK_TEST_RPMS`, or `target/rpm-test` of this checkout.
    ///
    /// # Errors
    /// They have not been built.
    pub fn find() -> Result<Self> {
        let directory = match std::env::var_os("REPLANK_TEST_RPMS") {
            Some(directory) => PathBuf::from(directory),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rpm-test"),
        };
        let found = Self { directory };
        if !found.replank().is_file() {
            bail!(
                "{} is not there: build the packages under test with `packaging/build.sh --test --out target/rpm-test`",
                found.replank().display()
            );
        }
        Ok(found)
    }

    /// Packages built to another directory.
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The agent's binary.
    pub fn replank_agent(&self) -> PathBuf {
        self.directory.join("bin/replank-agent")
    }

    /// The coordinator's binary.
    pub fn replank(&self) -> PathBuf {
        self.directory.join("bin/replank")
    }

    /// The agent's RPM of a release, the highest by default.
    ///
    /// # Errors
    /// There is none.
    pub fn agent_rpm(&self) -> Result<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(&self.directory)
            .with_context(|| format!("cannot list {}", self.directory.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                name.starts_with("replank-agent-") && name.ends_with(".x86_64.rpm")
            })
            .collect();
        found.sort();
        found.pop().with_context(|| format!("there is no replank-agent RPM in {}", self.directory.display()))
    }
}
