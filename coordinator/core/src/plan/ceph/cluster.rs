//! What is done to the cluster as a whole, by the host that asks it: flags and settings for the while, and what is required at the end.

use super::builder::{Builder, Draft};
use super::ground::Ground;
use super::host::word;
use crate::catalog::{ConfigHow, GLOBAL, Point, PointRow};
use crate::gate::Gate;
use crate::plan::model::{Need, Stage, Undo, Work};
use crate::plan::text::show_duration;
use replank_ceph::require;
use replank_common::action::{Action, CephConfig, CephFlags, CephRequire};
use replank_common::ceph::{CephFlag, ConfigWay, Requirement};
use replank_common::ids::HostName;

/// What a point of no return requires.
fn requirement(ground: &Ground<'_>, what: Point) -> Requirement {
    match what {
        Point::SortBitwise => Requirement::SortBitwise,
        Point::RequireJewelOsds => Requirement::RequireJewelOsds,
        Point::RequireOsdRelease => {
            Requirement::RequireOsdRelease { release: ground.voyage.part.releases.to.clone() }
        }
        Point::EnableMsgr2 => Requirement::EnableMsgr2,
    }
}

/// Whether the cluster requires it already.
fn is_required(ground: &Ground<'_>, what: &Requirement) -> bool {
    match what {
        Requirement::SortBitwise | Requirement::RequireJewelOsds | Requirement::RequireOsdRelease { .. } => {
            require::is_required(what, &ground.cluster.osds)
        }
        Requirement::EnableMsgr2 => {
            ground.cluster.second_messenger.as_ref().is_some_and(|mons| mons.values().all(|has| *has))
        }
    }
}

/// The points of no return of the hop that are still ahead.
pub(super) fn points_ahead<'a>(ground: &Ground<'a>) -> Vec<&'a PointRow> {
    let rows = ground.voyage.part.point.iter();
    rows.filter(|row| !is_required(ground, &requirement(ground, row.what))).collect()
}

impl Builder<'_, '_> {
    /// A look at the cluster, for a hold that has nothing else to wait for.
    pub(super) fn look_at_cluster(&mut self, via: &HostName) -> Need {
        let title = "see that the cluster says nothing unexpected";
        let mut draft = Draft::new("look-at-cluster", Stage::Keep, title, Work::Observe, Undo::Nothing);
        draft.after = vec![self.health_known()];
        Need::Step(self.push(via, draft))
    }

    /// Flags, settings, and the end of every scrub. The last of these steps.
    pub(super) fn borrow_flags(&mut self, via: &HostName, hold: &Need) -> Need {
        let part = self.ground.voyage.part;
        let flags: Vec<CephFlag> = part.flag.iter().map(|row| row.flag).collect();
        let names: Vec<&str> = flags.iter().map(|flag| flag.as_str()).collect();
        let title = format!("set {} of the OSD map; what is set already stays its owner's", names.join(", "));
        let action = Action::CephFlags(CephFlags { flags });
        self.push(
            via,
            Draft::act("borrow-flags", Stage::Keep, title, action, Undo::Borrowed)
                .needs(std::slice::from_ref(hold)),
        );
        self.set_options(via, false, &[]);
        let title = "see that no scrub runs any more and that the cluster says nothing unexpected";
        let mut draft = Draft::new("wait-for-scrubs", Stage::Keep, title, Work::Observe, Undo::Nothing);
        draft.after = vec![Gate::NoScrub { via: via.clone() }, self.health_known()];
        Need::Step(self.push(via, draft))
    }

    /// What only the new release knows, once its MONs are all there are. The last of these steps, if there are any.
    pub(super) fn borrow_of_new_mons(&mut self, via: &HostName, needs: &[Need]) -> Option<Need> {
        self.set_options(via, true, needs)
    }

    fn set_options(&mut self, via: &HostName, new_mons_only: bool, needs: &[Need]) -> Option<Need> {
        let rows = (1..).zip(&self.ground.voyage.part.config);
        // A host's stages follow one another, and the MONs were the first of this one.
        let stage = if new_mons_only { Stage::Switch } else { Stage::Keep };
        let mut last = None;
        for (number, row) in rows.filter(|(_, row)| row.new_mons_only == new_mons_only) {
            let config = CephConfig {
                section: row.section.clone(),
                name: row.name.clone(),
                value: row.value.clone(),
                way: match row.how {
                    ConfigHow::Central => ConfigWay::Central,
                    ConfigHow::Inject => ConfigWay::Inject,
                },
            };
            let whom = if row.section == GLOBAL { "daemon and client" } else { &row.section };
            let title = format!("set {} to {} for every {whom}: {}", row.name, row.value, row.why);
            let what = format!("set-option-{number}");
            let draft = Draft::act(what, stage, title, Action::CephConfig(config), Undo::Borrowed);
            last = Some(Need::Step(self.push(via, draft.needs(needs))));
        }
        last
    }

    /// Each behind a hold of its own, after every daemon is seen to be new. What the end waits for.
    pub(super) fn require(&mut self, via: &HostName, seen: Vec<Need>) -> Vec<Need> {
        let version = self.ground.voyage.goal.version.clone();
        let mut needs = seen;
        for row in points_ahead(self.ground) {
            let what = requirement(self.ground, row.what);
            let name = word(&what.to_string());
            if needs.is_empty() {
                needs.push(self.look_before(via));
            }
            let rest = match row.rest_ms {
                0 => String::new(),
                rest_ms => {
                    format!(" Let the cluster rest for {} after the last restart.", show_duration(rest_ms))
                }
            };
            let why = format!(
                "every daemon runs {version}.{rest} What follows cannot be taken back: {}",
                row.reason
            );
            let hold = self.hold(
                &format!("before-{name}"),
                format!("let the cluster have {what}"),
                why,
                needs.clone(),
            );
            let undo = Undo::NoWayBack { reason: row.reason.clone(), alternative: row.alternative.clone() };
            let action = Action::CephRequire(CephRequire { what: what.clone() });
            let title = format!("let the cluster have {what}, once every OSD that exists is {version}");
            let mut draft =
                Draft::act(name, Stage::Verify, title, action, undo).needs(std::slice::from_ref(&hold));
            draft.before =
                vec![Gate::EveryOsdIs { version: version.clone(), via: via.clone() }, self.health_known()];
            draft.after = vec![Gate::Required { what, via: via.clone() }];
            self.pass(via, 0, 0);
            let step = self.push(via, draft);
            self.point(step.clone(), &hold, &row.reason, &row.alternative);
            needs = vec![Need::Step(step)];
        }
        needs
    }

    /// A hold must wait for something that was seen.
    fn look_before(&mut self, via: &HostName) -> Need {
        self.pass(via, 0, 0);
        let version = self.ground.voyage.goal.version.clone();
        let title = format!("see that every OSD that exists is {version}");
        let mut draft = Draft::new("look-at-osds", Stage::Verify, title, Work::Observe, Undo::Nothing);
        draft.after = vec![Gate::EveryOsdIs { version, via: via.clone() }];
        Need::Step(self.push(via, draft))
    }
}
