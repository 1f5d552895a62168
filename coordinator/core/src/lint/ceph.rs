//! What holds in a plan over a Ceph cluster, derived from its steps alone: every restart between its gates (P10), one wave after another, MONs one
//! at a time, kinds of daemons in their order, flags borrowed before and requirements after everything (P7, P8).

use super::Passage;
use super::graph::Graph;
use super::note::Notes;
use crate::codes;
use crate::gate::Gate;
use crate::plan::{Plan, Step, Work};
use replank_common::action::{Action, CephRestart, PackagesInstall};
use replank_common::ceph::{CephFlag, CephKind};
use replank_common::facts::PackageManager;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Whether the plan changes a cluster.
pub(super) fn is_of_cluster(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match &*step.work {
        Work::Act(
            Action::CephRestart(_)
            | Action::CephRequire(_)
            | Action::CephFlags(_)
            | Action::CephConfig(_)
            | Action::CephOwn(_),
        ) => true,
        // All that is left of a change of owner may be a row of ceph.conf.
        Work::Act(Action::FileEdit(edit)) => edit.path == Path::new("/etc/ceph/ceph.conf"),
        Work::Act(_) | Work::GiveBack(_) | Work::Observe => false,
    })
}

/// A restart and what it restarts.
struct Restart<'p> {
    step: &'p Step,
    node: usize,
    of: &'p CephRestart,
    osds: BTreeSet<u32>,
    mons: Vec<String>,
}

impl Restart<'_> {
    fn has(&self, kind: CephKind) -> bool {
        self.of.daemons.iter().any(|daemon| daemon.kind == kind)
    }

    /// All OSDs that may be down with it.
    fn wave(&self) -> BTreeSet<u32> {
        self.osds.iter().chain(&self.of.beside).copied().collect()
    }
}

pub(super) fn check(plan: &Plan, graph: &Graph, passages: &[Passage<'_>], notes: &mut Notes) {
    let restarts: Vec<Restart<'_>> = plan.steps.iter().filter_map(|step| restart(graph, step)).collect();
    for restart in &restarts {
        gates(restart, notes);
    }
    one_version(&restarts, notes);
    waves(graph, &restarts, notes);
    mons_alone(graph, &restarts, notes);
    order(graph, &restarts, notes);
    requires(plan, graph, &restarts, notes);
    flags(plan, graph, &restarts, notes);
    for passage in passages {
        packages(passage, notes);
    }
}

fn restart<'p>(graph: &Graph, step: &'p Step) -> Option<Restart<'p>> {
    let Work::Act(Action::CephRestart(of)) = &*step.work else { return None };
    let osds = of.daemons.iter().filter_map(|daemon| daemon.osd_number()).collect();
    let mons = of.daemons.iter().filter(|daemon| daemon.kind == CephKind::Mon);
    let mons = mons.map(|daemon| daemon.id.clone()).collect();
    Some(Restart { step, node: graph.step(step.id.as_str()), of, osds, mons })
}

fn gates(restart: &Restart<'_>, notes: &mut Notes) {
    let Restart { step, of, osds, mons, .. } = restart;
    let mut must = |good: bool, text: &str| {
        if !good {
            notes.fatal(codes::LINT_CEPH_GATES, Some(&step.id), text);
        }
    };
    must(!of.daemons.is_empty(), "it restarts nothing");
    let seen = step.after.iter().any(|gate| {
        matches!(gate, Gate::CephDaemonsAre { daemons, version } if *version == of.expect
            && of.daemons.iter().all(|daemon| daemons.contains(daemon)))
    });
    must(seen, "nobody sees afterwards that each process runs the new release");
    if !osds.is_empty() {
        let wave = restart.wave();
        let may = step.before.iter().any(|gate| {
            matches!(gate, Gate::OsdsMayStop { osds, consents, .. } if *consents == of.consents
                && osds.iter().copied().collect::<BTreeSet<u32>>() == wave)
        });
        must(may, "it stops OSDs without a gate that says that all of the wave may be down together");
        let settled = step.after.iter().any(|gate| {
            matches!(gate, Gate::OsdsSettled { osds: settled, version, .. } if *version == of.expect
                && osds.iter().all(|osd| settled.contains(osd)))
        });
        must(settled, "nobody waits until the placement groups of its OSDs are clean again");
    }
    if !mons.is_empty() {
        let may = step.before.iter().any(|gate| {
            matches!(gate, Gate::OsdsMayStop { mons: stopping, .. } if mons.iter().all(|mon| stopping.contains(mon)))
        });
        must(may, "it stops a MON without a gate that says that the others keep quorum");
        let back = step.after.iter().any(|gate| {
            matches!(gate, Gate::MonsInQuorum { mons: inside, .. } if mons.iter().all(|mon| inside.contains(mon)))
        });
        must(back, "nobody waits until its MON is in quorum again");
    }
    let mds: Vec<&String> =
        of.daemons.iter().filter(|daemon| daemon.kind == CephKind::Mds).map(|daemon| &daemon.id).collect();
    if !mds.is_empty() {
        let (may, back) = mds_gates(step, &mds);
        must(may, MDS_MAY_STOP);
        must(back, MDS_BACK);
    }
}

