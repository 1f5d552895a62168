//! What guests depend on of a simulated host: files, processes that have them open or will open them later, sockets, packages.
//!
//! Owns what is true: what becomes of a guest when a file is replaced, written into or removed, when a script runs, when libvirtd
//! starts again. It asks no guard; the guard is shown [`Site::usage`] and [`Site::judge`]'s situation, made by the rules of a real
//! agent, and a harm that it does not see ends a guest here.

mod disk;
mod hostile;
mod packages;

pub(crate) use hostile::KINDS;

use disk::{Disk, FIRST, FOREIGN, File, LIBC, LIBRARIES, LIBRBD, LIBVIRTD, OF_A_TREE, follow, resolve};
use packages::{Deed, Package, Script, Set, To};
use replank_agent_core::guard::{self, Situation};
use replank_agent_core::usage::{FileId, Helper, Lazy, LazyKind, Role, Usage, beside_library};
use replank_common::action::{Action, PackagePin};
use replank_common::facts::PackageManager;
use replank_common::finding::Finding;
use replank_common::ids::{GuestUuid, HostName};
use replank_common::outcome::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The build of qemu that every host begins with.
pub(crate) const OLD_TREE: &str = "/opt/qemu/7.2.0";

/// What a process of an emulator has open, and what it may open later.
#[derive(Debug)]
struct Image {
    prefix: PathBuf,
    mapped: Vec<(PathBuf, File)>,
    /// With the build that it takes; `None`: any.
    later: Vec<(PathBuf, Option<u64>)>,
}

/// What a guest has come to use beside that.
#[derive(Debug, Default)]
struct Extra {
    mapped: Vec<(PathBuf, File)>,
    /// `None`: it is not there, and need not be.
    later: Vec<(PathBuf, Option<u64>)>,
    lazy: BTreeSet<Lazy>,
}

#[derive(Debug)]
struct Process {
    pid: u32,
    image: Arc<Image>,
    extra: Option<Box<Extra>>,
    /// After how many changes of the disk all that it may load was found.
    fits_at: Option<u64>,
    /// No name leads to its monitor's socket any more.
    unreachable: bool,
}

/// What all hosts have in common when a voyage begins.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint {
    files: Arc<BTreeMap<PathBuf, File>>,
    image: Arc<Image>,
}

impl Blueprint {
    pub(crate) fn new() -> Self {
        let files = Arc::new(disk::first(Path::new(OLD_TREE)));
        let image = Arc::new(image(&Disk::new(files.clone()), Path::new(OLD_TREE)));
        Self { files, image }
    }
}

#[derive(Debug)]
pub(crate) struct Site {
    blueprint: Blueprint,
    disk: Disk,
    processes: BTreeMap<GuestUuid, Process>,
    /// The guard said no because of what guests use or packages bring: somebody sees to it.
    met: bool,
    /// What comes along when packages are fetched now.
    offered: Vec<Arc<Package>>,
    sets: BTreeMap<String, Set>,
    /// By action's name: files that were kept, and the places kept whole.
    kept: BTreeMap<String, (BTreeSet<PathBuf>, BTreeMap<PathBuf, File>)>,
    trees: BTreeSet<PathBuf>,
    /// A tree that could not be removed, because guests run from it.
    in_the_way: Option<PathBuf>,
    /// Guests that ended, and why; the host has not heard yet.
    ended: Vec<(GuestUuid, String)>,
}

pub(crate) fn guest_name(uuid: GuestUuid) -> String {
    format!("vm{}", uuid.0.as_u128() & 0xffff_ffff)
}

fn socket(uuid: GuestUuid, pid: u32) -> PathBuf {
    format!("/var/lib/libvirt/qemu/domain-{pid}-{}/monitor.sock", guest_name(uuid)).into()
}

