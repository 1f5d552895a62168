//! The shape of [`plans`](crate::plans) with packages and trees in it: what stands for a small file there is fetched, kept and installed here,
//! so that the guard has transactions to judge.

use crate::plans;
use replank_common::action::{Action, PackagePin, PackagesStage, TreeInstall, TreeRetain};
use replank_common::facts::PackageManager;
use replank_common::ids::StepId;
use replank_core::plan::{Need, Work};
use replank_core::run::Index;
use std::sync::Arc;

/// As many steps as [`plans::index`] gives, and in the same order: a trial before anything is changed gives way to the fetching.
pub(crate) fn index(shape: plans::Shape) -> Arc<Index> {
    let mut plan = plans::plan(shape);
    for step in &mut plan.steps {
        let action = match step.id.as_str().rsplit_once('.').map(|(_, what)| what) {
            Some("try-new") => {
                step.title = "fetch the packages of libvirt".to_owned();
                Action::PackagesStage(PackagesStage {
                    manager: PackageManager::Apt,
                    install: Vec::new(),
                    removals: Vec::new(),
                    spare_bytes: 0,
                })
            }
            Some("keep") => Action::TreeRetain(TreeRetain {
                name: "before".to_owned(),
                lazy: vec!["/usr/lib/x86_64-linux-gnu/ceph".into()],
            }),
            Some("install-qemu") => Action::TreeInstall(TreeInstall {
                manager: PackageManager::Apt,
                package: PackagePin { name: "qemu-10".to_owned(), version: "10.0.2".to_owned() },
                prefix: "/opt/qemu/10.0.2".into(),
            }),
            _ => continue,
        };
        step.work = Arc::new(Work::Act(action));
    }
    let renamed = |id: &mut StepId| {
        if let Some(host) = id.as_str().strip_suffix(".try-new") {
            *id = StepId::new(format!("{host}.stage")).expect("a step's id");
        }
    };
    plan.steps.iter_mut().for_each(|step| renamed(&mut step.id));
    let needs = plan.steps.iter_mut().flat_map(|step| &mut step.needs);
    for need in needs.chain(plan.holds.iter_mut().flat_map(|hold| &mut hold.needs)) {
        match need {
            Need::Step(id) => renamed(id),
            Need::Hold(_) => {}
        }
    }
    Arc::new(Index::new(plans::plan_id(), plan).expect("a plan of this shape is sound"))
}
