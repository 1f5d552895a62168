//! Small hostile packages, real ones, for tests: what a careful upgrade must find before it acts.
//!
//! A [`PackageSpec`] describes a package once; [`PackageSpec::build_deb`] and [`PackageSpec::build_rpm`] make the file
//! with the format's own tools. [`add`](super::add) puts it into a private copy of the repository. The packages that the
//! acceptance tests need are in [`scenarios`]. Nothing here is ever installed on the machine itself.

mod deb;
mod rpm;
pub mod scenarios;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use super::RepoError;
use super::error::Result;
use crate::error::IoContext;

/// When a package's script runs, in the words of neither format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// `preinst`, `%pre`.
    BeforeInstall,
    /// `postinst`, `%post`.
    AfterInstall,
    /// `prerm`, `%preun`.
    BeforeRemove,
    /// `postrm`, `%postun`. On an upgrade it is the *old* package's that runs.
    AfterRemove,
    /// `%posttrans`, after everything else; dpkg has none.
    AfterTransaction,
}

/// One file of a package.
#[derive(Debug, Clone)]
struct PackageFile {
    path: String,
    contents: Vec<u8>,
    mode: u32,
}

/// A package that one test needs.
///
/// Relations are in the words of the format that it is built for (`libvirt0 (>= 9)` or `libvirt-libs >= 9`).
#[derive(Debug, Clone)]
pub struct PackageSpec {
    name: String,
    version: String,
    files: Vec<PackageFile>,
    scripts: Vec<(When, String)>,
    depends: Vec<String>,
    conflicts: Vec<String>,
    replaces: Vec<String>,
}

impl PackageSpec {
    /// An empty package. An RPM's release is always 1.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            files: Vec::new(),
            scripts: Vec::new(),
            depends: Vec::new(),
            conflicts: Vec::new(),
            replaces: Vec::new(),
        }
    }

    /// With a file of mode 0644 at an absolute path.
    #[must_use]
    pub fn file(self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.with_file(path, contents.into(), 0o644)
    }

    /// With a file of mode 0755 at an absolute path.
    #[must_use]
    pub fn executable(self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.with_file(path, contents.into(), 0o755)
    }

    fn with_file(mut self, path: &str, contents: Vec<u8>, mode: u32) -> Self {
        self.files.push(PackageFile { path: path.to_owned(), contents, mode });
        self
    }

    /// With the body of a script for `/bin/sh`; later ones for the same moment replace earlier ones.
    #[must_use]
    pub fn script(mut self, when: When, body: &str) -> Self {
        self.scripts.retain(|(other, _)| *other != when);
        self.scripts.push((when, body.to_owned()));
        self
    }

    /// With a package that must be installed.
    #[must_use]
    pub fn depends(mut self, relation: &str) -> Self {
        self.depends.push(relation.to_owned());
        self
    }

    /// With a package that may not be installed beside it.
    #[must_use]
    pub fn conflicts(mut self, relation: &str) -> Self {
        self.conflicts.push(relation.to_owned());
        self
    }

    /// With a package whose files it takes over (`Replaces`), or which it supersedes (`Obsoletes`).
    #[must_use]
    pub fn replaces(mut self, relation: &str) -> Self {
        self.replaces.push(relation.to_owned());
        self
    }

    /// Refuses what would corrupt a control or spec file rather than make a hostile package.
    fn check(&self, may_be_in_version: fn(char) -> bool) -> Result<()> {
        let bad = |detail: String| Err(RepoError::BadSpec { name: self.name.clone(), detail });
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c);
        if self.name.len() < 2 || !self.name.chars().all(in_name) {
            return bad("its name is not lower-case letters, digits and `+.-`".to_owned());
        }
        if self.version.is_empty() || !self.version.chars().all(may_be_in_version) {
            return bad(format!("`{}` is not a version in this format", self.version));
        }
        for file in &self.files {
            let path = Path::new(&file.path);
            let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
            let quotable = file.path.chars().all(|c| c.is_ascii_graphic() && !"\"'%*?[]{}".contains(c));
            if !path.is_absolute() || !plain || !quotable || file.path.ends_with('/') {
                return bad(format!("`{}` is not a plain absolute path", file.path));
            }
        }
        let relations = self.depends.iter().chain(&self.conflicts).chain(&self.replaces);
        if let Some(relation) = relations.into_iter().find(|relation| relation.contains('\n')) {
            return bad(format!("`{relation}` has a line break"));
        }
        Ok(())
    }

    /// Lays the files out below `root`.
    fn lay_out(&self, root: &Path) -> Result<()> {
        for file in &self.files {
            let path = root.join(file.path.trim_start_matches('/'));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).doing("create", parent)?;
            }
            fs::write(&path, &file.contents).doing("write", &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
                .doing("set the mode of", &path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(spec: &PackageSpec) -> String {
        spec.check(|c| c.is_ascii_alphanumeric() || c == '.').unwrap_err().to_string()
    }

    #[test]
    fn what_no_format_allows_is_refused_by_name() {
        assert!(refused(&PackageSpec::new("Bad Name", "1")).contains("`Bad Name`"));
        assert!(refused(&PackageSpec::new("name", "1 2")).contains("`1 2`"));
        assert!(refused(&PackageSpec::new("name", "1").file("etc/x", "")).contains("`etc/x`"));
        assert!(refused(&PackageSpec::new("name", "1").file("/etc/../x", "")).contains("`/etc/../x`"));
        assert!(refused(&PackageSpec::new("name", "1").file("/etc/a b", "")).contains("`/etc/a b`"));
        assert!(refused(&PackageSpec::new("name", "1").depends("a\nb")).contains("line break"));
    }

    #[test]
    fn the_last_script_of_a_moment_counts() {
        let spec =
            PackageSpec::new("name", "1").script(When::AfterInstall, "a").script(When::AfterInstall, "b");
        assert_eq!(spec.scripts, [(When::AfterInstall, "b".to_owned())]);
    }
}
