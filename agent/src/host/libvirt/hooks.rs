//! libvirt's hooks for qemu guests, and what they would answer when libvirtd takes a guest over again.
//!
//! A hook that fails for `reconnect` makes libvirtd kill the running guest ("If the script fails, the existing QEMU process will be
//! killed off", libvirt's hooks.html). So each is tried with a domain name that no guest has.

use crate::host::Host;
use crate::host::command::{Command, CommandError};
use replank_common::facts::HookFact;
use rustix::fs::Access;
use std::path::PathBuf;
use std::time::Duration;

/// libvirt itself waits without limit; a hook that takes longer is not one to restart libvirtd over.
const HOOK: Duration = Duration::from_secs(20);
const PROBE_NAME: &str = "replank-probe-no-such-guest";
const PROBE_XML: &str = "<domstatus state='running' reason='booted' pid='0'>\n  <domain type='qemu'>\n    \
    <name>replank-probe-no-such-guest</name>\n    <uuid>00000000-0000-4000-8000-000000000000</uuid>\n    \
    <memory unit='KiB'>1024</memory>\n    <os><type arch='x86_64'>hvm</type></os>\n  </domain>\n</domstatus>\n";

/// A hook and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub fact: HookFact,
    /// libvirt runs it at all.
    pub executable: bool,
}

impl Hook {
    /// Whether libvirtd would kill guests over this hook, or may.
    pub fn kills(&self) -> bool {
        self.executable && self.fact.reconnect_exit != Some(0)
    }
}

/// `hooks/qemu` and, as libvirt knows since 6.5.0, the files of `hooks/qemu.d`, in the order in which libvirt runs them.
pub fn try_reconnect(host: &Host) -> Vec<Hook> {
    let mut paths = vec![PathBuf::from("/etc/libvirt/hooks/qemu")];
    let directory = PathBuf::from("/etc/libvirt/hooks/qemu.d");
    let mut more: Vec<PathBuf> = std::fs::read_dir(host.at(&directory))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| directory.join(entry.file_name()))
        .collect();
    more.sort();
    paths.extend(more);
    paths.into_iter().filter(|path| host.at(path).is_file()).map(|path| try_one(host, path)).collect()
}

fn try_one(host: &Host, path: PathBuf) -> Hook {
    let here = host.at(&path);
    if rustix::fs::access(&here, Access::EXEC_OK).is_err() {
        let detail = "it is not executable: libvirt does not run it".to_owned();
        return Hook { fact: HookFact { path, reconnect_exit: None, detail }, executable: false };
    }
    let command = Command::new(&here)
        .args([PROBE_NAME, "reconnect", "begin", "-"])
        .input(PROBE_XML)
        .directory("/")
        .deadline(HOOK);
    let (reconnect_exit, detail) = match host.programs.run(&command) {
        Ok(output) => (output.code, if output.success() { String::new() } else { output.complaint() }),
        Err(error @ (CommandError::Start { .. } | CommandError::Missing { .. })) => {
            (None, format!("{error}"))
        }
        Err(error) => (None, error.to_string()),
    };
    Hook { fact: HookFact { path, reconnect_exit, detail }, executable: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;
    use std::os::unix::fs::PermissionsExt;

    fn hook(world: &World, name: &str, text: &str, mode: u32) {
        let path = format!("/etc/libvirt/hooks/{name}");
        world.file(&path, text);
        std::fs::set_permissions(world.host.at(&path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_hook_that_fails_for_reconnect_kills_and_one_that_cannot_run_does_not() {
        let world = World::new();
        assert!(try_reconnect(&world.host).is_empty());
        hook(
            &world,
            "qemu",
            "#!/bin/sh\ngrep -q replank-probe && [ \"$2 $3 $4\" = 'reconnect begin -' ]\n",
            0o755,
        );
        hook(&world, "qemu.d/10-bad", "#!/bin/sh\necho no such guest >&2\nexit 3\n", 0o755);
        hook(&world, "qemu.d/20-off", "#!/bin/sh\nexit 3\n", 0o644);
        let found = try_reconnect(&world.host);
        let seen: Vec<_> = found.iter().map(|hook| (hook.fact.reconnect_exit, hook.kills())).collect();
        assert_eq!(seen, [(Some(0), false), (Some(3), true), (None, false)]);
        assert_eq!(found[1].fact.detail, "no such guest");
    }
}
