//! Is a hop of Ceph complete and consistent?

use super::ceph::{CephPart, ConfigHow, FileWhen, GLOBAL, Limit, Point, Side};
use super::check::Say;
use super::model::Hop;
use replank_common::ceph::{CephDaemon, CephFlag, CephKind};
use replank_common::facts::PackageManager;
use std::path::Path;

/// Flags that would keep the cluster from coming back to rest while it is changed, or hide that a daemon died.
const NEVER_BORROWED: [CephFlag; 5] =
    [CephFlag::Nodown, CephFlag::Noup, CephFlag::Norebalance, CephFlag::Norecover, CephFlag::Nobackfill];

/// Of `ceph.conf` and of the MONs' store, for all of a kind.
const SECTIONS: [&str; 5] = ["mon", "mgr", "osd", "mds", "client"];

pub(super) fn problems(hop: &Hop, part: &CephPart, say: &mut Say) {
    say.source("[ceph.releases]", &part.releases.source);
    let word = |release: &str| !release.is_empty() && release.bytes().all(|b| b.is_ascii_lowercase());
    say.unless(word(&part.releases.from) && word(&part.releases.to), "a release is one lower-case word");
    say.unless(
        part.releases.from < part.releases.to,
        "releases of Ceph are named by the alphabet: `from` comes before `to`",
    );
    say.source("[ceph.order]", &part.order.source);
    daemons(hop, part, say);
    limits(hop, part, say);
    borrowed(part, say);
    files(part, say);
    points(part, say);
    for (row, way) in [("[ceph.quorum]", &part.quorum), ("[ceph.back]", &part.back)] {
        say.source(row, &way.source);
        let whole = !way.reason.trim().is_empty() && !way.alternative.trim().is_empty();
        say.unless(whole, format!("{row} must have a reason and an alternative"));
    }
    told(part, say);
    packages(hop, part, say);
    let patience = &part.patience;
    say.source("[ceph.patience]", &patience.source);
    let all = [patience.stop_ms, patience.start_ms, patience.mon_settles_ms, patience.osd_settles_ms];
    say.unless(all.iter().all(|ms| *ms > 0), "[ceph.patience] has a time of 0");
    // A clean stop tells the MONs, for which the OSD itself takes up to 5 s (osd_mon_shutdown_timeout).
    say.unless(patience.stop_ms > 5_000, "[ceph.patience] stop_ms leaves no room for a clean stop");
}

fn daemons(hop: &Hop, part: &CephPart, say: &mut Say) {
    let kinds: Vec<CephKind> = part.daemon.iter().map(|row| row.kind).collect();
    say.unique("daemon", kinds.iter().map(|kind| kind.as_str()));
    let at = |wanted: CephKind| kinds.iter().position(|kind| *kind == wanted);
    match (at(CephKind::Mon), at(CephKind::Osd)) {
        (Some(mon), Some(osd)) => {
            say.unless(mon < osd, "MONs come before OSDs: no release is known where they must not");
        }
        (None, _) | (_, None) => say.unless(false, "it has no [[ceph.daemon]] for MONs and OSDs"),
    }
    if let (Some(mgr), Some(osd)) = (at(CephKind::Mgr), at(CephKind::Osd)) {
        say.unless(mgr < osd, "managers come before OSDs");
    }
    for row in &part.daemon {
        let kind = row.kind.as_str();
        say.source(&format!("daemon {kind}"), &row.source);
        // The agent stops and starts by a rule of its own, so there is one.
        let one = CephDaemon { kind: row.kind, id: "1".to_owned() };
        let is_agents = row.unit.replace("{id}", &one.instance()) == one.unit();
        say.unless(
            is_agents,
            format!("the unit of {kind} is not like the agent's, which is `{}`", one.unit()),
        );
        say.unless(!row.packages.is_empty(), format!("daemon {kind} names no package"));
        for package in &row.packages {
            let known = hop.packages.names.contains(package);
            say.unless(known, format!("the package `{package}` of {kind} is not in names"));
        }
    }
}

fn limits(hop: &Hop, part: &CephPart, say: &mut Say) {
    for row in &part.limit {
        let (word, version) = match &row.limit {
            Limit::Minimum(version) => ("minimum", version),
            Limit::Forbidden(version) => ("forbidden", version),
        };
        let name = format!("{word} {version}");
        say.source(&name, &row.source);
        say.unless(!row.why.trim().is_empty(), format!("{name} has no why"));
        let series = match row.side {
            Side::From => &hop.from,
            Side::To => &hop.to,
        };
        say.unless(version.is_of_series(series), format!("{name} is not of the series {series}"));
    }
    for row in &part.needs {
        say.source(&format!("needs {}", row.flag), &row.source);
        say.unless(!row.remedy.trim().is_empty(), format!("needs {} has no remedy", row.flag));
    }
}

