//! From what was typed to what is meant, with every mistake on the way.

mod goal;
mod hosts;
mod read;
mod targets;

use super::mistake::{Mistakes, Notebook};
use super::model::{Canary, FleetFile, Goal, Pace};
use super::raw::{RawFile, RawPace};
use super::strike;
use crate::codes;
use crate::plan::Way;
use read::{Section, sections};
use std::ops::Range;
use toml::Spanned;

/// A fleet file is at most this long; 10,000 hosts take about 1 MB.
pub const MAX_BYTES: usize = 8 << 20;

const DEFAULT_SPARE_BYTES: u64 = 1 << 30;
const MAX_PARALLEL: u32 = 1_000;
const MAX_DEADLINE_PERCENT: u32 = 10_000;

/// Reads a fleet file. `file` is its name for messages.
///
/// # Errors
/// All mistakes that can be told apart in one reading, each with its place and remedy.
pub fn parse(file: &str, text: &str) -> Result<FleetFile, Mistakes> {
    let mut notebook = Notebook::new(text);
    if text.len() > MAX_BYTES {
        notebook.note(
            0..0,
            codes::FLEET_TOO_LARGE,
            "file",
            format!("it has {} bytes, more than {MAX_BYTES}", text.len()),
            "split the fleet into several",
        );
        return Err(notebook.finish(file));
    }
    let raw = strike::read(text, &mut notebook);
    if notebook.has(codes::FLEET_SYNTAX) {
        return Err(notebook.finish(file));
    }
    match mean(raw, &mut notebook) {
        Some(fleet) if notebook.is_empty() => Ok(fleet),
        _ => Err(notebook.finish(file)),
    }
}

fn mean(raw: RawFile, notes: &mut Notebook<'_>) -> Option<FleetFile> {
    let RawFile { fleet, pace, way, qemu, libvirt, ceph, ownership, repository, host } = raw;

    let (fleet, at) = sections(fleet, "fleet", notes)?;
    let mut section = Section::new("fleet", at, notes);
    let name = section.text("name", fleet.name, "name = \"a-short-name\"");
    let name = name.and_then(|name| section.slug("name", name));
    let hops = match &ownership {
        Some(_) => goal::no_hops(fleet.hops, notes),
        None => {
            let example = "hops = [\"a hop for qemu\", \"a hop for libvirt\"]";
            let hops = section.texts("hops", fleet.hops, example);
            hops.and_then(|hops| distinct("fleet.hops", hops, notes))
        }
    };

    let default_way = default_way(way, notes);
    let repositories = match &ownership {
        // It installs nothing.
        Some(_) if repository.is_empty() => Some(targets::Repositories::new()),
        Some(_) | None => targets::repositories(repository, notes),
    };
    let sections = goal::Sections { qemu, libvirt, ceph, ownership };
    let goal = goal::goal(sections, repositories.as_ref(), notes);
    let hosts = hosts::hosts(host, default_way, goal.as_ref().map(|aim| &aim.goal), notes);
    let goal = goal.and_then(|aim| goal::resolve(aim, hosts.as_ref(), notes));
    let pace = pace_of(pace, goal.as_ref(), hosts.as_ref(), notes);

    Some(FleetFile {
        name: name?,
        hops: hops?,
        pace: pace?,
        goal: goal?,
        repositories: repositories?,
        hosts: hosts?.hosts,
    })
}

fn distinct(subject: &str, items: Vec<Spanned<String>>, notes: &mut Notebook<'_>) -> Option<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    for item in items {
        let at = item.span();
        let item = item.into_inner();
        if seen.contains(&item) {
            notes.note(
                at,
                codes::FLEET_TWICE,
                subject,
                format!("`{item}` is there twice"),
                "keep one of them",
            );
        } else {
            seen.push(item);
        }
    }
    Some(seen)
}

fn default_way(raw: Option<Spanned<super::raw::RawWay>>, notes: &mut Notebook<'_>) -> Option<Way> {
    match raw.and_then(|raw| raw.into_inner().default) {
        Some(word) => read::way("way.default", &word, notes),
        None => Some(Way::InPlace),
    }
}

