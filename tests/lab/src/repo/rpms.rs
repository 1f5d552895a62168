//! The two RPMs of the repository, built from the specs in `recipes/repo`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::apt::Session;
use super::closure::Host;
use super::error::{Result, unreadable};
use super::qemu_tree::{Tree, files_below};
use super::recipe::{BASE_SPEC, QEMU_SPEC, Recipe};
use crate::command::{command, must};
use crate::error::IoContext;

/// Time of packages that have no files to take it from: Debian 12's release, 2023-06-10, in seconds of the epoch.
const DEBIAN_12_RELEASE: u64 = 1_686_355_200;

/// Finds what an ELF library provides, as rpmbuild itself does (Debian package rpm).
const ELFDEPS: &str = "/usr/lib/rpm/elfdeps";

/// One call of rpmbuild.
#[derive(Debug)]
pub(super) struct Build<'a> {
    /// Text of the spec file.
    pub(super) spec: &'a str,
    /// `x86_64` or `noarch`.
    pub(super) target: &'a str,
    /// Macros for the spec.
    pub(super) defines: &'a [(&'a str, String)],
    /// Seconds of the epoch; build time and the upper bound of file times, so that the same input gives the same bytes.
    pub(super) epoch: u64,
}

impl Build<'_> {
    /// Builds the binary package into `out` and returns its path. Scratch files go below `scratch`.
    pub(super) fn run(&self, scratch: &Path, out: &Path) -> Result<PathBuf> {
        let top = tempfile::tempdir_in(scratch).doing("create a directory in", scratch)?;
        let (spec, built) = (top.path().join("package.spec"), top.path().join("RPMS"));
        fs::write(&spec, self.spec).doing("write", &spec)?;
        let mut rpmbuild = command("rpmbuild", ["-bb", "--target", self.target]);
        rpmbuild.env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        let fixed = [
            ("_topdir", top.path().display().to_string()),
            ("_rpmdir", built.display().to_string()),
            ("_rpmfilename", "%%{name}-%%{version}-%%{release}.%%{arch}.rpm".to_owned()),
            ("_buildhost", "replank-lab".to_owned()),
            ("_binary_payload", "w3.zstdio".to_owned()),
            ("use_source_date_epoch_as_buildtime", "1".to_owned()),
            ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
        ];
        for (name, value) in fixed.iter().chain(self.defines) {
            rpmbuild.args(["--define", &format!("{name} {value}")]);
        }
        rpmbuild.arg(&spec);
        must(rpmbuild)?;

        let rpm = files_below(&built)?
            .into_iter()
            .next()
            .ok_or_else(|| unreadable("rpmbuild's output", "it built no package"))?;
        fs::create_dir_all(out).doing("create", out)?;
        let target = out.join(rpm.file_name().unwrap_or_default());
        fs::copy(&rpm, &target).doing("copy", &rpm)?;
        Ok(target)
    }
}

/// Wraps the staged tree; the package owns `/opt/qemu/<version>` and nothing else.
pub(super) fn qemu(recipe: &Recipe, tree: &Tree, scratch: &Path, out: &Path) -> Result<PathBuf> {
    let defines = [
        ("qemu_version", recipe.qemu.version.clone()),
        ("qemu_release", recipe.qemu.release.clone()),
        ("qemu_origin", tree.origin.clone()),
        ("qemu_tree", tree.path.display().to_string()),
    ];
    let epoch = newest_file(&tree.path)?;
    Build { spec: QEMU_SPEC, target: "x86_64", defines: &defines, epoch }.run(scratch, out)
}

/// Says in RPM's words which symbol versions the base system's libraries have.
pub(super) fn base_provides(
    session: &Session,
    recipe: &Recipe,
    host: &Host,
    scratch: &Path,
    out: &Path,
) -> Result<PathBuf> {
    let mut debs = Vec::new();
    for name in &recipe.base.packages {
        debs.push((name.clone(), host.version(name)?.to_owned()));
    }
    let unpacked = session.unpack(&debs, &scratch.join("base"))?;
    let mut provides = Vec::new();
    for library in files_below(&unpacked)?.iter().filter(|path| is_library(path)) {
        let said = must(command(ELFDEPS, ["--provides".as_ref(), library.as_os_str()]))?;
        provides.extend(said.lines().map(str::to_owned));
    }
    // rpmbuild requires it of every program linked with --hash-style=gnu; glibc's package provides it.
    provides.push("rtld(GNU_HASH)".to_owned());
    let list = scratch.join("provides.inc");
    fs::write(&list, provide_lines(provides)).doing("write", &list)?;

    let defines = [("provides_file", list.display().to_string())];
    let build = Build { spec: BASE_SPEC, target: "noarch", defines: &defines, epoch: DEBIAN_12_RELEASE };
    build.run(scratch, out)
}

/// Spec lines, sorted, each once, without glibc's private names.
fn provide_lines(mut names: Vec<String>) -> String {
    names.retain(|name| !name.is_empty() && !name.contains("GLIBC_PRIVATE"));
    names.sort();
    names.dedup();
    names.iter().map(|name| format!("Provides: {name}\n")).collect()
}

/// Whether this is a library of the root itself: named `lib*.so.N` or `ld-*.so.N`, directly in a library directory.
/// Character set converters and audit modules below it are not linked against.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let in_library_dir = path.parent().is_some_and(|dir| dir.ends_with("x86_64-linux-gnu"));
    in_library_dir && (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so.")
}

/// The newest modification time of a regular file below `dir`, in seconds of the epoch.
fn newest_file(dir: &Path) -> Result<u64> {
    let mut newest = 0;
    for path in files_below(dir)? {
        let meta = fs::symlink_metadata(&path).doing("inspect", &path)?;
        if meta.is_file() {
            let time = meta.modified().doing("inspect", &path)?;
            newest = newest.max(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provides_are_sorted_and_private_names_left_out() {
        let names = ["b()(64bit)", "", "a(GLIBC_PRIVATE)(64bit)", "a()(64bit)", "b()(64bit)"];
        let lines = provide_lines(names.map(str::to_owned).to_vec());
        assert_eq!(lines, "Provides: a()(64bit)\nProvides: b()(64bit)\n");
    }

    #[test]
    fn libraries_are_told_from_modules() {
        assert!(is_library(Path::new("lib/x86_64-linux-gnu/libc.so.6")));
        assert!(is_library(Path::new("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")));
        assert!(!is_library(Path::new("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so")));
        assert!(!is_library(Path::new("usr/lib/x86_64-linux-gnu/gconv/libJIS.so")));
    }
}