fn image(disk: &Disk, prefix: &Path) -> Image {
    let emulator = prefix.join(OF_A_TREE[0]);
    let mapped = [&emulator, Path::new(LIBRBD), Path::new(LIBC)];
    let mapped = mapped.into_iter().filter_map(|path| Some((path.to_owned(), disk.get(path)?))).collect();
    let libraries = Path::new(LIBRARIES);
    let exact = [prefix.join("lib/qemu"), libraries.join("ceph"), libraries.join("gconv")];
    let exact = exact.iter().flat_map(|directory| disk.below(directory));
    let names = ["libnss_files.so.2", "libnss_dns.so.2", "librbd_tp.so.1"].map(|name| libraries.join(name));
    let names = names.into_iter().filter_map(|path| Some((path.clone(), disk.get(&path)?)));
    let roms = disk.below(&prefix.join("share/qemu")).into_iter().map(|(path, _)| (path, None));
    let later = exact.chain(names).map(|(path, file)| (path, Some(file.build))).chain(roms).collect();
    Image { prefix: prefix.to_owned(), mapped, later }
}

fn key(manager: PackageManager, pins: &[PackagePin]) -> String {
    let pins: Vec<String> = pins.iter().map(|pin| format!("{}={}", pin.name, pin.version)).collect();
    format!("{} {}", manager.as_str(), pins.join(" "))
}

impl Site {
    pub(crate) fn new(blueprint: &Blueprint) -> Self {
        Self {
            blueprint: blueprint.clone(),
            disk: Disk::new(blueprint.files.clone()),
            processes: BTreeMap::new(),
            met: false,
            offered: Vec::new(),
            sets: BTreeMap::new(),
            kept: BTreeMap::new(),
            trees: BTreeSet::new(),
            in_the_way: None,
            ended: Vec::new(),
        }
    }

    // Guests.

    /// A guest is started, from the newest build when `renewed`; the emulator that it runs.
    pub(crate) fn start(&mut self, uuid: GuestUuid, pid: u32, renewed: bool) -> PathBuf {
        let tree = self.trees.iter().next_back().filter(|_| renewed);
        let prefix = tree.cloned().unwrap_or_else(|| OLD_TREE.into());
        let emulator = prefix.join(OF_A_TREE[0]);
        // Whoever starts a guest sees to it that what it runs on is there.
        for path in
            OF_A_TREE.map(|name| prefix.join(name)).iter().map(PathBuf::as_path).chain([Path::new(LIBVIRTD)])
        {
            if self.disk.get(path).is_none() {
                self.disk.put(path, FIRST);
            }
        }
        let image = if self.disk.is_first() && prefix == Path::new(OLD_TREE) {
            self.blueprint.image.clone()
        } else {
            Arc::new(image(&self.disk, &prefix))
        };
        self.processes.insert(uuid, Process { pid, image, extra: None, fits_at: None, unreachable: false });
        emulator
    }

    pub(crate) fn forget(&mut self, uuid: GuestUuid) {
        self.processes.remove(&uuid);
    }

    pub(crate) fn loses_power(&mut self) {
        self.processes.clear();
    }

    fn ends(&mut self, uuid: GuestUuid, why: impl Into<String>) {
        if self.processes.remove(&uuid).is_some() {
            self.ended.push((uuid, why.into()));
        }
    }

    /// Guests that ended since it was asked last, and why.
    pub(crate) fn take_ended(&mut self) -> Vec<(GuestUuid, String)> {
        std::mem::take(&mut self.ended)
    }

    /// Some guest, by a number, opens what it had not opened yet: what it takes must be there, or kept.
    pub(crate) fn loads(&mut self, number: usize) {
        let count = self.processes.len();
        if let Some(uuid) = self.processes.keys().nth(number % count.max(1)).copied() {
            self.loads_all(uuid);
        }
    }

    pub(crate) fn everybody_loads(&mut self) {
        let guests: Vec<GuestUuid> = self.processes.keys().copied().collect();
        guests.into_iter().for_each(|uuid| self.loads_all(uuid));
    }

    fn loads_all(&mut self, uuid: GuestUuid) {
        let changes = self.disk.changes();
        let known = |process: &&Process| process.fits_at != Some(changes);
        let Some(process) = self.processes.get(&uuid).filter(known) else { return };
        match self.lacks(process) {
            Some(path) => {
                let why = format!("{} is not what it may load any more", path.display());
                self.ends(uuid, why);
            }
            None => {
                self.processes.entry(uuid).and_modify(|process| process.fits_at = Some(changes));
            }
        }
    }