fn pace_of(
    raw: Option<Spanned<RawPace>>,
    goal: Option<&Goal>,
    hosts: Option<&hosts::Hosts>,
    notes: &mut Notebook<'_>,
) -> Option<Pace> {
    let RawPace { parallel_hosts, staging_parallel, canary, spare_bytes, deadline_percent } =
        raw.map(Spanned::into_inner).unwrap_or_default();
    let default = match goal {
        // How many OSDs may be down at once is for the placement groups to say.
        Some(Goal::Ceph(_)) => MAX_PARALLEL,
        Some(Goal::Guests(_) | Goal::CephOwnership(_)) | None => 1,
    };
    let parallel_hosts = number("pace.parallel_hosts", parallel_hosts, default, 1..MAX_PARALLEL + 1, notes);
    let staging_parallel = number("pace.staging_parallel", staging_parallel, 4, 1..MAX_PARALLEL + 1, notes);
    let deadline_percent =
        number("pace.deadline_percent", deadline_percent, 100, 100..MAX_DEADLINE_PERCENT + 1, notes);
    let canary = canary_of(canary, goal, hosts, notes);
    Some(Pace {
        parallel_hosts: parallel_hosts?,
        staging_parallel: staging_parallel?,
        canary: canary?,
        spare_bytes: spare_bytes.map_or(DEFAULT_SPARE_BYTES, Spanned::into_inner),
        deadline_percent: deadline_percent?,
    })
}

fn number(
    subject: &str,
    typed: Option<Spanned<u32>>,
    default: u32,
    range: Range<u32>,
    notes: &mut Notebook<'_>,
) -> Option<u32> {
    let Some(typed) = typed else { return Some(default) };
    if range.contains(typed.get_ref()) {
        return Some(typed.into_inner());
    }
    notes.note(
        typed.span(),
        codes::FLEET_RANGE,
        subject,
        format!("{} is out of range", typed.get_ref()),
        format!("write a number from {} to {}", range.start, range.end - 1),
    );
    None
}

/// `pace.canary` as a number or as names; or `canary = true` at hosts; but not both.
fn canary_of(
    typed: Option<Spanned<toml::Value>>,
    goal: Option<&Goal>,
    hosts: Option<&hosts::Hosts>,
    notes: &mut Notebook<'_>,
) -> Option<Canary> {
    let subject = "pace.canary";
    let flagged = hosts.map(|hosts| hosts.canaries.clone()).unwrap_or_default();
    let Some(typed) = typed else {
        return Some(if flagged.is_empty() { Canary::Count(1) } else { Canary::Hosts(flagged) });
    };
    let at = typed.span();
    if !flagged.is_empty() {
        notes.note(
            at,
            codes::FLEET_CONTRADICTION,
            subject,
            "some `[[host]]` have `canary = true` as well",
            "say it in one of the two places",
        );
        return None;
    }
    let names = match typed.into_inner() {
        toml::Value::Integer(count) if count >= 1 => {
            return Some(Canary::Count(u32::try_from(count).unwrap_or(u32::MAX)));
        }
        toml::Value::Array(names) if !names.is_empty() => names,
        _ => {
            notes.note(
                at,
                codes::FLEET_RANGE,
                subject,
                "it is neither a number of hosts from 1 on nor a list of their names",
                "write `canary = 1` or `canary = [\"compute1\"]`",
            );
            return None;
        }
    };
    let (goal, hosts) = (goal?, hosts?);
    let mut chosen = std::collections::BTreeSet::new();
    for name in names {
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        match hosts.hosts.iter().find(|host| host.name.as_str() == name) {
            Some(host) if goal.takes(host) => {
                chosen.insert(host.name.clone());
            }
            Some(_) => notes.note(
                at.clone(),
                codes::FLEET_REFERENCE,
                subject,
                format!("`{name}` takes no part: it is reserved or has no {}", goal.who()),
                "name a host that is to be changed",
            ),
            None => notes.note(
                at.clone(),
                codes::FLEET_REFERENCE,
                subject,
                format!("no `[[host]]` is named `{name}`"),
                "name one of the file's hosts",
            ),
        }
    }
    let in_order = hosts.hosts.iter().map(|host| host.name.clone()).filter(|name| chosen.contains(name));
    Some(Canary::Hosts(in_order.collect()))
}
