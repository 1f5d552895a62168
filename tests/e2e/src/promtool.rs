//! Prometheus' own checker, as `tests/lab/setup.sh` puts it beside the lab's other things.

use anyhow::{Context, Result, bail};
use replank_lab::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program.
#[derive(Debug, Clone)]
pub struct Promtool(PathBuf);

impl Promtool {
    /// # Errors
    /// It has not been set up.
    pub fn find() -> Result<Self> {
        let path = root::cache_dir().join("bin/promtool");
        if path.is_file() {
            return Ok(Self(path));
        }
        bail!("{} is not there: run tests/lab/setup.sh", path.display())
    }

    /// `promtool check rules` and `promtool test rules`.
    ///
    /// # Errors
    /// What it does not like, or how a rule behaves otherwise than its test says.
    pub fn rules(&self, verb: &str, file: &Path) -> Result<String> {
        let output = Command::new(&self.0)
            .args([verb, "rules"])
            .arg(file)
            .current_dir(file.parent().context("a rules file is in a directory")?)
            .output()
            .context("cannot start promtool")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        bail!("promtool {verb} rules {}: {}\n{said}", file.display(), output.status)
    }
}
