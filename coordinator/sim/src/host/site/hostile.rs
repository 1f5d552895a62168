//! What packages may bring that would hurt guests, in many spellings.

use super::disk::{FIRST, FOREIGN, LIBRARIES, LIBRBD, LIBVIRTD, OF_A_TREE};
use super::packages::{Deed, Package, Script, Side};
use std::path::{Path, PathBuf};

/// How the names of such packages begin.
pub(super) const NAME: &str = "comes-along";

/// How many kinds there are.
pub(crate) const KINDS: usize = SCRIPTS.len() + 5;

const MODULES: &str = "/opt/qemu/7.2.0/lib/qemu";

/// Who brings it, what it says, and what it does.
const SCRIPTS: [(&str, &str, Deed); 22] = [
    ("postinst", "#!/bin/sh\nset -e\nsystemctl try-restart libvirtd.service\n", Deed::RestartsLibvirtd),
    ("postinst", "service libvirtd --full-restart\n", Deed::RestartsLibvirtd),
    ("postinst", "/etc/init.d/libvirt-bin restart\n", Deed::RestartsLibvirtd),
    ("postrm", "case \"$1\" in upgrade) service libvirtd restart;; esac\n", Deed::RestartsLibvirtd),
    ("postinst", "V=restart\neval systemctl $V libvirtd\n", Deed::RestartsLibvirtd),
    ("postinst", "run() { \"$@\"; }\nrun systemctl restart libvirtd\n", Deed::RestartsLibvirtd),
    ("preinst", "trap 'systemctl restart libvirtd' EXIT\n", Deed::RestartsLibvirtd),
    (
        "postinst",
        "if [ -e /x ]; then done=yes; fi\nif [ \"$done\" != yes ]; then systemctl restart libvirtd; fi\n",
        Deed::RestartsLibvirtd,
    ),
    (
        "postinst",
        "#!/usr/bin/python3\nimport subprocess\nsubprocess.run(['systemctl', 'restart', 'libvirtd'])\n",
        Deed::RestartsLibvirtd,
    ),
    ("prerm", "systemctl stop 'machine-qemu*.scope'\n", Deed::EndsGuests),
    ("preinst", "pkill -f '[q]emu-system'\n", Deed::EndsGuests),
    ("postinst", "pidof qemu-system-x86_64 | xargs kill\n", Deed::EndsGuests),
    ("postinst", "systemctl start reboot.target\n", Deed::EndsGuests),
    ("postinst", "cat new.so > /lib/x86_64-linux-gnu/librbd.so.1.17.0\n", Deed::WritesInto(LIBRBD)),
    (
        "postinst",
        "(cd /usr/lib/x86_64-linux-gnu; cp /tmp/new.so librbd.so.1)\n",
        Deed::WritesInto("/lib/x86_64-linux-gnu/librbd.so.1"),
    ),
    ("postinst", "sed -i s/a/b/ /usr/lib/x86_64-linux-gnu/librbd.so.1.17.0\n", Deed::WritesInto(LIBRBD)),
    ("postinst", "rm -rf /opt/qemu/7.2.0/lib/qemu\n", Deed::Removes(MODULES)),
    ("preinst", "mv /opt/qemu/7.2.0/lib/qemu /opt/qemu/7.2.0/lib/qemu.old\n", Deed::Removes(MODULES)),
    ("postinst", "find /opt/qemu/7.2.0/lib/qemu -name '*.so' | xargs rm -f\n", Deed::Removes(MODULES)),
    (
        "postinst",
        "cd /usr/lib/x86_64-linux-gnu && rm -rf ceph\n",
        Deed::Removes("/usr/lib/x86_64-linux-gnu/ceph"),
    ),
    ("postinst", "rm -f /var/lib/libvirt/qemu/domain-*/monitor.sock\n", Deed::RemovesSockets),
    ("prerm", "rm -rf /var/lib/libvirt/qemu\n", Deed::RemovesSockets),
];

/// One of [`KINDS`].
pub(crate) fn package(kind: usize) -> Package {
    let side = |version: &str, build, files: Vec<PathBuf>, scripts: Vec<Script>| {
        Some(Side { version: version.to_owned(), files, build, scripts })
    };
    let name = format!("{NAME}-{kind}");
    if let Some((script, text, deed)) = SCRIPTS.get(kind).copied() {
        let script = Script { name: script, text, deed, asks: false, only_when: None };
        // Those that run when a package leaves are of the old one, the others of the new one.
        let of_old = script.name.ends_with("rm");
        let (old, new) = if of_old { (vec![script], vec![]) } else { (vec![], vec![script]) };
        return Package { name, old: side("1", FIRST, vec![], old), new: side("2", 2, vec![], new) };
    }
    let below = |at: usize| Path::new("/opt/qemu/7.2.0").join(OF_A_TREE[at]);
    let plug_in = Path::new(LIBRARIES).join("ceph/libceph_snappy.so");
    let (before, after) = match kind - SCRIPTS.len() {
        0 => (vec![below(0)], vec![]),
        1 => (vec![LIBVIRTD.into()], vec![]),
        2 => (vec![below(1), below(2)], vec![below(1), below(2)]),
        3 => (vec![below(3)], vec![]),
        _ => (vec![plug_in], vec![]),
    };
    Package { name, old: side("1", FIRST, before, vec![]), new: side("2", FOREIGN, after, vec![]) }
}
