//! `[qemu]` with `[libvirt]`, or `[ceph]`: what the voyage changes.

use super::super::mistake::Notebook;
use super::super::model::{CephTarget, Goal, GuestsTarget};
use super::super::raw::{RawCeph, RawLibvirt, RawQemu};
use super::hosts::Hosts;
use super::read::Section;
use super::targets::{self, Repositories, known_repository, pins, set};
use crate::codes;
use replank_common::ids::HostName;
use replank_common::version::Version;
use std::ops::Range;
use toml::Spanned;

/// A goal whose hosts are not looked up yet, and where the file names them.
pub(super) struct Aim {
    pub(super) goal: Goal,
    admin_at: Vec<Range<usize>>,
}

pub(super) fn goal(
    qemu: Option<Spanned<RawQemu>>,
    libvirt: Option<Spanned<RawLibvirt>>,
    ceph: Option<Spanned<RawCeph>>,
    repositories: Option<&Repositories>,
    notes: &mut Notebook<'_>,
) -> Option<Aim> {
    let guests = qemu.as_ref().map(Spanned::span).or(libvirt.as_ref().map(Spanned::span));
    match (guests, ceph) {
        (Some(at), Some(_)) => {
            let problem =
                "it is beside `[ceph]`, and one plan changes either guests' hosts or the Ceph cluster";
            let remedy = "make two fleet files, one with `[qemu]` and `[libvirt]`, one with `[ceph]`; they may name the same hosts";
            notes.note(at, codes::FLEET_CONTRADICTION, "qemu, libvirt", problem, remedy);
            None
        }
        (None, Some(ceph)) => ceph_of(ceph, repositories, notes),
        (None, None) if !["qemu", "libvirt", "ceph"].iter().any(|name| notes.is_excused(name)) => {
            let problem = "there is nothing to upgrade: no `[qemu]` with `[libvirt]`, and no `[ceph]`";
            let remedy = "add the two, or the third; docs/errors/RP1004.md shows whole files";
            notes.note(0..0, codes::FLEET_MISSING, "qemu, libvirt or ceph", problem, remedy);
            None
        }
        // A misspelt `[ceph]` is told already; the other two are not asked for in its stead.
        (None, None) if notes.is_excused("ceph") => None,
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
    let RawCeph { version, repository, packages, admin, consent } = raw.into_inner();
    let mut section = Section::new("ceph", at, notes);
    let version = section.text("version", version, "version = \"16.2.15\"");
    let version = version.and_then(|version| section.exact_version("version", version)).map(Version::new);
    let repository = known_repository(repository, repositories, &mut section);
    let packages = packages.filter(|packages| !packages.is_empty());
    if packages.is_none() {
        section.missing("packages", "packages = [{ name = \"ceph-osd\", version = \"…\" }, …]");
    }
    let packages = packages.and_then(|packages| pins("ceph", packages, section.notes));
    let admin = section.texts("admin", admin, "admin = [\"a host with an admin keyring\"]");
    let admin = admin.and_then(|admin| admin_hosts(admin, &mut section));
    let (admin, admin_at) = admin?.into_iter().unzip();
    let goal = Goal::Ceph(CephTarget {
        version: version?,
        repository: repository?,
        packages: packages?,
        admin,
        consent: set(consent),
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
    let (Goal::Ceph(ceph), Some(hosts)) = (&goal, hosts) else { return Some(goal) };
    let mut whole = true;
    for (name, at) in ceph.admin.iter().zip(admin_at) {
        let host = hosts.hosts.iter().find(|host| host.name == *name);
        let problem = match host {
            Some(host) if host.reserved => format!("`{name}` is reserved, so nothing is done there"),
            Some(_) => continue,
            None => format!("no `[[host]]` is named `{name}`"),
        };
        let remedy = "name hosts of the file that have an admin keyring";
        notes.note(at, codes::FLEET_REFERENCE, "ceph.admin", problem, remedy);
        whole = false;
    }
    whole.then_some(goal)
}
