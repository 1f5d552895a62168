//! Is a catalog complete and consistent? Asked at every load, so that an operator's own file is held to the same.

use super::check_ceph;
use super::model::{Catalog, Hop, LibvirtPart, Part, QemuPart, RemoteRow, Time};
use replank_common::facts::PackageManager;
use std::collections::BTreeSet;
use std::path::Path;

/// Kinds of work that a plan gives a time to: every [`replank_common::action::Action::kind`], and the two without action.
const TIMED: [&str; 21] = [
    "repository-pin",
    "packages-stage",
    "packages-install",
    "tree-install",
    "tree-trial",
    "tree-retain",
    "file-edit",
    "file-write",
    "unit-mask",
    "unit-enable",
    "unit-drop-in",
    "libvirt-trial",
    "libvirt-anchor",
    "libvirt-restart",
    "ceph-flags",
    "ceph-config",
    "ceph-restart",
    "ceph-require",
    "ceph-own",
    "observe",
    "give-back",
];

/// The file (or hop) and what is wrong with it.
pub(super) fn problems(catalog: &Catalog) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for kind in TIMED {
        if !catalog.times.contains_key(kind) {
            found.push(("times.toml".to_owned(), format!("`{kind}` has no time")));
        }
    }
    for (kind, time) in &catalog.times {
        found.extend(time_problem(kind, time).map(|problem| ("times.toml".to_owned(), problem)));
    }
    for watcher in &catalog.watchers {
        if watcher.units.is_empty() || watcher.source.trim().is_empty() {
            found.push(("watchers.toml".to_owned(), "a watcher lacks units or source".to_owned()));
        }
    }
    for hop in catalog.hops.values() {
        let mut say = Say { found: Vec::new() };
        hop_problems(hop, &mut say);
        found.extend(say.found.into_iter().map(|problem| (hop.id.clone(), problem)));
    }
    found
}

/// Collects what is wrong with one hop.
pub(super) struct Say {
    found: Vec<String>,
}

impl Say {
    pub(super) fn unless(&mut self, good: bool, problem: impl Into<String>) {
        if !good {
            self.found.push(problem.into());
        }
    }

    pub(super) fn source(&mut self, row: &str, source: &str) {
        self.unless(!source.trim().is_empty(), format!("{row} names no source"));
    }

    pub(super) fn unique<'a>(&mut self, what: &str, names: impl IntoIterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            self.unless(seen.insert(name), format!("{what} `{name}` is there twice"));
        }
    }

    pub(super) fn absolute(&mut self, what: &str, path: &Path) {
        self.unless(path.is_absolute(), format!("{what} `{}` is not absolute", path.display()));
    }
}

fn time_problem(kind: &str, time: &Time) -> Option<String> {
    if time.source.trim().is_empty() {
        return Some(format!("the time of `{kind}` names no source"));
    }
    if !TIMED.contains(&kind) {
        return Some(format!("`{kind}` is no kind of work"));
    }
    // A host with 100 guests, and 100 packages, must fit.
    let (expected, _) = time.of(100, 100, 100);
    (time.expected_ms == 0 || expected >= time.deadline_ms)
        .then(|| format!("the deadline of `{kind}` leaves no room for what is expected"))
}

fn hop_problems(hop: &Hop, say: &mut Say) {
    say.unless(
        !hop.id.is_empty()
            && hop.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)),
        "its id is not of lower-case letters, digits, dots and hyphens",
    );
    say.source("[hop]", &hop.source);
    say.unless(hop.from < hop.to, format!("{} does not come before {}", hop.from, hop.to));
    say.unless(!hop.to.is_of_series(&hop.from), format!("{} is of the series {}", hop.to, hop.from));
    say.unless(!hop.architectures.is_empty(), "it names no architecture");
    say.unless(!hop.os.is_empty(), "it names no operating system");
    for os in &hop.os {
        say.source(&format!("[[os]] {}", os.id), &os.source);
    }
    say.source("[packages]", &hop.packages.source);
    say.unique("package", hop.packages.names.iter().map(String::as_str));
    say.unless(!hop.packages.names.is_empty(), "it names no packages");
    for name in &hop.packages.required {
        say.unless(hop.packages.names.contains(name), format!("required package `{name}` is not in names"));
    }
    say.unique("flaw", hop.flaws.iter().map(|flaw| flaw.id.as_str()));
    for flaw in &hop.flaws {
        say.source(&format!("flaw {}", flaw.id), &flaw.source);
        for (what, text) in [("effect", &flaw.effect), ("remedy", &flaw.remedy), ("affects", &flaw.affects)] {
            say.unless(!text.trim().is_empty(), format!("flaw {} has no {what}", flaw.id));
        }
    }
    for (kind, time) in &hop.times {
        say.found.extend(time_problem(kind, time));
    }
    match &hop.part {
        Part::Qemu(part) => qemu_problems(hop, part, say),
        Part::Libvirt(part) => libvirt_problems(hop, part, say),
        Part::Ceph(part) => check_ceph::problems(hop, part, say),
    }
}

