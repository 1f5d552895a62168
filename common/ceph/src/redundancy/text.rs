//! Verdicts for people: grouped by what is wrong, a few examples of each. The JSON form has everything.

use super::judge::{Answer, Verdict};
use super::need::Thin;
use super::objection::{Objection, PgCause, PgObjection, Shortage};
use crate::OsdId;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Examples of one kind that are shown.
const SHOWN: usize = 5;

/// Kinds of objections that are shown.
const KINDS: usize = 20;

/// The verdict in lines; the first says it all.
pub fn show_verdict(verdict: &Verdict) -> String {
    let osds: Vec<OsdId> = verdict.osds.iter().copied().collect();
    let mons = verdict.mons.iter().map(|mon| format!("mon.{mon}"));
    let names: Vec<String> = osds.iter().map(OsdId::to_string).chain(mons).collect();
    let what = list(&names, 8);
    let mut text = match verdict.answer {
        Answer::Safe => format!("SAFE: {what} may stop now.\n"),
        Answer::NotSafe => format!("NOT SAFE: {what} may not stop now.\n"),
        Answer::CannotTell => format!("CANNOT TELL: nothing says that {what} may stop, so nothing may.\n"),
    };
    line(&mut text, &format!("  {} in the set.", groups_have_a_member(verdict.touched)));
    if !verdict.down_already.is_empty() {
        line(&mut text, &format!("  Down already: {}.", names_of(&verdict.down_already)));
    }
    for pool in &verdict.outages {
        line(&mut text, &format!("  OUTAGE, accepted: clients of pool `{pool}` stop until the set is back."));
    }
    text + &show_objections(&verdict.objections)
}

