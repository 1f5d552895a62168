//! What of Ceph is on the host: its daemons, what they lie on, and what decides how they may be restarted.

use super::Errors;
use crate::host::Host;
use crate::host::ceph::conf::{self, CONF};
use crate::host::ceph::{daemons, devices, homeless_gateways, nobodys, other_clusters};
use crate::host::owners::{Owner, Tree};
use crate::host::proc;
use crate::readings::of_daemon;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::{CephBehindFact, CephDaemonFact, CephFacts, CephUser};
use rustix::fs::FileType;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const KEYRING: &str = "/etc/ceph/ceph.client.admin.keyring";
/// What a tool leaves in the directory of an OSD to say who starts it (ceph 10.2, src/ceph-disk/ceph_disk/main.py).
const MARKERS: [&str; 3] = ["sysvinit", "systemd", "upstart"];

/// `None`: there is nothing of Ceph.
pub(super) fn collect(host: &Host, errors: &mut Errors) -> Option<CephFacts> {
    let names = daemons(host);
    let config = match std::fs::read(host.at(CONF)) {
        Ok(bytes) => Some(conf::settings(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            errors.add(CONF, error);
            None
        }
    };
    let other_clusters = other_clusters(host);
    let unknown = unknown(host, &names, errors);
    if names.is_empty() && config.is_none() && other_clusters.is_empty() && !unknown {
        return None;
    }
    let daemons = names.iter().filter_map(|name| fact(host, name, errors)).collect();
    Some(CephFacts {
        daemons,
        ceph_user: user(host, errors),
        selinux: Some(selinux(host)),
        config: config.unwrap_or_default(),
        short_hostname: short_hostname(host, errors),
        admin_keyring: host.at(KEYRING).exists(),
        other_clusters,
    })
}

/// Whether there is something of Ceph that would be left behind because nobody knows how it is called; each is among the errors.
fn unknown(host: &Host, names: &[CephDaemon], errors: &mut Errors) -> bool {
    let before = errors.0.len();
    for path in nobodys(host) {
        let why = "it is called as a daemon's data, and no daemon is called so: an OSD is a number, a gateway `rgw.NAME` or `radosgw.NAME` (client.rgw.NAME, \
                   client.radosgw.NAME); move it away if nobody uses it, or have its daemon use such a name";
        errors.add(format!("whose {} is", path.display()), why);
    }
    for (process, entity) in homeless_gateways(host, names) {
        let why = format!(
            "it runs as process {} and has no data directory by which it would be found: make /var/lib/ceph/radosgw/ceph-NAME, where its own name is client.NAME and NAME \
             begins with `rgw.` or `radosgw.`",
            process.pid
        );
        errors.add(format!("the ceph gateway {entity}"), why);
    }
    errors.0.len() > before
}

fn fact(host: &Host, name: &CephDaemon, errors: &mut Errors) -> Option<CephDaemonFact> {
    let seen = errors.keep(&name.to_string(), of_daemon(host, name))?;
    if !seen.detail.is_empty() {
        errors.add(name.to_string(), &seen.detail);
    }
    let data = host.at(name.data_directory());
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.uid(), found.gid()));
    let is_osd = name.kind == CephKind::Osd;
    let text = |file: &str| std::fs::read_to_string(data.join(file)).ok().map(|text| text.trim().to_owned());
    Some(CephDaemonFact {
        daemon: name.clone(),
        unit: seen.unit,
        pid: seen.pid,
        running: seen.running_version,
        installed: seen.installed_version,
        data_owner: owner(&data),
        journal_owner: is_osd.then(|| owner(&data.join("journal"))).flatten(),
        // Filestore of Hammer writes no type.
        object_store: is_osd.then(|| text("type").unwrap_or_else(|| "filestore".to_owned())),
        fs_type: fs_type(&data),
        init: MARKERS.into_iter().find(|marker| data.join(marker).exists()).map(str::to_owned),
        runs_as: seen.pid.and_then(|pid| proc::user(host, pid)),
        mounted_by: is_osd.then(|| devices::mounted_by(host, name)).flatten(),
        files: files(host, name),
        behind: behind(host, name, errors),
    })
}

fn files(host: &Host, name: &CephDaemon) -> Option<u64> {
    let directory = name.data_directory();
    let base = directory.parent()?;
    Tree::open(host, base, directory.strip_prefix(base).ok()?).ok()?.about()
}

fn behind(host: &Host, name: &CephDaemon, errors: &mut Errors) -> Vec<CephBehindFact> {
    let user = conf::user(host);
    let found = errors.keep(&format!("links of {name}"), devices::leads(host, &name.data_directory()));
    let fact = |lead: devices::Leads| CephBehindFact {
        device: matches!(lead.behind.kind(), FileType::BlockDevice | FileType::CharacterDevice),
        owner: (lead.behind.owner().uid, lead.behind.owner().gid),
        serves: user.is_some_and(|user| lead.behind.serves(user)),
        given_at_boot: devices::is_given_at_boot(host, name, lead.behind.device()),
        link: lead.link,
        path: lead.to,
    };
    found.into_iter().flatten().map(fact).collect()
}

/// By its number, statfs(2).
fn fs_type(path: &Path) -> Option<String> {
    let found = rustix::fs::statfs(path).ok()?;
    let name = match found.f_type {
        0x5846_5342 => "xfs",
        0xef53 => "ext4",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x2fc1_2fc1 => "zfs",
        other => return Some(format!("{other:#x}")),
    };
    Some(name.to_owned())
}

fn user(host: &Host, errors: &mut Errors) -> Option<CephUser> {
    errors.keep("/etc/passwd", std::fs::metadata(host.at("/etc/passwd")))?;
    conf::user(host).map(|Owner { uid, gid }| CephUser { uid, gid })
}

fn selinux(host: &Host) -> String {
    let enforce = std::fs::read_to_string(host.at("/sys/fs/selinux/enforce"));
    match enforce.as_deref().map(str::trim) {
        Ok("1") => "enforcing",
        Ok(_) => "permissive",
        Err(_) => "disabled",
    }
    .to_owned()
}

fn short_hostname(host: &Host, errors: &mut Errors) -> String {
    let name = std::fs::read_to_string(host.at("/proc/sys/kernel/hostname"));
    let name = errors.keep("the host's own name", name).unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;
    use crate::guests::processes::tests::fake_process;

    #[test]
    fn a_gateway_that_nobody_would_find_is_an_error_and_not_left_out() {
        let world = World::new();
        let look = || {
            let mut errors = Errors::default();
            let facts = collect(&world.host, &mut errors);
            let told: Vec<String> =
                errors.0.into_iter().map(|error| format!("{}: {}", error.fact, error.why)).collect();
            (facts.is_some(), told)
        };
        assert_eq!(look(), (false, Vec::new()));
        world.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
        world.file("/proc/sys/kernel/hostname", "gw1\n");
        world.file("/var/lib/ceph/radosgw/ceph-gateway/keyring", "");
        let (any, told) = look();
        assert!(any && told.len() == 1, "{told:?}");
        assert!(told[0].starts_with("whose /var/lib/ceph/radosgw/ceph-gateway is: "), "{told:?}");
        let arguments = ["/bin/radosgw", "-n", "client.gateway"];
        fake_process(&world.host.at("/proc"), 203, 1, "radosgw", 8, &arguments, "/usr/bin/radosgw");
        let (_, told) = look();
        assert!(told[1].starts_with("the ceph gateway client.gateway: it runs as process 203"), "{told:?}");
    }
}
