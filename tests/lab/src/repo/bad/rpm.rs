//! Building an `.rpm` with rpmbuild, from a spec that is written for it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{PackageSpec, When};
use crate::error::IoContext;
use crate::repo::error::Result;
use crate::repo::rpms::Build;

/// Build time of packages made for tests: 2023-06-10, in seconds of the epoch.
const EPOCH: u64 = 1_686_355_200;

impl PackageSpec {
    /// Builds `<name>-<version>-1.noarch.rpm` in `out`, which must exist, and returns its path.
    ///
    /// # Errors
    /// [`RepoError::BadSpec`](crate::repo::RepoError::BadSpec) for what an RPM cannot express (a version with a `-`);
    /// rpmbuild's own words for the rest.
    pub fn build_rpm(&self, out: &Path) -> Result<PathBuf> {
        self.check(|c| c.is_ascii_alphanumeric() || "._+~^".contains(c))?;
        let staged = tempfile::tempdir_in(out).doing("create a directory in", out)?;
        let root = staged.path().join("root");
        std::fs::create_dir(&root).doing("create", &root)?;
        self.lay_out(&root)?;
        let defines = [("staged", root.display().to_string())];
        Build { spec: &self.spec_file(), target: "noarch", defines: &defines, epoch: EPOCH }
            .run(staged.path(), out)
    }

    fn spec_file(&self) -> String {
        let mut spec = format!(
            "Name: {}\nVersion: {}\nRelease: 1\nSummary: A package made for a test\nLicense: Apache-2.0\nBuildArch: noarch\n\
             AutoReqProv: no\n%global __os_install_post %{{nil}}\n%global debug_package %{{nil}}\n\
             %global _binaries_in_noarch_packages_terminate_build 0\n",
            self.name, self.version
        );
        let relations =
            [("Requires", &self.depends), ("Conflicts", &self.conflicts), ("Obsoletes", &self.replaces)];
        for (tag, list) in relations {
            for relation in list {
                let _ = writeln!(spec, "{tag}: {relation}");
            }
        }
        spec.push_str(
            "\n%description\nA package made for a test.\n\n%install\ncp -a %{staged}/. %{buildroot}/\n",
        );
        for (when, body) in &self.scripts {
            let section = match when {
                When::BeforeInstall => "pre",
                When::AfterInstall => "post",
                When::BeforeRemove => "preun",
                When::AfterRemove => "postun",
                When::AfterTransaction => "posttrans",
            };
            let _ = write!(spec, "\n%{section}\n{}\n", body.replace('%', "%%"));
        }
        spec.push_str("\n%files\n%defattr(-,root,root,-)\n");
        for file in &self.files {
            let _ = writeln!(spec, "\"{}\"", file.path);
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{command, must};

    #[test]
    fn an_rpm_carries_files_scripts_and_relations() {
        let dir = tempfile::tempdir().unwrap();
        let rpm = PackageSpec::new("hostile", "1.0")
            .file("/usr/lib64/hostile/a.so", b"\x7fELF".to_vec())
            .script(When::AfterRemove, "echo 100% >/dev/null\nsystemctl try-restart libvirtd")
            .depends("systemd >= 219")
            .replaces("mild < 2")
            .build_rpm(dir.path())
            .unwrap();
        assert_eq!(rpm, dir.path().join("hostile-1.0-1.noarch.rpm"));
        let query =
            |option: &str| must(command("rpm", ["-qp".as_ref(), option.as_ref(), rpm.as_os_str()])).unwrap();
        let scripts = query("--scripts");
        assert!(scripts.contains("postuninstall scriptlet (using /bin/sh)"), "{scripts}");
        assert!(scripts.contains("echo 100% >/dev/null\nsystemctl try-restart libvirtd"), "{scripts}");
        assert!(query("--requires").contains("systemd >= 219"));
        assert!(query("--obsoletes").contains("mild < 2"));
        assert_eq!(query("-l").trim(), "/usr/lib64/hostile/a.so");
    }

    #[test]
    fn a_version_with_a_dash_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(PackageSpec::new("hostile", "1.0-1").build_rpm(dir.path()).is_err());
    }
}