/// The objections, each kind once, those that are certain first.
pub fn show_objections(objections: &[Objection]) -> String {
    let mut kinds: BTreeMap<(bool, &'static str, String), (Vec<String>, String)> = BTreeMap::new();
    for objection in objections {
        let Said { head, item, remedy } = say(objection);
        let kind = kinds.entry((!objection.certain(), objection.code(), head)).or_default();
        kind.0.push(item);
        kind.1 = remedy;
    }
    let more = kinds.len().saturating_sub(KINDS);
    let mut text = String::new();
    for ((_, code, head), (items, remedy)) in kinds.into_iter().take(KINDS) {
        line(&mut text, &format!("\n{code}  {head}"));
        for item in items.iter().take(SHOWN) {
            line(&mut text, &format!("        {item}"));
        }
        if items.len() > SHOWN {
            line(&mut text, &format!("        … and {} more", items.len() - SHOWN));
        }
        line(&mut text, &format!("        -> {remedy}"));
    }
    if more > 0 {
        line(&mut text, &format!("\n… and {more} more kinds of objections; --json has them all"));
    }
    text
}

/// What is objected, in one line within a sentence: those that are certain first, a few, and how many more.
pub fn objections_in_a_line(objections: &[Objection]) -> String {
    let mut ordered: Vec<&Objection> = objections.iter().collect();
    ordered.sort_by_key(|objection| !objection.certain());
    let mut said: Vec<String> = ordered.iter().take(SHOWN).map(|one| show_objection(one)).collect();
    if ordered.len() > SHOWN {
        said.push(format!("and {} more", ordered.len() - SHOWN));
    }
    said.join("; ")
}

/// One objection in one line, for those who wait: its code, what is wrong, and where.
pub fn show_objection(objection: &Objection) -> String {
    let Said { head, item, .. } = say(objection);
    format!("{} {head}: {item}", objection.code())
}

struct Said {
    /// What all of one kind share.
    head: String,
    item: String,
    remedy: String,
}

fn say(objection: &Objection) -> Said {
    let said =
        |head: &str, item: String, remedy: &str| Said { head: head.into(), item, remedy: remedy.into() };
    match objection {
        Objection::OsdDown { osd } => said(
            "OSDs outside the set are down, and data is placed on them",
            osd.to_string(),
            "bring them up, or mark them out and wait until their data is elsewhere",
        ),
        Objection::OsdUnclear { osd } => said(
            "the OSD map does not say whether these are up and in",
            osd.to_string(),
            "take the map again: `ceph osd dump --format json`",
        ),
        Objection::OsdUnknown { osd } => said(
            "OSDs of the set are not in the OSD map",
            osd.to_string(),
            "name those that `ceph osd ls` lists, or take the map again",
        ),
        Objection::OsdBeyondCut { osd } => said(
            "the list of groups was cut down to other OSDs",
            osd.to_string(),
            "take the list again for all OSDs that stop together",
        ),
        Objection::Pg(pg) => say_pg(pg),
        Objection::PgsAbsent { name, pg_num, listed, .. } => {
            let expected = pg_num.map_or_else(|| "a number that is not said".to_owned(), |n| n.to_string());
            said(
                "the list does not have each group of these pools exactly once",
                format!("pool `{name}`: {listed} listed, pg_num is {expected}"),
                "take both again when no pool is being split, merged, made or deleted",
            )
        }
        Objection::PoolAbsent { pool, listed } => said(
            "the list has groups of pools that the OSD map does not have",
            format!("pool {}: {listed} listed", pool.0),
            "take the list, then the map, of one and the same cluster",
        ),
        Objection::PgNowhere { pg } => said(
            "nobody knows where these groups are, so any OSD may hold them",
            pg.to_string(),
            "see `ceph pg dump_stuck`; right after the start of a manager, wait a minute",
        ),
        Objection::MapOlder { map_epoch, pgs_epoch } => said(
            "the OSD map is older than the list of groups",
            format!("map epoch {map_epoch}, groups counted under epoch {pgs_epoch}"),
            "take the list first: `ceph pg dump`, then `ceph osd dump`",
        ),
        Objection::MonQuorum { stopping, in_quorum, majority, mons } => said(
            "too few MONs would be left for a quorum",
            format!(
                "{} would stop; of {mons} MONs {in_quorum} are in quorum, and {majority} must stay",
                mon_names(stopping)
            ),
            "wait until all MONs are in quorum; a cluster of one or two MONs cannot spare any",
        ),
        Objection::MonHosts { stopping } => said(
            "MONs on more than one machine would stop at once",
            mon_names(stopping),
            "stop one machine with a MON at a time",
        ),
        Objection::MonUnclear { mon } => said(
            "these MONs have no address, so they may be on the machines of the set",
            format!("mon.{mon}"),
            "take the status again: `ceph quorum_status --format json`",
        ),
    }
}

fn say_pg(pg: &PgObjection) -> Said {
    let pool = &pg.pool_name;
    let (head, remedy) = match &pg.cause {
        PgCause::TooFew { left, needed, short } => (
            format!("pool `{pool}`: {} left where {needed} must stay", complete_copies(*left)),
            match short {
                Shortage::Set => {
                    "stop OSDs of fewer failure domains at once, or wait until the groups are clean".to_owned()
                }
                Shortage::Consent(Thin::OneCopy) => {
                    format!("it has one copy: its clients stop with it. If that is accepted: --consent {pool}")
                }
                Shortage::Consent(Thin::TwoCopies) => format!(
                    "it has two copies: while one is down, a broken disk loses data. If that is accepted: --consent {pool}"
                ),
                Shortage::Consent(Thin::OneLoss) => format!(
                    "its code mends one loss: while one is down, a broken disk loses data. If that is accepted: --consent {pool}"
                ),
                Shortage::MinSize => {
                    "its min_size leaves no copy to spare, ever: raise its size, or lower min_size for the while".to_owned()
                }
            },
        ),
        PgCause::Unsettled => (
            format!("pool `{pool}`: groups are not in service"),
            "wait until they are active; if they stay so, `ceph pg PG query` says what they wait for".to_owned(),
        ),
        PgCause::Stale => (
            format!("pool `{pool}`: nobody has reported these groups of late"),
            "see which OSDs are down: `ceph osd tree`".to_owned(),
        ),
        PgCause::Damaged => (
            format!("pool `{pool}`: copies differ or objects are not found"),
            "mend them first: `ceph health detail`, then `ceph pg repair PG` or what it says".to_owned(),
        ),
        PgCause::NoState => (
            format!("pool `{pool}`: the state of groups is not known"),
            "right after the start of a manager, wait a minute and take the list again".to_owned(),
        ),
        PgCause::StrangeState => (
            format!("pool `{pool}`: groups are in a state that this replank does not know"),
            "use a replank that knows the release of the cluster".to_owned(),
        ),
        PgCause::NoMembers => (
            format!("pool `{pool}`: the list does not say who holds these groups"),
            "take the list again: `ceph pg dump --format json`".to_owned(),
        ),
        PgCause::NoOsd { .. } => (
            format!("pool `{pool}`: groups have members that the OSD map does not have"),
            "take the list, then the map, of one and the same cluster".to_owned(),
        ),
        PgCause::ReportTooOld { .. } => (
            format!("pool `{pool}`: groups were last reported before a member came up"),
            "take the list again in some seconds; `ceph tell osd.N flush_pg_stats` hastens it".to_owned(),
        ),
        PgCause::CopiesUnclear => (
            format!("pool `{pool}`: groups are not clean, and the list does not tell who misses what"),
            "wait until they are clean; a full `ceph pg dump` tells more than a brief one".to_owned(),
        ),
        PgCause::NoPool => (
            format!("pool {pool} is not in the OSD map"),
            "take the list, then the map, of one and the same cluster".to_owned(),
        ),
        PgCause::PoolUnclear => (
            format!("pool `{pool}`: the OSD map does not say how its data is kept, or says it in two ways"),
            "take the map again; see `ceph osd pool ls detail` and its erasure-code profile".to_owned(),
        ),
    };
    let state = pg.state.as_ref().map_or_else(|| "state not said".to_owned(), ToString::to_string);
    let mut item = format!("{} {state}: on {}", pg.pg, names_of(&pg.acting));
    let _ = match &pg.cause {
        PgCause::NoOsd { osd } => write!(item, "; {osd} is not in the map"),
        PgCause::ReportTooOld { osd, up_from, reported_epoch } => {
            write!(item, "; reported at epoch {reported_epoch}, {osd} came up at {up_from}")
        }
        _ => write!(item, "; would stop {}", names_of(&pg.stopping)),
    };
    Said { head, item, remedy }
}

fn complete_copies(number: u32) -> String {
    if number == 1 { "1 complete copy".to_owned() } else { format!("{number} complete copies") }
}

fn groups_have_a_member(number: usize) -> String {
    if number == 1 {
        "1 placement group has a member".to_owned()
    } else {
        format!("{number} placement groups have a member")
    }
}

fn mon_names(names: &[String]) -> String {
    names.iter().map(|name| format!("mon.{name}")).collect::<Vec<_>>().join(", ")
}

fn names_of(osds: &[OsdId]) -> String {
    if osds.is_empty() {
        return "nobody".to_owned();
    }
    list(&osds.iter().map(OsdId::to_string).collect::<Vec<_>>(), 16)
}

/// The first `most` of them, and how many there are.
pub(crate) fn list(names: &[String], most: usize) -> String {
    match names.get(..most) {
        Some(first) if names.len() > most => format!("{} … ({} in all)", first.join(", "), names.len()),
        Some(_) | None => names.join(", "),
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_few_and_says_how_many_more() {
        let down = |osd: u32| Objection::OsdDown { osd: OsdId(osd) };
        let one = objections_in_a_line(&[down(3)]);
        assert_eq!(one, "RP2201 OSDs outside the set are down, and data is placed on them: osd.3");
        let many: Vec<Objection> =
            std::iter::once(Objection::OsdUnclear { osd: OsdId(9) }).chain((0..7).map(down)).collect();
        let said = objections_in_a_line(&many);
        assert!(said.starts_with(&one.replace("osd.3", "osd.0")), "what is certain comes first: {said}");
        assert!(said.ends_with("osd.4; and 3 more") && !said.contains("osd.9"), "{said}");
    }
}
