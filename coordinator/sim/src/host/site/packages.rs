//! Packages of a host: what is offered, what is staged, how far each set is installed, and what installing it does.
//!
//! The guard is shown the files and the texts of the scripts. What a script does when it runs is written beside its text and is never
//! read from it, so that a guard that misreads a text shows.

use super::disk::{DRIVER, LIBRBD, LIBVIRTD};
use replank_agent_core::guard::{Phase, Scriptlet, Transaction, TransactionItem};
use replank_common::action::PackagePin;
use replank_common::facts::PackageManager;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What a script does to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Nothing,
    RestartsLibvirtd,
    EndsGuests,
    WritesInto(&'static str),
    Removes(&'static str),
    RemovesSockets,
}

/// A maintainer script, by Debian's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) deed: Deed,
    /// It asks policy-rc.d first, which says no while a transaction runs.
    pub(crate) asks: bool,
    /// It does so only when it is called with this word.
    pub(crate) only_when: Option<&'static str>,
}

/// A package at one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) version: String,
    pub(crate) files: Vec<PathBuf>,
    /// Which build its files are of.
    pub(crate) build: u64,
    pub(crate) scripts: Vec<Script>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) old: Option<Side>,
    pub(crate) new: Option<Side>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    New,
    Old,
}

/// A staged set, and how far it is installed.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) manager: PackageManager,
    pub(super) packages: Vec<Arc<Package>>,
    /// Those that are at their new side.
    pub(super) at_new: BTreeSet<usize>,
}

impl Package {
    pub(super) fn sides(&self, to: To) -> (Option<&Side>, Option<&Side>) {
        match to {
            To::New => (self.old.as_ref(), self.new.as_ref()),
            To::Old => (self.new.as_ref(), self.old.as_ref()),
        }
    }

    fn item(&self, to: To) -> TransactionItem {
        let (leaves, comes) = self.sides(to);
        let scripts =
            |side: Option<&Side>, of_old_package: bool, names: [&'static str; 2]| -> Vec<Scriptlet> {
                let Some(side) = side else { return Vec::new() };
                let run = side.scripts.iter().filter(|script| names.contains(&script.name));
                run.map(|script| Scriptlet {
                    package: self.name.clone(),
                    version: side.version.clone(),
                    name: script.name.to_owned(),
                    phase: if script.name.starts_with("pre") { Phase::Before } else { Phase::After },
                    of_old_package,
                    text: script.text.to_owned(),
                })
                .collect()
            };
        let files = |side: Option<&Side>| side.map(|side| side.files.clone()).unwrap_or_default();
        let version = |side: Option<&Side>| side.map(|side| side.version.clone());
        TransactionItem {
            name: self.name.clone(),
            architecture: "amd64".to_owned(),
            before: version(leaves),
            after: version(comes),
            files_after: files(comes),
            files_before: files(leaves),
            scriptlets: [
                scripts(comes, false, ["preinst", "postinst"]),
                scripts(leaves, true, ["prerm", "postrm"]),
            ]
            .concat(),
        }
    }
}

impl Set {
    /// `hostile`: what else comes along.
    pub(super) fn new(manager: PackageManager, pins: &[PackagePin], hostile: &[Arc<Package>]) -> Self {
        let mut packages = of_pins(pins);
        // A file is of one package: what comes along has it, and the others never had.
        let theirs: BTreeSet<&PathBuf> =
            hostile.iter().filter_map(|package| package.old.as_ref()).flat_map(|side| &side.files).collect();
        for side in packages.iter_mut().flat_map(|package| [&mut package.old, &mut package.new]).flatten() {
            side.files.retain(|path| !theirs.contains(path));
        }
        let packages = packages.into_iter().map(Arc::new).chain(hostile.iter().cloned()).collect();
        Self { manager, packages, at_new: BTreeSet::new() }
    }

