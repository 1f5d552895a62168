//! The fleet file of a lab with a cluster.

use crate::field::Field;
use anyhow::Result;
use replank_lab::Host;
use std::fmt::Write;

/// What the fleet file of a cluster says; every field has the value of the plain voyage.
#[derive(Debug, Clone)]
pub struct CephFleet {
    pub canary: u32,
    /// Pools whose thin redundancy is accepted.
    pub consent: Vec<String>,
    /// Additional packages, at exact versions: how a broken daemon comes in.
    pub more_packages: Vec<(String, String)>,
    /// Lines appended to the file as they are.
    pub more: String,
}

impl Default for CephFleet {
    fn default() -> Self {
        Self { canary: 1, consent: Vec::new(), more_packages: Vec::new(), more: String::new() }
    }
}

impl CephFleet {
    /// The file's text for a field with a cluster: every package of the step is named, the libraries of the next release too.
    ///
    /// # Errors
    /// The repository's list of versions cannot be read.
    pub fn text(&self, field: &Field) -> Result<String> {
        let versions = field.repository.versions()?;
        let mut pins: Vec<(&str, &str)> = versions.new_members().chain(versions.new_dependencies()).collect();
        pins.retain(|(name, _)| !self.more_packages.iter().any(|(more, _)| more == name));
        pins.extend(self.more_packages.iter().map(|(name, version)| (name.as_str(), version.as_str())));
        pins.sort_unstable();
        let releases = field.releases();
        let mut text = format!(
            r#"[fleet]
name = "{name}"
hops = ["{hop}"]

[pace]
staging_parallel = 3
canary = {canary}
spare_bytes = 268435456

[ceph]
version = "{version}"
repository = "ceph"
admin = [{admin}]
consent = [{consent}]
removals = [{removals}]
packages = [
"#,
            name = field.lab.name(),
            canary = self.canary,
            hop = releases.hop,
            version = releases.to,
            removals = quoted(&mut versions.removed()),
            admin = quoted(&mut field.hosts().map(Host::name)),
            consent = quoted(&mut self.consent.iter().map(String::as_str)),
        );
        for (name, version) in pins {
            writeln!(text, "    {{ name = \"{name}\", version = \"{version}\" }},")?;
        }
        text.push_str(
            r#"]

[[repository]]
name = "ceph"
kind = "apt"
uri = "copy:///srv/repo/apt"
suite = "./"
options = ["trusted=yes"]
"#,
        );
        text.push_str(&hosts_text(field)?);
        text.push_str(&self.more);
        Ok(text)
    }
}

/// The file that asks for a change of owner.
///
/// # Errors
/// The field has no cluster.
pub fn ownership_text(field: &Field) -> Result<String> {
    let admin = quoted(&mut field.hosts().map(Host::name));
    Ok(format!(
        "[fleet]\nname = \"{name}\"\n\n[pace]\nstaging_parallel = 2\n\n[ceph-ownership]\nadmin = [{admin}]\n{hosts}",
        name = field.lab.name(),
        hosts = hosts_text(field)?,
    ))
}

fn quoted(words: &mut dyn Iterator<Item = &str>) -> String {
    words.map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

fn hosts_text(field: &Field) -> Result<String> {
    let cluster = field.cluster()?;
    Ok(field.hosts().fold(String::new(), |text, host| {
        let (name, address) = (host.name(), host.address());
        let roles: Vec<String> = cluster.kinds_on(host).iter().map(|kind| format!("ceph-{kind}")).collect();
        let roles = quoted(&mut roles.iter().map(String::as_str));
        format!("{text}\n[[host]]\nname = \"{name}\"\nroles = [{roles}]\naddress = \"{address}\"\n")
    }))
}
