//! `[qemu]` with `[libvirt]`, or `[ceph]`, or `[ceph-ownership]`: what the voyage changes.

use super::super::mistake::Notebook;
use super::super::model::{CephTarget, Goal, GuestsTarget, OwnershipTarget};
use super::super::raw::{RawCeph, RawLibvirt, RawOwnership, RawQemu};
use super::hosts::Hosts;
use super::number;
use super::read::Section;
use super::targets::{self, Repositories, known_repository, pins, set};
use crate::codes;
use replank_common::ids::HostName;
use replank_common::version::Version;
use std::ops::Range;
use toml::Spanned;

/// A million files in ten minutes: a disk that serves clients has 100 seeks a second to spare, and a seek brings the inodes of dozens of files.
const DEFAULT_FILES_PER_SECOND: u32 = 2_000;
/// With a stop and a start around it, less than the 300 s after which MONs of Jewel let data move (`mon_osd_down_out_interval`).
const DEFAULT_DOWN_SECONDS: u32 = 120;
const MAX_DOWN_SECONDS: u32 = 86_400;

/// A goal whose hosts are not looked up yet, and where the file names them.
pub(super) struct Aim {
    pub(super) goal: Goal,
    admin_at: Vec<Range<usize>>,
}

/// The sections of which one, or `[qemu]` with `[libvirt]`, says what the voyage changes.
pub(super) struct Sections {
    pub(super) qemu: Option<Spanned<RawQemu>>,
    pub(super) libvirt: Option<Spanned<RawLibvirt>>,
    pub(super) ceph: Option<Spanned<RawCeph>>,
    pub(super) ownership: Option<Spanned<RawOwnership>>,
}

pub(super) fn goal(
    Sections { qemu, libvirt, ceph, ownership }: Sections,
    repositories: Option<&Repositories>,
    notes: &mut Notebook<'_>,
) -> Option<Aim> {
    let guests = qemu.as_ref().map(Spanned::span).or(libvirt.as_ref().map(Spanned::span));
    if let Some(ownership) = ownership {
        if guests.is_some() || ceph.is_some() {
            let problem = "it is beside another goal, and a change of owner is a plan of its own";
            let remedy = "make a fleet file for each; they may name the same hosts";
            notes.note(ownership.span(), codes::FLEET_CONTRADICTION, "ceph-ownership", problem, remedy);
            return None;
        }
        return ownership_of(ownership, notes);
    }
    match (guests, ceph) {
        (Some(at), Some(_)) => {
            let problem =
                "it is beside `[ceph]`, and one plan changes either guests' hosts or the Ceph cluster";
            let remedy = "make two fleet files, one with `[qemu]` and `[libvirt]`, one with `[ceph]`; they may name the same hosts";
            notes.note(at, codes::FLEET_CONTRADICTION, "qemu, libvirt", problem, remedy);
            None
        }
        (None, Some(ceph)) => ceph_of(ceph, repositories, notes),
        (None, None)
            if !["qemu", "libvirt", "ceph", "ceph-ownership"].iter().any(|name| notes.is_excused(name)) =>
        {
            let problem = "there is nothing to change: no `[qemu]` with `[libvirt]`, no `[ceph]`, no `[ceph-ownership]`";
            let remedy = "add the first two, or one of the others; docs/errors/RP1004.md shows whole files";
            notes.note(0..0, codes::FLEET_MISSING, "qemu, libvirt or ceph", problem, remedy);
            None
        }
        // A misspelt `[ceph]` is told already; the other two are not asked for in its stead.
        (None, None) if notes.is_excused("ceph") || notes.is_excused("ceph-ownership") => None,
        (Some(_), None) | (None, None) => {
            let qemu = targets::qemu(qemu, repositories, notes);
            let libvirt = targets::libvirt(libvirt, repositories, notes);
            let goal = Goal::Guests(Box::new(GuestsTarget { qemu: qemu?, libvirt: libvirt? }));
            Some(Aim { goal, admin_at: Vec::new() })
        }
    }
}

