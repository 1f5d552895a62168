//! The fleet file of a lab.

use anyhow::Result;
use replank_lab::Lab;
use replank_lab::repo::RepoDir;
use std::fmt::Write;

/// What the lab's fleet file says; every field has the value of the plain voyage.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub parallel_hosts: u32,
    pub canary: u32,
    /// The package of the new qemu, at an exact version.
    pub qemu_package: (String, String),
    /// Additional packages of the libvirt set, at exact versions: how a hostile package comes in.
    pub more_packages: Vec<(String, String)>,
    /// Lines appended to the file as they are.
    pub more: String,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            parallel_hosts: 2,
            canary: 1,
            qemu_package: ("qemu-10.0.2".to_owned(), "10.0.2-1".to_owned()),
            more_packages: Vec::new(),
            more: String::new(),
        }
    }
}

impl Fleet {
    /// The file's text for these hosts and this repository.
    ///
    /// # Errors
    /// The repository's list of versions cannot be read.
    pub fn text(&self, lab: &Lab, repository: &RepoDir) -> Result<String> {
        let versions = repository.versions()?;
        let mut pins: Vec<(String, String)> =
            versions.new_members().map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
        pins.extend(self.more_packages.iter().cloned());
        pins.sort();
        let mut text = format!(
            r#"[fleet]
name = "{lab_name}"
hops = ["debian-12-qemu-7.2-to-10.0.2", "debian-12-libvirt-9.0-to-11.3"]

[pace]
parallel_hosts = {parallel}
staging_parallel = 3
canary = {canary}
spare_bytes = 268435456

[way]
default = "in-place"

[qemu]
version = "10.0.2"
repository = "qemu"
package = {{ name = "{qemu_name}", version = "{qemu_version}" }}
prefix = "/opt/qemu/10.0.2"

[libvirt]
repository = "libvirt"
packages = [
"#,
            lab_name = lab.name(),
            qemu_name = self.qemu_package.0,
            qemu_version = self.qemu_package.1,
            parallel = self.parallel_hosts,
            canary = self.canary,
        );
        for (name, version) in pins {
            writeln!(text, "    {{ name = \"{name}\", version = \"{version}\" }},")?;
        }
        text.push_str(
            r#"]

[libvirt.tcp]
listen_address = "0.0.0.0"
auth = "none"
acknowledge = "everyone on this network is root on every host"

[[repository]]
name = "libvirt"
kind = "apt"
uri = "copy:///srv/repo/apt"
suite = "./"
options = ["trusted=yes"]

[[repository]]
name = "qemu"
kind = "rpm"
base_url = "file:///srv/repo/rpm"
gpg_check = false
"#,
        );
        for host in lab.hosts() {
            write!(
                text,
                "\n[[host]]\nname = \"{}\"\nroles = [\"compute\"]\naddress = \"{}\"\n",
                host.name(),
                host.address()
            )?;
        }
        text.push_str(&self.more);
        Ok(text)
    }
}
