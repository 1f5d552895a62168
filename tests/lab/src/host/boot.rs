//! From a root and a name to a running host.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use uuid::Uuid;

use super::{Host, Kind};
use crate::command::{self, command, wait_for};
use crate::error::{IoContext, LabError, Result};
use crate::name::{LabName, namespace_path};
use crate::process::{self, Process};
use crate::{cgroup, net};

/// How long systemd-nspawn may take to its first process.
const LEADER_LIMIT: Duration = Duration::from_secs(30);

/// What a host is booted from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Booting<'a> {
    pub lab: &'a LabName,
    pub name: &'a str,
    pub kind: Kind,
    /// Its place in the lab, from 0: decides the address.
    pub index: usize,
    /// The finished root, never written.
    pub root: &'a Path,
    /// The lab's `/etc/hosts`.
    pub hosts_file: &'a str,
    /// Directories of the machine and where the host sees them, read-only.
    pub binds: &'a [(PathBuf, String)],
}

/// Boots a host as far as its first process; [`Host::wait_until_up`] waits for the rest.
///
/// # Errors
/// When the machine refuses a mount, namespace or group, or systemd-nspawn ends (with the end of its console).
pub(crate) fn boot(spec: Booting<'_>) -> Result<(Host, Child)> {
    let Booting { lab, name, index, .. } = spec;
    let address = net::host_address(index)?;
    let root = mount_root(&spec)?;
    write_identity(&root, &spec)?;
    net::create_host(lab, name, index)?;
    let groups = cgroup::create(&lab.cgroup().join(name))?;

    let console_path = lab.state_dir().join(format!("{name}.console"));
    let console =
        OpenOptions::new().create(true).append(true).open(&console_path).doing("open", &console_path)?;
    let mut supervisor = supervise(&spec, &root, &groups, console, &console_path)?;
    match wait_for_leader(name, &mut supervisor, &console_path) {
        Ok(leader) => Ok((Host { name: name.to_owned(), kind: spec.kind, address, leader }, supervisor)),
        Err(error) => {
            // Its group is emptied with the lab; here only the child itself must not stay a zombie.
            let _ = supervisor.kill();
            let _ = supervisor.wait();
            Err(error)
        }
    }
}

fn mount_root(spec: &Booting<'_>) -> Result<PathBuf> {
    let directory = spec.lab.data_dir().join(spec.name);
    let [upper, work, merged] = ["upper", "work", "root"].map(|part| directory.join(part));
    for part in [&upper, &work, &merged] {
        fs::create_dir_all(part).doing("create", part)?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", spec.root.display(), upper.display(), work.display());
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(Into::into)
        .doing("mount an overlay on", &merged)?;
    Ok(merged)
}

/// What tells one host from another before its first boot.
fn write_identity(root: &Path, spec: &Booting<'_>) -> Result<()> {
    let put = |path: &str, content: String| {
        let path = root.join(path);
        fs::write(&path, content).doing("write", path)
    };
    put("etc/machine-id", format!("{}\n", Uuid::new_v4().simple()))?;
    put("etc/hostname", format!("{}\n", spec.name))?;
    put("etc/hosts", spec.hosts_file.to_owned())?;
    // Two hosts with the machine's own SMBIOS uuid would refuse to migrate guests to each other.
    let path = root.join("etc/libvirt/libvirtd.conf");
    if path.is_file() {
        let mut file = OpenOptions::new().append(true).open(&path).doing("open", &path)?;
        write!(file, "\nhost_uuid = \"{}\"\n", Uuid::new_v4()).doing("write", &path)?;
    }
    Ok(())
}

fn supervise(
    spec: &Booting<'_>,
    root: &Path,
    groups: &[PathBuf],
    console: fs::File,
    console_path: &Path,
) -> Result<Child> {
    let Booting { lab, name, .. } = spec;
    // The shell moves itself into the host's groups, then becomes systemd-nspawn: nothing is ever outside them.
    let script =
        "for group in $LAB_GROUPS; do echo $$ >\"$group/cgroup.procs\"; done; unset LAB_GROUPS; exec \"$@\"";
    let mut args: Vec<String> = ["sh", "-euc", script, "sh", "systemd-nspawn"].map(str::to_owned).to_vec();
    args.extend(
        [
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--capability=all",
            "--system-call-filter=@keyring bpf",
            "--bind=/dev/net/tun",
        ]
        .map(str::to_owned),
    );
    args.push(format!("--directory={}", root.display()));
    args.push(format!("--machine={lab}-{name}"));
    args.push(format!("--hostname={name}"));
    args.push(format!("--network-namespace-path={}", namespace_path(&lab.host_namespace(name)).display()));
    for (from, to) in spec.binds {
        args.push(format!("--bind-ro={}:{to}", from.display()));
    }
    let groups = groups.iter().map(|group| group.display().to_string()).collect::<Vec<_>>().join(" ");
    // A session of its own: what ends the caller's terminal does not end the host.
    command("setsid", args)
        .env("LAB_GROUPS", groups)
        .stdout(Stdio::from(console.try_clone().doing("open", console_path)?))
        .stderr(Stdio::from(console))
        .spawn()
        .map_err(|source| LabError::Start { program: "systemd-nspawn".to_owned(), source })
}

fn wait_for_leader(name: &str, supervisor: &mut Child, console: &Path) -> Result<Process> {
    let pid = i32::try_from(supervisor.id()).unwrap_or_default();
    wait_for(&format!("{name}: a first process"), LEADER_LIMIT, || {
        if let Some(status) = supervisor.try_wait().doing("wait for", "systemd-nspawn")? {
            return Err(LabError::Command {
                command: format!("systemd-nspawn of {name}"),
                status: status.to_string(),
                said: command::tail(&fs::read_to_string(console).unwrap_or_default()),
            });
        }
        let first = process::children(pid).into_iter().find(|child| process::is_first_of_namespace(*child));
        Ok(first.and_then(Process::find).ok_or_else(|| "systemd-nspawn has started none yet".to_owned()))
    })
}

/// The `/etc/hosts` of a lab.
pub(crate) fn hosts_file(hosts: &[(String, Ipv4Addr)]) -> String {
    let mut text = format!("127.0.0.1 localhost\n::1 localhost\n{} coordinator\n", net::COORDINATOR);
    for (name, address) in hosts {
        text.push_str(&format!("{address} {name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_knows_every_other_and_the_coordinator() {
        let text = hosts_file(&[("compute1".to_owned(), Ipv4Addr::new(10, 77, 0, 11))]);
        assert!(text.ends_with("10.77.0.1 coordinator\n10.77.0.11 compute1\n"), "{text}");
    }
}
