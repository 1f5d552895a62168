//! What differs in the text of a plan over a Ceph cluster: its order is that of the cluster, not of its hosts.

use super::super::estimate::Estimate;
use super::super::loans::loans;
use super::super::model::{Need, Plan, Step, Work};
use super::super::text::{Page, count, names, show_duration};
use replank_common::action::Action;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::ids::HoldId;
use std::collections::BTreeSet;

/// Whether the plan changes a cluster.
pub(super) fn is_of_cluster(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match &*step.work {
        Work::Act(
            Action::CephRestart(_) | Action::CephRequire(_) | Action::CephFlags(_) | Action::CephOwn(_),
        ) => true,
        Work::Act(Action::FileEdit(edit)) => edit.path == std::path::Path::new("/etc/ceph/ceph.conf"),
        Work::Act(_) | Work::GiveBack(_) | Work::Observe => false,
    })
}

pub(super) fn head(page: &mut Page, plan: &Plan, hosts: usize, estimate: &Estimate) {
    page.gap();
    let total = show_duration(estimate.total_ms);
    page.paragraph(
        "",
        &format!(
            "{}, {}. About {total} when nothing waits for approval.",
            count(hosts, "host"),
            count(plan.steps.len(), "step")
        ),
    );
    for loan in loans(plan) {
        let (expected, told) = (show_duration(loan.expected_ms), show_duration(loan.told_after_ms()));
        let what = &loan.what;
        page.paragraph(
            "",
            &format!("{what}: borrowed for about {expected}; after {told} the run warns that it still is."),
        );
    }
    page.paragraph(
        "",
        "Before OSDs stop, every placement group of theirs must keep enough complete copies, worked out from the groups themselves; \
         after they start, each must be clean again before the next ones stop. A MON stops only while the others keep quorum.",
    );
}

/// Restarts that are one item of the list.
struct Group<'p> {
    kind: CephKind,
    /// Of OSDs: all of the wave.
    wave: BTreeSet<u32>,
    hosts: Vec<&'p str>,
}

impl<'p> Group<'p> {
    fn of(step: &'p Step) -> Option<Self> {
        let Work::Act(Action::CephRestart(restart)) = &*step.work else { return None };
        let own = restart.daemons.iter().filter_map(CephDaemon::osd_number);
        let wave = own.chain(restart.beside.iter().copied()).collect();
        Some(Self { kind: restart.daemons.first()?.kind, wave, hosts: vec![step.host.as_str()] })
    }

    fn text(&self, number: usize, waves: usize) -> String {
        let hosts = names(&self.hosts);
        let one_by_one = |many: &str, one: &str| match self.hosts.len() {
            1 => format!("The {one} of {hosts}."),
            _ => format!("{many}, one host at a time: {hosts}."),
        };
        match self.kind {
            CephKind::Mon => one_by_one("MONs", "MON"),
            CephKind::Mgr => one_by_one("Managers", "manager"),
            CephKind::Mds => one_by_one("MDS", "MDS"),
            CephKind::Rgw => one_by_one("Gateways", "gateway"),
            CephKind::Osd => {
                let osds = count(self.wave.len(), "OSD");
                format!("Wave {number} of {waves}: {osds} at once, on {hosts}.")
            }
        }
    }
}

/// Whether the plan changes whom files belong to, and no release.
fn is_of_owners(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(&*step.work, Work::Act(Action::CephOwn(_))))
}

/// The holds that lie before the step and before none of those that were told.
fn reached<'p>(step: &'p Step, told: &mut BTreeSet<&'p HoldId>) -> Vec<&'p HoldId> {
    let holds = step.needs.iter().filter_map(|need| match need {
        Need::Hold(hold) => Some(hold),
        Need::Step(_) => None,
    });
    holds.filter(|hold| told.insert(hold)).collect()
}

/// A change of owner in a few lines: holds, and between them hosts with their daemons.
fn owners(plan: &Plan) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut told: BTreeSet<&HoldId> = BTreeSet::new();
    let mut open: Option<(&str, Vec<String>)> = None;
    let close = |open: &mut Option<(&str, Vec<String>)>, items: &mut Vec<String>| {
        if let Some((host, daemons)) = open.take() {
            let daemons: Vec<&str> = daemons.iter().map(String::as_str).collect();
            items.push(format!("On {host}, one at a time: {}.", names(&daemons)));
        }
    };
    for step in &plan.steps {
        for hold in reached(step, &mut told) {
            close(&mut open, &mut items);
            items.push(format!("Hold {hold}: the run waits for you."));
        }
        let Work::Act(Action::CephOwn(own)) = &*step.work else { continue };
        if own.switch.is_none() {
            continue;
        }
        let (host, daemon) = (step.host.as_str(), own.daemon.to_string());
        match &mut open {
            Some((same, daemons)) if *same == host => daemons.push(daemon),
            Some(_) | None => {
                close(&mut open, &mut items);
                open = Some((host, vec![daemon]));
            }
        }
    }
    close(&mut open, &mut items);
    if plan
        .steps
        .iter()
        .any(|step| matches!(&*step.work, Work::Act(Action::CephOwn(own)) if own.switch.is_none()))
    {
        items.push(format!(
            "Meanwhile, ahead of it, the files of OSDs that run are given away gently, on at most {} at a time.",
            count(plan.pace.staging_parallel as usize, "host")
        ));
    }
    items
}