    /// The packages that are not where they shall be, by their number.
    pub(super) fn remaining(&self, to: To) -> Vec<usize> {
        let there = |at: &usize| self.at_new.contains(at) == (to == To::New);
        (0..self.packages.len()).filter(|at| !there(at)).collect()
    }

    /// What the package manager would do.
    pub(super) fn transaction(&self, to: To) -> Transaction {
        let items = self.remaining(to).into_iter().map(|at| self.packages[at].item(to));
        Transaction { manager: self.manager, items: items.collect() }
    }
}

/// When dpkg runs which script of which side, and what it says to it; Debian Policy 6.6 to 6.8.
pub(super) fn word(name: &str, leaves: bool, comes: bool) -> &'static str {
    match name {
        "preinst" if leaves => "upgrade",
        "preinst" => "install",
        "postinst" => "configure",
        "prerm" | "postrm" if comes => "upgrade",
        _ => "remove",
    }
}

const fn script(name: &'static str, text: &'static str, deed: Deed) -> Script {
    Script { name, text, deed, asks: false, only_when: None }
}

const LIBVIRT_SCRIPTS: [Script; 3] = [
    Script {
        asks: true,
        ..script(
            "postinst",
            "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then\n    deb-systemd-invoke restart libvirtd.service >/dev/null || true\nfi\n",
            Deed::RestartsLibvirtd,
        )
    },
    Script {
        only_when: Some("remove"),
        ..script(
            "prerm",
            "#!/bin/sh\nset -e\nif [ \"$1\" = remove ]; then\n    systemctl stop libvirtd.service\nfi\n",
            Deed::RestartsLibvirtd,
        )
    },
    Script {
        only_when: Some("purge"),
        ..script(
            "postrm",
            "#!/bin/sh\nset -e\ncase \"$1\" in\npurge)\n    rm -rf /var/lib/libvirt/qemu\n    ;;\nesac\n",
            Deed::RemovesSockets,
        )
    },
];

const LIBRARY_SCRIPTS: [Script; 1] = [script("postinst", "#!/bin/sh\nset -e\nldconfig\n", Deed::Nothing)];

/// The packages of these pins. Those of libvirt, or of no pins, bring what guests and libvirt run on; others have files of their own.
fn of_pins(pins: &[PackagePin]) -> Vec<Package> {
    let both = |name: &str, versions: (&str, &str), files: &[&str], scripts: &[Script]| {
        let side = |version: &str, build| Side {
            version: version.to_owned(),
            files: files.iter().map(PathBuf::from).collect(),
            build,
            scripts: scripts.to_vec(),
        };
        Package { name: name.to_owned(), old: Some(side(versions.0, 1)), new: Some(side(versions.1, 2)) }
    };
    let mut packages: Vec<Package> = pins
        .iter()
        .filter(|pin| !pin.name.contains("libvirt"))
        .map(|pin| {
            let files = [PathBuf::from(format!("/usr/share/doc/{}/copyright", pin.name))];
            let side = |version: &str, build| Side {
                version: version.to_owned(),
                files: files.to_vec(),
                build,
                scripts: Vec::new(),
            };
            Package { name: pin.name.clone(), old: Some(side("old", 1)), new: Some(side(&pin.version, 2)) }
        })
        .collect();
    let libvirt = pins.iter().find(|pin| pin.name.contains("libvirt"));
    if libvirt.is_some() || pins.is_empty() {
        let version = libvirt.map_or(crate::plans::NEW, |pin| pin.version.as_str());
        let daemon = [LIBVIRTD, "/usr/share/doc/libvirt-daemon/copyright"];
        packages.push(both("libvirt-daemon", ("old", version), &daemon, &LIBVIRT_SCRIPTS));
        // As an old package spells it.
        let driver = DRIVER.replacen("/usr/lib", "/lib", 1);
        packages.push(both("libvirt-daemon-driver-qemu", ("old", version), &[&driver], &[]));
        packages.push(both("librbd1", ("old", version), &[LIBRBD], &LIBRARY_SCRIPTS));
    }
    packages
}
