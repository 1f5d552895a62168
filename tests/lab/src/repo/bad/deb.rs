//! Building a `.deb` with dpkg-deb.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{PackageSpec, When};
use crate::command::{command, must};
use crate::error::IoContext;
use crate::repo::RepoError;
use crate::repo::error::Result;

impl PackageSpec {
    /// Builds `<name>_<version>_all.deb` in `out`, which must exist, and returns its path.
    ///
    /// # Errors
    /// [`RepoError::BadSpec`] for what a `.deb` cannot express; dpkg-deb's own words for the rest.
    pub fn build_deb(&self, out: &Path) -> Result<PathBuf> {
        self.check(|c| c.is_ascii_alphanumeric() || ".+-~:".contains(c))?;
        let staged = tempfile::tempdir_in(out).doing("create a directory in", out)?;
        let root = staged.path().join("root");
        let control = root.join("DEBIAN");
        fs::create_dir_all(&control).doing("create", &control)?;
        self.lay_out(&root)?;
        let path = control.join("control");
        fs::write(&path, self.control()).doing("write", path)?;
        for (when, body) in &self.scripts {
            let path = control.join(self.script_name(*when)?);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).doing("write", &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).doing("set the mode of", path)?;
        }
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        let deb = out.join(format!("{}_{version}_all.deb", self.name));
        let mut build = command("dpkg-deb", ["--root-owner-group", "--build"]);
        build.args([&root, &deb]);
        must(build)?;
        Ok(deb)
    }

    fn script_name(&self, when: When) -> Result<&'static str> {
        match when {
            When::BeforeInstall => Ok("preinst"),
            When::AfterInstall => Ok("postinst"),
            When::BeforeRemove => Ok("prerm"),
            When::AfterRemove => Ok("postrm"),
            When::AfterTransaction => Err(RepoError::BadSpec {
                name: self.name.clone(),
                detail: "dpkg has no script after a transaction".to_owned(),
            }),
        }
    }

    fn control(&self) -> String {
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: replank lab <lab@replank.invalid>\n",
            self.name, self.version
        );
        let relations =
            [("Depends", &self.depends), ("Conflicts", &self.conflicts), ("Replaces", &self.replaces)];
        for (field, list) in relations {
            if !list.is_empty() {
                let _ = writeln!(text, "{field}: {}", list.join(", "));
            }
        }
        text.push_str("Description: a package made for a test\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deb_carries_files_scripts_and_relations() {
        let dir = tempfile::tempdir().unwrap();
        let deb = PackageSpec::new("hostile", "1:2.0-1")
            .executable("/usr/bin/hostile", "#!/bin/sh\n")
            .script(When::AfterInstall, "systemctl restart libvirtd")
            .depends("libc6 (>= 2.17)")
            .depends("dash")
            .build_deb(dir.path())
            .unwrap();
        assert_eq!(deb, dir.path().join("hostile_2.0-1_all.deb"));
        let show = |option: &str, arg: &str| {
            must(command("dpkg-deb", [option.as_ref(), deb.as_os_str(), arg.as_ref()])).unwrap()
        };
        assert_eq!(show("--field", "Depends").trim(), "libc6 (>= 2.17), dash");
        assert!(show("--info", "postinst").contains("systemctl restart libvirtd"));
        let files = must(command("dpkg-deb", ["--contents".as_ref(), deb.as_os_str()])).unwrap();
        assert!(
            files.lines().any(|l| l.starts_with("-rwxr-xr-x root/root") && l.ends_with("./usr/bin/hostile"))
        );
    }

    #[test]
    fn a_script_that_dpkg_does_not_have_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let spec = PackageSpec::new("hostile", "1").script(When::AfterTransaction, "true");
        assert!(spec.build_deb(dir.path()).unwrap_err().to_string().contains("after a transaction"));
    }
}
