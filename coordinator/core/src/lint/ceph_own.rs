//! What holds in a plan that changes whom daemons' files belong to: one daemon is down at a time over the whole cluster, between its gates (P10), each once; and what has
//! daemons start as root goes last.

use super::Passage;
use super::ceph::{MDS_BACK, MDS_MAY_STOP, mds_gates};
use super::graph::Graph;
use super::note::Notes;
use crate::codes;
use crate::gate::Gate;
use crate::plan::{Plan, Step, Work};
use replank_common::action::{Action, CephOwn, FileEdit, OwnSwitch};
use replank_common::ceph::CephKind;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn check(plan: &Plan, graph: &Graph, passages: &[Passage<'_>], notes: &mut Notes) {
    let mut switched: BTreeSet<String> = BTreeSet::new();
    let mut before: Option<usize> = None;
    for step in &plan.steps {
        let Work::Act(Action::CephOwn(own @ CephOwn { switch: Some(switch), .. })) = &*step.work else {
            continue;
        };
        gates(step, own, switch, notes);
        if !switched.insert(own.daemon.to_string()) {
            notes.fatal(codes::LINT_CEPH_WAVES, Some(&step.id), format!("{} is stopped twice", own.daemon));
        }
        let node = graph.step(step.id.as_str());
        if let Some(before) = before.replace(node)
            && !graph.not_after_all(&[node], &BTreeSet::from([before])).is_empty()
        {
            let text = "it does not wait for the daemon before it: two could be down at once";
            notes.fatal(codes::LINT_CEPH_WAVES, Some(&step.id), text);
        }
    }
    let restarts = plan.steps.iter().find(|step| matches!(&*step.work, Work::Act(Action::CephRestart(_))));
    if let Some(step) = restarts.filter(|_| !switched.is_empty()) {
        let text = "daemons go to another release while their files change their owner";
        notes.fatal(codes::LINT_CEPH_ORDER, Some(&step.id), text);
    }
    for passage in passages {
        row_goes_last(passage, notes);
    }
}

fn gates(step: &Step, own: &CephOwn, switch: &OwnSwitch, notes: &mut Notes) {
    let mut must = |good: bool, text: &str| {
        if !good {
            notes.fatal(codes::LINT_CEPH_GATES, Some(&step.id), text);
        }
    };
    let seen = step.after.iter().any(|gate| {
        matches!(gate, Gate::CephDaemonsAre { daemons, version } if *version == switch.expect && daemons.contains(&own.daemon))
    });
    must(seen, "nobody sees afterwards that the process runs");
    let may_stop = |stops: &dyn Fn(&[u32], &[String]) -> bool| {
        step.before.iter().any(|gate| {
            matches!(gate, Gate::OsdsMayStop { osds, mons, consents, .. } if *consents == switch.consents && stops(osds, mons))
        })
    };
    match own.daemon.kind {
        CephKind::Osd => {
            let number = own.daemon.osd_number();
            let may = may_stop(&|osds, _| number.is_some_and(|number| osds == [number]));
            must(may, "it stops an OSD without a gate that says that this one may be down");
            let settled = step.after.iter().any(|gate| {
                matches!(gate, Gate::OsdsSettled { osds, version, .. } if *version == switch.expect && number.is_some_and(|number| osds.contains(&number)))
            });
            must(settled, "nobody waits until the placement groups of its OSD are clean again");
        }
        CephKind::Mon => {
            must(
                may_stop(&|_, mons| mons.contains(&own.daemon.id)),
                "it stops a MON without a gate that says that the others keep quorum",
            );
            let back = step
                .after
                .iter()
                .any(|gate| matches!(gate, Gate::MonsInQuorum { mons, .. } if mons.contains(&own.daemon.id)));
            must(back, "nobody waits until its MON is in quorum again");
        }
        CephKind::Mds => {
            let (may, back) = mds_gates(step, &[&own.daemon.id]);
            must(may, MDS_MAY_STOP);
            must(back, MDS_BACK);
        }
        CephKind::Mgr | CephKind::Rgw => {}
    }
}

/// Without the row a daemon whose files are root's would not start.
fn row_goes_last(passage: &Passage<'_>, notes: &mut Notes) {
    let drops = |edit: &FileEdit| {
        edit.path == Path::new("/etc/ceph/ceph.conf")
            && edit.settings.iter().any(|setting| {
                setting.values.is_empty() && setting.key.replace(' ', "_") == "setuser_match_path"
            })
    };
    let row = passage.position(|action| matches!(action, Action::FileEdit(edit) if drops(edit)));
    let last = passage.actions().filter(|(_, _, action)| matches!(action, Action::CephOwn(_))).last();
    if let (Some(row), Some((last, step, _))) = (row, last)
        && row < last
    {
        let text = "`setuser match path` leaves ceph.conf while the files of a daemon of the host are root's";
        notes.fatal(codes::LINT_CEPH_ORDER, Some(&step.id), text);
    }
}