    /// What a process may load, and would not find or not take.
    fn lacks(&self, process: &Process) -> Option<PathBuf> {
        let lacks = |(path, build): &&(PathBuf, Option<u64>), optional: bool| {
            let now = self.disk.get(path).map(|file| file.build);
            let fits = match (build, now) {
                (None, now) => now.is_some() != optional,
                (Some(build), now) => now == Some(*build),
            };
            let copies = || self.kept.values().filter_map(|(_, files)| files.get(path));
            !fits && !copies().any(|copy| build.is_none_or(|build| build == copy.build))
        };
        let extra = process.extra.as_ref().map(|extra| extra.later.as_slice()).unwrap_or_default();
        let lacking = process.image.later.iter().find(|later| lacks(later, false));
        // What was not there when it was looked for must not be there as something foreign.
        let lacking = lacking.or_else(|| extra.iter().find(|later| lacks(later, true)));
        lacking.map(|(path, _)| path.clone())
    }

    /// libvirtd starts anew, and takes over whom it can.
    pub(crate) fn libvirtd_starts(&mut self) {
        let lost = self.processes.iter().filter(|(_, process)| {
            process.unreachable || self.disk.get(&process.image.prefix.join(OF_A_TREE[0])).is_none()
        });
        let lost: Vec<GuestUuid> = lost.map(|(uuid, _)| *uuid).collect();
        for uuid in lost {
            self.ends(uuid, "libvirtd cannot take it over: its emulator or its socket is gone");
        }
    }

    // What the guard is shown.