fn ceph_of(
    raw: Spanned<RawCeph>,
    repositories: Option<&Repositories>,
    notes: &mut Notebook<'_>,
) -> Option<Aim> {
    let at = raw.span();
    let RawCeph { version, repository, packages, removals, admin, consent } = raw.into_inner();
    let mut section = Section::new("ceph", at, notes);
    let version = section.text("version", version, "version = \"16.2.15\"");
    let version = version.and_then(|version| section.exact_version("version", version)).map(Version::new);
    let repository = known_repository(repository, repositories, &mut section);
    let packages = packages.filter(|packages| !packages.is_empty());
    if packages.is_none() {
        section.missing("packages", "packages = [{ name = \"ceph-osd\", version = \"…\" }, …]");
    }
    let packages = packages.and_then(|packages| pins("ceph", packages, section.notes));
    let removals = removals.unwrap_or_default();
    if let Some(both) =
        removals.iter().find(|name| packages.iter().flatten().any(|pin| pin.name == *name.get_ref()))
    {
        let problem = format!("`{}` is to go, and among the packages to install", both.get_ref());
        let remedy = "keep it in one of the two lists";
        section.notes.note(both.span(), codes::FLEET_CONTRADICTION, "ceph.removals", problem, remedy);
    }
    let admin = section.texts("admin", admin, "admin = [\"a host with an admin keyring\"]");
    let admin = admin.and_then(|admin| admin_hosts(admin, &mut section));
    let (admin, admin_at) = admin?.into_iter().unzip();
    let goal = Goal::Ceph(CephTarget {
        version: version?,
        repository: repository?,
        packages: packages?,
        removals: set(Some(removals)),
        admin,
        consent: set(consent),
    });
    Some(Aim { goal, admin_at })
}

/// Nothing goes from one release to another where files change their owner.
pub(super) fn no_hops(typed: Option<Vec<Spanned<String>>>, notes: &mut Notebook<'_>) -> Option<Vec<String>> {
    match typed.and_then(|hops| hops.into_iter().next()) {
        None => Some(Vec::new()),
        Some(hop) => {
            let problem = "it names a hop, and `[ceph-ownership]` leaves every daemon on its release";
            notes.note(hop.span(), codes::FLEET_CONTRADICTION, "fleet.hops", problem, "remove it");
            None
        }
    }
}

fn ownership_of(raw: Spanned<RawOwnership>, notes: &mut Notebook<'_>) -> Option<Aim> {
    let at = raw.span();
    let RawOwnership { admin, consent, files_per_second, down_seconds } = raw.into_inner();
    let mut section = Section::new("ceph-ownership", at, notes);
    let admin = section.texts("admin", admin, "admin = [\"a host with an admin keyring\"]");
    let admin = admin.and_then(|admin| admin_hosts(admin, &mut section));
    let down_seconds = number(
        "ceph-ownership.down_seconds",
        down_seconds,
        DEFAULT_DOWN_SECONDS,
        1..MAX_DOWN_SECONDS + 1,
        section.notes,
    );
    let files_per_second = files_per_second.map_or(DEFAULT_FILES_PER_SECOND, Spanned::into_inner);
    let (admin, admin_at) = admin?.into_iter().unzip();
    let goal = Goal::CephOwnership(OwnershipTarget {
        admin,
        consent: set(consent),
        files_per_second,
        down_seconds: down_seconds?,
    });
    Some(Aim { goal, admin_at })
}

fn admin_hosts(
    typed: Vec<Spanned<String>>,
    section: &mut Section<'_, '_>,
) -> Option<Vec<(HostName, Range<usize>)>> {
    let mut found: Vec<(HostName, Range<usize>)> = Vec::new();
    let mut whole = true;
    for typed in typed {
        let at = typed.span();
        match HostName::new(typed.into_inner()) {
            Ok(name) if found.iter().any(|(known, _)| *known == name) => {
                let problem = format!("`{name}` is there twice");
                section.wrong(at, codes::FLEET_TWICE, "admin", problem, "keep one of them");
                whole = false;
            }
            Ok(name) => found.push((name, at)),
            Err(bad) => {
                let remedy = "write the name of one of the file's hosts";
                section.wrong(at, codes::FLEET_NAME, "admin", bad.to_string(), remedy);
                whole = false;
            }
        }
    }
    whole.then_some(found)
}

/// The goal, once every host that it names is one of the file's.
pub(super) fn resolve(aim: Aim, hosts: Option<&Hosts>, notes: &mut Notebook<'_>) -> Option<Goal> {
    let Aim { goal, admin_at } = aim;
    let (Some((admin, section)), Some(hosts)) = (goal.admin(), hosts) else { return Some(goal) };
    let mut whole = true;
    for (name, at) in admin.iter().zip(admin_at) {
        let host = hosts.hosts.iter().find(|host| host.name == *name);
        let problem = match host {
            Some(host) if host.reserved => format!("`{name}` is reserved, so nothing is done there"),
            Some(_) => continue,
            None => format!("no `[[host]]` is named `{name}`"),
        };
        let remedy = "name hosts of the file that have an admin keyring";
        notes.note(at, codes::FLEET_REFERENCE, format!("{section}.admin"), problem, remedy);
        whole = false;
    }
    whole.then_some(goal)
}