fn qemu_problems(hop: &Hop, part: &QemuPart, say: &mut Say) {
    say.source("[qemu]", &part.source);
    say.unless(
        !part.emulator.is_empty() && !part.emulator.contains('/'),
        "the emulator must be a file name without a path",
    );
    say.unless(
        hop.manager != PackageManager::Apt,
        "a relocated tree is an RPM, so that it can stand beside the old packages",
    );
    for path in part.old_prefixes.iter().chain(&part.old_rom_directories) {
        say.absolute("old directory", path);
    }
    for path in &part.rom_directories {
        say.unless(path.is_relative(), format!("ROM directory `{}` is not below the prefix", path.display()));
    }
    say.unless(!part.old_prefixes.is_empty(), "it names no old prefixes");
    say.unless(!part.lazy.is_empty(), "it names nothing that guests may load later");
    for row in &part.lazy {
        say.absolute("lazy path", &row.path);
        say.source(&format!("lazy path {}", row.path.display()), &row.source);
    }
}

fn libvirt_problems(hop: &Hop, part: &LibvirtPart, say: &mut Say) {
    say.source("[libvirt.daemon]", &part.daemon.source);
    say.unless(
        part.daemon.undisturbed.contains(&part.daemon.unit),
        "installing the packages must leave the daemon's own unit undisturbed",
    );
    say.unless(!hop.packages.required.is_empty(), "it requires no package");
    let mask_always = part.mask.iter().any(|row| row.unit == "libvirt-guests.service");
    say.unless(mask_always, "libvirt-guests.service must be masked: its stop job ends guests");
    for row in &part.mask {
        say.source(&format!("mask {}", row.unit), &row.source);
        say.unless(row.unit != part.daemon.unit, "the daemon's own unit cannot be masked");
    }
    for row in &part.quiet {
        say.source(&format!("quiet {}", row.step), &row.source);
        say.absolute("quiet file", &row.path);
    }
    say.unique("quiet step", part.quiet.iter().map(|row| row.step.as_str()));
    if hop.manager == PackageManager::Apt {
        let forbids = part.quiet.iter().any(|row| row.path == Path::new("/usr/sbin/policy-rc.d"));
        say.unless(forbids, "on apt hosts policy-rc.d must forbid restarts");
    }
    match &part.remote {
        RemoteRow::Sockets { conf, tcp_socket, tls_socket, source } => {
            say.absolute("conf", conf);
            say.source("[libvirt.remote]", source);
            say.unless(tcp_socket != tls_socket, "the TCP and the TLS socket are the same");
        }
        RemoteRow::ListenFlag { conf, args_file, args_key: _, source } => {
            say.absolute("conf", conf);
            say.absolute("args_file", args_file);
            say.source("[libvirt.remote]", source);
        }
    }
    say.source("[libvirt.emulator]", &part.emulator.source);
    say.unless(
        part.emulator.path_tail.split(':').all(|path| Path::new(path).is_absolute()),
        "path_tail must be absolute directories joined by colons",
    );
    say.source("[libvirt.back]", &part.back.source);
    say.unless(
        !part.back.reason.trim().is_empty() && !part.back.alternative.trim().is_empty(),
        "[libvirt.back] must have a reason and an alternative",
    );
}