/// The voyage in a few lines: prepare, borrow, MONs, managers, waves, what is required, give back.
pub(super) fn sequence(page: &mut Page, plan: &Plan) {
    if is_of_owners(plan) {
        list(page, &owners(plan));
        return;
    }
    let waves: BTreeSet<BTreeSet<u32>> = plan
        .steps
        .iter()
        .filter_map(Group::of)
        .filter(|group| group.kind == CephKind::Osd)
        .map(|group| group.wave)
        .collect();
    let mut items: Vec<String> = Vec::new();
    let mut open: Option<Group<'_>> = None;
    let (mut told, mut wave): (BTreeSet<&HoldId>, usize) = (BTreeSet::new(), 0);
    let mut close = |open: &mut Option<Group<'_>>, items: &mut Vec<String>| {
        if let Some(group) = open.take() {
            wave += usize::from(group.kind == CephKind::Osd);
            items.push(group.text(wave, waves.len()));
        }
    };
    if plan.steps.iter().any(|step| matches!(*step.work, Work::Act(Action::PackagesStage(_)))) {
        items.push(format!(
            "Every host prepares, at most {} at a time: the repository pinned, packages fetched and checked. Nothing that a daemon \
             would notice. A blocker found on any host ends the voyage here.",
            plan.pace.staging_parallel
        ));
    }
    for step in &plan.steps {
        for hold in reached(step, &mut told) {
            close(&mut open, &mut items);
            items.push(format!("Hold {hold}: the run waits for you."));
        }
        match &*step.work {
            Work::Act(Action::CephFlags(flags)) => {
                let flags: Vec<&str> = flags.flags.iter().map(|flag| flag.as_str()).collect();
                items.push(format!(
                    "{} borrows {} and waits until no scrub runs.",
                    step.host,
                    flags.join(", ")
                ));
            }
            Work::Act(Action::CephRequire(require)) => {
                close(&mut open, &mut items);
                items.push(format!("The cluster gets {}.", require.what));
            }
            Work::Act(_) | Work::GiveBack(_) | Work::Observe => {
                let Some(group) = Group::of(step) else { continue };
                match &mut open {
                    Some(same) if same.kind == group.kind && same.wave == group.wave => {
                        same.hosts.extend(group.hosts);
                    }
                    Some(_) | None => {
                        close(&mut open, &mut items);
                        open = Some(group);
                    }
                }
            }
        }
    }
    close(&mut open, &mut items);
    if plan.steps.iter().any(|step| matches!(*step.work, Work::GiveBack(_))) {
        items.push("Everything borrowed is given back, the flags last.".to_owned());
    }
    list(page, &items);
}

fn list(page: &mut Page, items: &[String]) {
    page.gap();
    page.line("What happens, in order");
    for (number, item) in (1..).zip(items) {
        page.paragraph(&format!("  {number}. "), item);
    }
}

pub(super) fn way_back(page: &mut Page, plan: &Plan) {
    if is_of_owners(plan) {
        page.paragraph(
            "  ",
            "`replank rollback RUN` gives the files back to whom they belonged, one daemon at a time: `setuser match path` first, then \
             the directory of a daemon that is stopped for it, then, while it runs, everything in it. `replank abort RUN` stops after the \
             steps that are under way; half of a cluster as root and half as ceph is as well as either.",
        );
        return;
    }
    page.paragraph(
        "  ",
        "Until the first daemon is restarted, `replank rollback RUN` takes everything back from its records: packages, files, units, \
         settings and flags become what they were.",
    );
    page.paragraph(
        "  ",
        "From then on a rollback is refused, for a daemon that has started on the new release cannot go back. `replank abort RUN` stops \
         and gives back what was borrowed: flags, settings, pins. The cluster may stay mixed while you mend what was wrong. Then take the \
         inventory and plan again: daemons that are new are left alone, and what is left is done in the same order.",
    );
}