    /// What the guests use, as a real agent would collect it.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let is_directory = |path: &Path| self.disk.is_directory(path);
        for (uuid, process) in &self.processes {
            let name = guest_name(*uuid);
            usage.guests.insert(*uuid, name.clone());
            let emulator = process.image.prefix.join(OF_A_TREE[0]);
            let mapped = process.image.mapped.iter().map(|mapped| (mapped, Role::Mapped));
            let extra =
                process.extra.iter().flat_map(|extra| &extra.mapped).map(|mapped| (mapped, Role::Helper));
            for ((path, file), role) in mapped.chain(extra) {
                let role = if *path == emulator { Role::Emulator } else { role };
                let deleted = self.disk.get(path).is_none_or(|now| now.inode != file.inode);
                usage.lazy.extend(beside_library(path, &is_directory));
                let id = FileId { device: 1, inode: file.inode };
                usage.add(path.clone(), id, deleted, role, &name);
            }
            let places = [("lib/qemu", LazyKind::Modules), ("share/qemu", LazyKind::Roms)];
            let places = places.map(|(below, kind)| Lazy::new(process.image.prefix.join(below), "", kind));
            usage.lazy.extend(places.into_iter().filter(|place| is_directory(&place.directory)));
            if !process.unreachable {
                usage.sockets.entry(socket(*uuid, process.pid)).or_default().insert(name.clone());
            }
            let scope = format!(r"machine-qemu\x2d{}\x2d{name}.scope", process.pid);
            if let Some(extra) = &process.extra {
                usage.lazy.extend(extra.lazy.iter().cloned());
                let helper = |(path, _): &(PathBuf, File)| Helper {
                    pid: process.pid + 1_000_000,
                    executable: path.clone(),
                    scope: scope.clone(),
                };
                usage.helpers.extend(extra.mapped.iter().map(helper));
            }
            usage.scopes.insert(scope);
        }
        usage
    }

    /// The guard's word on an action.
    pub(crate) fn judge_action(&mut self, host: &HostName, action: &Action) -> Vec<Finding> {
        let usage = if guard::needs_usage(action) { self.usage() } else { Usage::default() };
        let findings = guard::judge_action(host, action, &usage, &resolve);
        self.met |= !findings.is_empty();
        findings
    }

    fn judge(&mut self, host: &HostName, set: &Set, to: To) -> Result<Vec<Finding>, Refusal> {
        let transaction = set.transaction(to);
        let situation = Situation {
            host,
            usage: &self.usage(),
            kept: &|place| self.is_kept(place),
            resolve: &resolve,
            follow: &follow,
        };
        let verdict = guard::verdict(Ok(guard::judge(&transaction, &situation)));
        self.met |= verdict.is_err();
        verdict
    }

    fn is_kept(&self, place: &Path) -> bool {
        let now = self.disk.below(place);
        self.kept.values().any(|(places, files)| {
            places.iter().any(|kept| place.starts_with(kept))
                && now.iter().all(|(path, file)| files.get(path) == Some(file))
        })
    }

    // Packages.

    fn set(&self, manager: PackageManager, pins: &[PackagePin]) -> Set {
        let staged = self.sets.get(&key(manager, pins)).cloned();
        staged.unwrap_or_else(|| Set::new(manager, pins, &self.offered))
    }

    /// Fetches a set, and lets the guard judge it.
    pub(crate) fn stage(
        &mut self,
        host: &HostName,
        manager: PackageManager,
        pins: &[PackagePin],
    ) -> Result<Vec<Finding>, Refusal> {
        let key = key(manager, pins);
        let set = match self.sets.get(&key) {
            Some(set) if !set.at_new.is_empty() => return Ok(Vec::new()),
            Some(_) | None => Set::new(manager, pins, &self.offered),
        };
        let findings = self.judge(host, &set, To::New)?;
        self.sets.insert(key, set);
        Ok(findings)
    }

    /// The guard's word on what is still to be done of a set, one way or the other.
    pub(crate) fn look(
        &mut self,
        host: &HostName,
        (manager, pins): (PackageManager, &[PackagePin]),
        back: bool,
    ) -> Result<Vec<Finding>, Refusal> {
        self.judge(host, &self.set(manager, pins), if back { To::Old } else { To::New })
    }

    /// The package manager at work. `half`: it stops in the middle.
    pub(crate) fn install(&mut self, manager: PackageManager, pins: &[PackagePin], back: bool, half: bool) {
        let to = if back { To::Old } else { To::New };
        let mut set = self.set(manager, pins);
        let remaining = set.remaining(to);
        let some = if half { remaining.len() / 2 } else { remaining.len() };
        for at in remaining.into_iter().take(some) {
            let package = set.packages[at].clone();
            self.bring(manager, &package, to, true);
            match to {
                To::New => drop(set.at_new.insert(at)),
                To::Old => drop(set.at_new.remove(&at)),
            }
        }
        self.sets.insert(key(manager, pins), set);
        let manager_gone = self.disk.get(Path::new(LIBVIRTD)).is_none();
        if manager_gone && !half {
            let guests: Vec<GuestUuid> = self.processes.keys().copied().collect();
            for uuid in guests {
                self.ends(uuid, "nobody can take it over any more: libvirtd is gone");
            }
        }
    }

    /// One package from one side to the other, in dpkg's order.
    fn bring(&mut self, manager: PackageManager, package: &Package, to: To, scripts: bool) {
        let (leaves, comes) = package.sides(to);
        let run = |name: &'static str, of_leaving: bool| -> Vec<Script> {
            let side = if of_leaving { leaves } else { comes };
            let word = packages::word(name, leaves.is_some(), comes.is_some());
            // RPM's scripts are left out of the transaction, and who asks policy-rc.d is told no.
            let runs = scripts && manager == PackageManager::Apt;
            side.into_iter()
                .flat_map(|side| &side.scripts)
                .filter(|script| runs && script.name == name && !script.asks)
                .filter(|script| script.only_when.is_none_or(|when| when == word))
                .copied()
                .collect()
        };
        let (before, after) = (
            [run("prerm", true), run("preinst", false)].concat(),
            [run("postrm", true), run("postinst", false)].concat(),
        );
        before.into_iter().for_each(|script| self.does(script.deed));
        let files = |side: Option<&packages::Side>| -> BTreeSet<PathBuf> {
            side.into_iter().flat_map(|side| &side.files).map(|path| resolve(path)).collect()
        };
        let (old, new) = (files(leaves), files(comes));
        for path in &new {
            self.disk.put(path, comes.map_or(FIRST, |side| side.build));
        }
        for path in old.difference(&new) {
            self.disk.remove(path);
        }
        after.into_iter().for_each(|script| self.does(script.deed));
    }

    /// What a script does.
    fn does(&mut self, deed: Deed) {
        let guests: Vec<GuestUuid> = self.processes.keys().copied().collect();
        match deed {
            Deed::Nothing => {}
            Deed::RestartsLibvirtd => {
                // Nobody has seen to it that each guest can be read back.
                if let Some(uuid) = guests.last() {
                    self.ends(*uuid, "a script restarted libvirtd, which could not read it back");
                }
                self.libvirtd_starts();
            }
            Deed::EndsGuests => {
                guests.into_iter().for_each(|uuid| self.ends(uuid, "a script ended it"));
            }
            Deed::WritesInto(path) => {
                let path = follow(Path::new(path));
                let inode = self.disk.get(&path).map(|file| file.inode);
                self.disk.overwrite(&path, FOREIGN);
                let maps = |process: &Process| {
                    process.image.mapped.iter().any(|(at, file)| *at == path && Some(file.inode) == inode)
                };
                let mapping = self.processes.iter().filter(|(_, process)| maps(process));
                let mapping: Vec<GuestUuid> = mapping.map(|(uuid, _)| *uuid).collect();
                for uuid in mapping {
                    self.ends(uuid, format!("{} was written into while it ran from it", path.display()));
                }
            }
            Deed::Removes(path) => self.disk.remove(&resolve(Path::new(path))),
            Deed::RemovesSockets => {
                self.processes.values_mut().for_each(|process| process.unreachable = true);
            }
        }
    }

    /// From now on this comes along when packages are fetched.
    pub(crate) fn offers(&mut self, kind: usize) {
        self.offered = vec![Arc::new(hostile::package(kind))];
    }

    // Other actions.

    /// An operator had done by hand what an action would do.
    pub(crate) fn done_by_hand(&mut self, action: &Action) {
        match action {
            Action::PackagesInstall(install) => {
                let mut set = Set::new(install.manager, &install.install, &[]);
                for at in set.remaining(To::New) {
                    let package = set.packages[at].clone();
                    self.bring(install.manager, &package, To::New, false);
                    set.at_new.insert(at);
                }
                self.sets.insert(key(install.manager, &install.install), set);
            }
            _ => self.apply(action),
        }
    }

    /// What an action on files leaves on the disk.
    pub(crate) fn apply(&mut self, action: &Action) {
        match action {
            Action::FileEdit(edit) => self.disk.put(&resolve(&edit.path), FOREIGN),
            Action::FileWrite(write) => self.disk.put(&resolve(&write.path), FOREIGN),
            Action::TreeInstall(tree) => {
                for name in OF_A_TREE {
                    self.disk.put(&tree.prefix.join(name), FIRST);
                }
                self.trees.insert(tree.prefix.clone());
            }
            Action::TreeRetain(retain) => {
                let mapped = self.processes.values().flat_map(|process| process.image.mapped.iter().cloned());
                let later = retain.lazy.iter().flat_map(|place| self.disk.below(place));
                let files = mapped.chain(later).collect();
                self.kept.insert(retain.name.clone(), (retain.lazy.iter().cloned().collect(), files));
            }
            _ => {}
        }
    }

    /// What taking it back leaves on the disk.
    pub(crate) fn undo(&mut self, action: &Action) {
        match action {
            Action::FileEdit(edit) => self.disk.remove(&resolve(&edit.path)),
            Action::FileWrite(write) => self.disk.remove(&resolve(&write.path)),
            Action::TreeInstall(tree) => {
                self.disk.remove(&tree.prefix);
                self.trees.remove(&tree.prefix);
            }
            Action::TreeRetain(retain) => {
                self.kept.remove(&retain.name);
                self.processes.values_mut().for_each(|process| process.fits_at = None);
            }
            _ => {}
        }
    }

    /// Whether guests run from a tree that is to be removed. They stand in its way until they have ended.
    pub(crate) fn keeps_tree(&mut self, action: &Action) -> bool {
        let Action::TreeInstall(tree) = action else { return false };
        let runs = |process: &Process| {
            let extra = process.extra.iter().flat_map(|extra| &extra.mapped);
            process.image.mapped.iter().chain(extra).any(|(path, _)| path.starts_with(&tree.prefix))
        };
        let in_use = self.processes.values().any(runs);
        if in_use {
            self.in_the_way = Some(tree.prefix.clone());
        }
        in_use
    }

    /// A guest comes to use what an action would change; whether there is such a thing. `way`: one of several.
    pub(crate) fn use_it(&mut self, action: &Action, way: u64) -> bool {
        let mut extra = Extra::default();
        let build = |disk: &Disk, path: &Path| disk.get(path).map(|file| file.build);
        match action {
            Action::FileEdit(_) | Action::FileWrite(_) => {
                let path = match action {
                    Action::FileEdit(edit) => resolve(&edit.path),
                    Action::FileWrite(write) => resolve(&write.path),
                    _ => return false,
                };
                let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
                match self.disk.get(&path).filter(|_| way.is_multiple_of(4)) {
                    Some(file) => extra.mapped.push((path.clone(), file)),
                    None => {
                        let place = Lazy::new(directory.into(), &name.to_string_lossy(), LazyKind::PlugIns);
                        extra.lazy.insert(place);
                        extra.later.push((path.clone(), build(&self.disk, &path)));
                    }
                }
            }
            Action::TreeInstall(tree) => {
                let program = tree.prefix.join("libexec/virtiofsd");
                if self.disk.get(&program).is_none() {
                    self.disk.put(&program, FOREIGN);
                }
                extra.mapped.extend(self.disk.get(&program).map(|file| (program, file)));
                let module = tree.prefix.join(OF_A_TREE[1]);
                extra.later.push((module.clone(), build(&self.disk, &module)));
            }
            Action::PackagesStage(_) | Action::PackagesInstall(_) => {
                let (manager, pins) = match action {
                    Action::PackagesStage(stage) => (stage.manager, &stage.install),
                    Action::PackagesInstall(install) => (install.manager, &install.install),
                    _ => return false,
                };
                let driver = resolve(Path::new(disk::DRIVER));
                let brings = |package: &Arc<Package>| {
                    package.new.iter().any(|side| side.files.iter().any(|path| resolve(path) == driver))
                };
                if !self.set(manager, pins).packages.iter().any(brings) {
                    return false;
                }
                if let Some(directory) = driver.parent() {
                    extra.lazy.insert(Lazy::new(directory.into(), "", LazyKind::PlugIns));
                }
                extra.later.push((driver.clone(), build(&self.disk, &driver)));
            }
            _ => return false,
        }
        match self.processes.values_mut().next() {
            Some(process) if process.extra.is_none() => {
                process.extra = Some(Box::new(extra));
                process.fits_at = None;
                true
            }
            Some(_) | None => false,
        }
    }

    /// What is seen to once the guard has said no, and in a quiet phase in any case: what came along is withdrawn, and guests use nothing out
    /// of the way any more.
    pub(crate) fn mend(&mut self, quiet: bool) {
        self.everybody_loads();
        if !std::mem::take(&mut self.met) && !quiet {
            return;
        }
        self.offered.clear();
        self.processes.values_mut().for_each(|process| process.extra = None);
        for (key, mut set) in std::mem::take(&mut self.sets) {
            let hostile = |package: &Arc<Package>| package.name.starts_with(hostile::NAME);
            if let Some(first) = set.packages.iter().position(hostile) {
                for (at, package) in set.packages.split_off(first).into_iter().enumerate() {
                    if set.at_new.remove(&(first + at)) {
                        self.put_back_by_hand(set.manager, &package);
                    }
                }
            }
            self.sets.insert(key, set);
        }
    }

    /// Somebody takes an installed package back, without its scripts, and sees to the guests that have begun with it.
    fn put_back_by_hand(&mut self, manager: PackageManager, package: &Package) {
        self.bring(manager, package, To::Old, false);
        let lacking = self.processes.iter().filter(|(_, process)| self.lacks(process).is_some());
        let lacking: Vec<GuestUuid> = lacking.map(|(uuid, _)| *uuid).collect();
        for uuid in lacking {
            if let Some(process) = self.processes.get_mut(&uuid) {
                process.image = Arc::new(image(&self.disk, &process.image.prefix));
            }
        }
    }

    /// The guests that run from a tree that could not be removed for their sake.
    pub(crate) fn stand_in_the_way(&mut self) -> Vec<GuestUuid> {
        let Some(tree) = self.in_the_way.take() else { return Vec::new() };
        let runs = |(_, process): &(&GuestUuid, &Process)| process.image.prefix == tree;
        self.processes.iter().filter(runs).map(|(uuid, _)| *uuid).collect()
    }
}