pub(super) const MDS_MAY_STOP: &str =
    "it stops an MDS without a gate that says that every rank of the file systems is served";
pub(super) const MDS_BACK: &str = "nobody waits until its MDS is back and every rank is served again";

/// Whether somebody looks at the file systems before these MDS stop, and after they are back.
pub(super) fn mds_gates(step: &Step, mds: &[&String]) -> (bool, bool) {
    let before = step.before.iter().any(|gate| {
        matches!(gate, Gate::MdsMayStop { mds: asked, .. } if mds.iter().all(|one| asked.contains(one)))
    });
    let after = step.after.iter().any(
        |gate| matches!(gate, Gate::MdsBack { mds: back, .. } if mds.iter().all(|one| back.contains(one))),
    );
    (before, after)
}

fn one_version(restarts: &[Restart<'_>], notes: &mut Notes) {
    let Some(first) = restarts.first() else { return };
    for restart in restarts.iter().filter(|restart| restart.of.expect.as_str() != first.of.expect.as_str()) {
        let text = format!("it leads to {}, and others to {}", restart.of.expect, first.of.expect);
        notes.fatal(codes::LINT_CEPH_GATES, Some(&restart.step.id), text);
    }
}

/// OSDs of different waves are never down together, and each OSD is in one wave.
fn waves(graph: &Graph, restarts: &[Restart<'_>], notes: &mut Notes) {
    let mut in_waves: Vec<(BTreeSet<u32>, Vec<&Restart<'_>>)> = Vec::new();
    let mut places: BTreeMap<BTreeSet<u32>, usize> = BTreeMap::new();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    for restart in restarts.iter().filter(|restart| !restart.osds.is_empty()) {
        for osd in restart.osds.iter().filter(|osd| !seen.insert(**osd)) {
            let text = format!("osd.{osd} is restarted twice");
            notes.fatal(codes::LINT_CEPH_WAVES, Some(&restart.step.id), text);
        }
        let wave = restart.wave();
        let at = *places.entry(wave.clone()).or_insert_with(|| {
            in_waves.push((wave, Vec::new()));
            in_waves.len() - 1
        });
        in_waves[at].1.push(restart);
    }
    for (wave, members) in &in_waves {
        let own: BTreeSet<u32> = members.iter().flat_map(|restart| &restart.osds).copied().collect();
        if own != *wave {
            let text = "the OSDs that it says may be down with it are not those of its wave";
            notes.fatal(codes::LINT_CEPH_WAVES, Some(&members[0].step.id), text);
        }
    }
    for pair in in_waves.windows(2) {
        let before: BTreeSet<usize> = pair[0].1.iter().map(|restart| restart.node).collect();
        after_all(
            graph,
            &pair[1].1,
            &before,
            notes,
            codes::LINT_CEPH_WAVES,
            "it can begin before the wave ahead of it is clean",
        );
    }
}

fn after_all(
    graph: &Graph,
    late: &[&Restart<'_>],
    before: &BTreeSet<usize>,
    notes: &mut Notes,
    code: &'static str,
    text: &str,
) {
    let targets: Vec<usize> = late.iter().map(|restart| restart.node).collect();
    let early = graph.not_after_all(&targets, before);
    for restart in late.iter().filter(|restart| early.contains(&restart.node)) {
        notes.fatal(code, Some(&restart.step.id), text);
    }
}

fn mons_alone(graph: &Graph, restarts: &[Restart<'_>], notes: &mut Notes) {
    let mons: Vec<&Restart<'_>> = restarts.iter().filter(|restart| !restart.mons.is_empty()).collect();
    for pair in mons.windows(2) {
        let before = BTreeSet::from([pair[0].node]);
        after_all(
            graph,
            &pair[1..],
            &before,
            notes,
            codes::LINT_CEPH_WAVES,
            "two MONs could be down together",
        );
    }
}

/// MONs, managers, OSDs, the rest. One MON may come later: it keeps a quorum open that cannot be taken back.
fn order(graph: &Graph, restarts: &[Restart<'_>], notes: &mut Notes) {
    let of = |kind: CephKind| restarts.iter().filter(|restart| restart.has(kind)).collect::<Vec<_>>();
    let (mons, mgrs, osds) = (of(CephKind::Mon), of(CephKind::Mgr), of(CephKind::Osd));
    let early_mons: BTreeSet<usize> =
        mons.iter().take(mons.len().saturating_sub(1).max(1)).map(|restart| restart.node).collect();
    let nodes =
        |restarts: &[&Restart<'_>]| restarts.iter().map(|restart| restart.node).collect::<BTreeSet<_>>();
    let code = codes::LINT_CEPH_ORDER;
    after_all(graph, &mgrs, &early_mons, notes, code, "a manager comes before the MONs");
    if mons.len() > 1 {
        after_all(graph, &osds, &early_mons, notes, code, "OSDs come before the MONs");
    }
    after_all(graph, &osds, &nodes(&mgrs), notes, code, "OSDs come before the managers");
    let all_osds = nodes(&osds);
    for kind in [CephKind::Mds, CephKind::Rgw] {
        after_all(graph, &of(kind), &all_osds, notes, code, "it comes before the OSDs");
    }
}

fn requires(plan: &Plan, graph: &Graph, restarts: &[Restart<'_>], notes: &mut Notes) {
    let all: BTreeSet<usize> = restarts.iter().map(|restart| restart.node).collect();
    let points: BTreeSet<&str> = plan.points_of_no_return.iter().map(|point| point.step.as_str()).collect();
    for step in &plan.steps {
        let Work::Act(Action::CephRequire(require)) = &*step.work else { continue };
        let mut must = |good: bool, text: &str| {
            if !good {
                notes.fatal(codes::LINT_CEPH_REQUIRE, Some(&step.id), text);
            }
        };
        let every = step.before.iter().any(|gate| matches!(gate, Gate::EveryOsdIs { .. }));
        must(every, "nobody looks whether every OSD that exists has the release");
        let after = step
            .after
            .iter()
            .any(|gate| matches!(gate, Gate::Required { what, .. } if *what == require.what));
        must(after, "nobody looks whether it is required afterwards");
        must(points.contains(step.id.as_str()), "it is no point of no return of the plan");
        let late = graph.not_after_all(&[graph.step(step.id.as_str())], &all).is_empty();
        must(late, "it can come before a daemon is restarted");
    }
}

fn flags(plan: &Plan, graph: &Graph, restarts: &[Restart<'_>], notes: &mut Notes) {
    let borrowed: BTreeSet<usize> = plan
        .steps
        .iter()
        .filter(|step| matches!(&*step.work, Work::Act(Action::CephFlags(flags)) if flags.flags.contains(&CephFlag::Noout)))
        .map(|step| graph.step(step.id.as_str()))
        .collect();
    let osds: Vec<&Restart<'_>> = restarts.iter().filter(|restart| !restart.osds.is_empty()).collect();
    let text = "OSDs are restarted before noout is set: data would move";
    if borrowed.is_empty() && !osds.is_empty() {
        notes.fatal(codes::LINT_CEPH_FLAGS, osds.first().map(|restart| &restart.step.id), text);
    }
    after_all(graph, &osds, &borrowed, notes, codes::LINT_CEPH_FLAGS, text);
    // Whoever gives the flags back while OSDs restart undoes what they are for.
    let nodes: BTreeSet<usize> = restarts.iter().map(|restart| restart.node).collect();
    let lent = |id: &str| {
        plan.steps.iter().any(|step| {
            step.id.as_str() == id
                && matches!(&*step.work, Work::Act(Action::CephFlags(_) | Action::CephConfig(_)))
        })
    };
    for step in &plan.steps {
        let Work::GiveBack(what) = &*step.work else { continue };
        if lent(what.as_str()) && !graph.not_after_all(&[graph.step(step.id.as_str())], &nodes).is_empty() {
            let text = "it gives back what belongs to the whole cluster while daemons are still restarted";
            notes.fatal(codes::LINT_CEPH_FLAGS, Some(&step.id), text);
        }
    }
}

/// What is installed was fetched, restarts nothing by itself, and lies before every restart of its host.
fn packages(passage: &Passage<'_>, notes: &mut Notes) {
    let install: Option<(usize, &Step, &PackagesInstall)> =
        passage.actions().find_map(|(at, step, action)| match action {
            Action::PackagesInstall(install) => Some((at, step, install)),
            _ => None,
        });
    let Some((at, step, install)) = install else { return };
    let before = |wanted: &dyn Fn(&Action) -> bool| passage.position(wanted).is_some_and(|place| place < at);
    let staged =
        before(&|action| matches!(action, Action::PackagesStage(stage) if stage.install == install.install));
    if !staged {
        let text = "the same packages have not been fetched and checked before";
        notes.fatal(codes::LINT_STAGED, Some(&step.id), text);
    }
    let forbids = before(&|action| match action {
        Action::FileWrite(write) => {
            write.path == Path::new("/usr/sbin/policy-rc.d")
                && write.mode & 0o111 != 0
                && write.contents.lines().any(|line| line.trim() == "exit 101")
        }
        _ => false,
    });
    if install.manager == PackageManager::Apt && !forbids {
        let text = "no policy-rc.d forbids restarts before, and the packages would restart daemons";
        notes.fatal(codes::LINT_QUIET, Some(&step.id), text);
    }
    if passage.position(|action| matches!(action, Action::CephRestart(_))).is_some_and(|first| first < at) {
        let text = "a daemon of the host is restarted before the new release is installed there";
        notes.fatal(codes::LINT_CEPH_ORDER, Some(&step.id), text);
    }
}