fn borrowed(part: &CephPart, say: &mut Say) {
    say.unique("flag", part.flag.iter().map(|row| row.flag.as_str()));
    for row in &part.flag {
        say.source(&format!("flag {}", row.flag.as_str()), &row.source);
        let harmful = NEVER_BORROWED.contains(&row.flag);
        say.unless(
            !harmful,
            format!("{} would keep groups from becoming clean, or hide a death", row.flag.as_str()),
        );
    }
    let noout = part.flag.iter().any(|row| row.flag == CephFlag::Noout);
    say.unless(noout, "noout must be borrowed: an OSD that is out makes its data move");
    for row in &part.config {
        say.source(&format!("config {}", row.name), &row.source);
        let plain = row.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        say.unless(plain, format!("config {} is not spelt with underscores", row.name));
        let section = row.section.as_str();
        let known = SECTIONS.contains(&section) || section.parse::<CephDaemon>().is_ok();
        // `ceph tell` reaches the daemons of one kind, and no client.
        let fits = known || section == GLOBAL && row.how == ConfigHow::Central;
        say.unless(fits, format!("config {} cannot be set for {section} in this way", row.name));
    }
    for row in &part.mask {
        say.source(&format!("mask {}", row.unit), &row.source);
    }
    for row in &part.quiet {
        say.source(&format!("quiet {}", row.step), &row.source);
        say.absolute("quiet file", &row.path);
    }
}

fn files(part: &CephPart, say: &mut Say) {
    let names: Vec<String> = part.file.iter().map(|row| format!("{}/{}", row.section, row.key)).collect();
    say.unique("key", names.iter().map(String::as_str));
    for (row, name) in part.file.iter().zip(&names) {
        say.source(&format!("key {name}"), &row.source);
        let known = SECTIONS.contains(&row.section.as_str());
        say.unless(known, format!("the section of {name} is none of a kind of daemon or client"));
        say.unless(!row.key.contains('_'), format!("{name} is not spelt with blanks, as the others are"));
        // Of a daemon that keeps running as root, the choice outlives the voyage.
        let lasting = row.when != FileWhen::OwnedByRoot || !row.borrowed;
        say.unless(lasting, format!("{name} cannot be given back while the data is root's"));
    }
}

fn points(part: &CephPart, say: &mut Say) {
    for row in &part.point {
        say.source("[[ceph.point]]", &row.source);
        let whole = !row.reason.trim().is_empty() && !row.alternative.trim().is_empty();
        say.unless(whole, "a [[ceph.point]] must have a reason and an alternative");
    }
    let at = |wanted: Point| part.point.iter().position(|row| row.what == wanted);
    if let (Some(sort), Some(require)) = (at(Point::SortBitwise), at(Point::RequireJewelOsds)) {
        say.unless(sort < require, "sort-bitwise comes before require-jewel-osds");
    }
    let requires = at(Point::RequireOsdRelease).or(at(Point::RequireJewelOsds)).is_some();
    say.unless(requires, "no [[ceph.point]] demands the new release of every OSD at the end");
}

fn told(part: &CephPart, say: &mut Say) {
    say.unique("health reason", part.health.iter().map(|row| row.reason.as_str()));
    for row in &part.health {
        say.source(&format!("health {}", row.reason), &row.source);
        say.unless(!row.cure.trim().is_empty(), format!("health {} has no cure", row.reason));
    }
    for row in &part.default {
        say.source(&format!("default {}", row.option), &row.source);
    }
    for row in &part.command {
        say.source(&format!("command {}", row.command), &row.source);
    }
    for row in &part.document {
        say.source(&format!("document {}", row.document), &row.source);
    }
    for row in &part.trap {
        say.source("a trap", &row.source);
        let whole = !row.effect.trim().is_empty() && !row.remedy.trim().is_empty();
        say.unless(whole, "a trap has no effect or no remedy");
    }
}

/// Packages that restart daemons when they are installed would do in a moment what the waves do in hours.
fn packages(hop: &Hop, part: &CephPart, say: &mut Say) {
    if hop.manager == PackageManager::Apt {
        let forbids = part.quiet.iter().any(|row| row.path == Path::new("/usr/sbin/policy-rc.d"));
        say.unless(forbids, "on apt hosts policy-rc.d must forbid restarts");
    }
}
