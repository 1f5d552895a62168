//! `[[host]]`.

use super::super::mistake::Notebook;
use super::super::model::{FleetHost, Goal, Listen, Role};
use super::super::raw::RawHost;
use super::read::{Section, way, word};
use crate::codes;
use crate::plan::Way;
use replank_common::ids::HostName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use toml::Spanned;

/// Hosts under one coordinator, at most.
const MAX_HOSTS: usize = 20_000;

/// The file's hosts, and those of them with `canary = true`.
pub(super) struct Hosts {
    pub(super) hosts: Vec<FleetHost>,
    pub(super) canaries: Vec<HostName>,
}

pub(super) fn hosts(
    raw: Vec<Spanned<RawHost>>,
    default_way: Option<Way>,
    goal: Option<&Goal>,
    notes: &mut Notebook<'_>,
) -> Option<Hosts> {
    if raw.is_empty() {
        if !notes.is_excused("host") {
            let remedy = "add `[[host]]` with `name` and `roles` for each host";
            notes.note(0..0, codes::FLEET_MISSING, "host", "the fleet has no hosts", remedy);
        }
        return None;
    }
    if raw.len() > MAX_HOSTS {
        let problem = format!("the fleet has {} hosts, more than {MAX_HOSTS}", raw.len());
        notes.note(0..0, codes::FLEET_TOO_LARGE, "host", problem, "split the fleet into several");
        return None;
    }
    let mut first_lines: BTreeMap<HostName, usize> = BTreeMap::new();
    let mut found = Hosts { hosts: Vec::new(), canaries: Vec::new() };
    let mut whole = true;
    for (index, raw) in raw.into_iter().enumerate() {
        let at = raw.span();
        let canary = raw.get_ref().canary.as_ref().is_some_and(|flag| *flag.get_ref());
        let name_at = raw.get_ref().name.as_ref().map_or(at.clone(), Spanned::span);
        let mut section = Section::new(format!("host[{}]", index + 1), at, notes);
        let Some(host) = host(raw.into_inner(), default_way, goal, &mut section) else {
            whole = false;
            continue;
        };
        if let Some(first) = first_lines.insert(host.name.clone(), index + 1) {
            let problem = format!("`{}` is host[{first}] already", host.name);
            section.wrong(name_at.clone(), codes::FLEET_TWICE, "name", problem, "keep one of them");
        }
        // Without a goal there are mistakes enough.
        let takes_part = goal.is_none_or(|goal| goal.takes(&host));
        if canary && takes_part {
            found.canaries.push(host.name.clone());
        } else if canary {
            let who = goal.map_or("role", Goal::who);
            let problem = format!("`{}` takes no part: it is reserved or has no {who}", host.name);
            section.wrong(
                name_at,
                codes::FLEET_REFERENCE,
                "canary",
                problem,
                "flag a host that is to be changed",
            );
        }
        found.hosts.push(host);
    }
    whole.then_some(found)
}

fn host(
    raw: RawHost,
    default_way: Option<Way>,
    goal: Option<&Goal>,
    section: &mut Section<'_, '_>,
) -> Option<FleetHost> {
    let RawHost { name, roles, way: own_way, canary: _, address, reserved } = raw;
    let name_at = name.as_ref().map(Spanned::span);
    let name = section.text("name", name, "name = \"compute1\"").and_then(|typed| {
        let at = typed.span();
        match HostName::new(typed.into_inner()) {
            Ok(name) => Some(name),
            Err(bad) => {
                let remedy = "write the name that is in the host's certificate";
                section.wrong(at, codes::FLEET_NAME, "name", bad.to_string(), remedy);
                None
            }
        }
    });
    let roles = roles_of(roles, section);
    let own_way = match own_way {
        Some(typed) => way(&section.subject("way"), &typed, section.notes),
        None => default_way,
    };
    let address_at = address.as_ref().map(Spanned::span);
    let address = address.and_then(|typed| address_of(&typed, section));
    let host = FleetHost {
        name: name?,
        roles: roles?,
        way: own_way?,
        address,
        reserved: reserved.is_some_and(Spanned::into_inner),
    };
    let tcp = match goal {
        Some(Goal::Guests(guests)) => guests.libvirt.tcp.as_ref(),
        Some(Goal::Ceph(_) | Goal::CephOwnership(_)) | None => None,
    };
    let listens = tcp.filter(|_| goal.is_some_and(|goal| goal.takes(&host)));
    match (listens, &host.address) {
        (None, _) => {}
        (Some(_), None) => {
            if address_at.is_none() {
                let at = name_at.unwrap_or(0..0);
                let problem =
                    format!("`{}` needs one, for libvirt over TCP is to be checked from a peer", host.name);
                section.wrong(at, codes::FLEET_MISSING, "address", problem, "add `address = \"192.0.2.11\"`");
            }
        }
        (Some(tcp), Some(address)) => {
            if tcp.listen == Listen::OwnAddress && address.parse::<IpAddr>().is_err() {
                let problem = format!(
                    "libvirtd of `{}` is to listen on `{address}`, which is not an IP address",
                    host.name
                );
                let remedy = "write the IP address, or set `libvirt.tcp.listen_address = \"0.0.0.0\"`";
                section.wrong(address_at.unwrap_or(0..0), codes::FLEET_ADDRESS, "address", problem, remedy);
            }
        }
    }
    Some(host)
}

fn roles_of(typed: Option<Vec<Spanned<String>>>, section: &mut Section<'_, '_>) -> Option<BTreeSet<Role>> {
    let typed = section.texts("roles", typed, "roles = [\"compute\"]")?;
    let known: Vec<(&'static str, Role)> = Role::ALL.iter().map(|role| (role.as_str(), *role)).collect();
    let subject = section.subject("roles");
    let mut roles = BTreeSet::new();
    let mut whole = true;
    for role in &typed {
        match word(&subject, role, &known, section.notes) {
            Some(role) => {
                roles.insert(role);
            }
            None => whole = false,
        }
    }
    whole.then_some(roles)
}

/// An IP address that is not a wildcard, or a host name.
fn address_of(typed: &Spanned<String>, section: &mut Section<'_, '_>) -> Option<String> {
    let text = typed.get_ref();
    let problem = match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => format!("`{text}` stands for every address"),
        Ok(ip) if ip.is_loopback() => format!("`{text}` leads no peer to this host"),
        Ok(_) => return Some(text.clone()),
        Err(_) if HostName::new(text.as_str()).is_ok() => return Some(text.clone()),
        Err(_) => format!("`{text}` is neither an IP address nor a host name"),
    };
    let remedy = "write the address at which the other hosts reach this one, without a port";
    section.wrong(typed.span(), codes::FLEET_ADDRESS, "address", problem, remedy);
    None
}
