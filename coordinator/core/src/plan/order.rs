//! What ties the hosts of a plan together, as needs between steps: who prepares when, who is changed when, and where an
//! operator is asked.
//!
//! - Staging lanes: host i of the fleet begins to prepare when host i - `staging_parallel` has prepared.
//! - A blocker anywhere is found before anything is changed anywhere: the first change of the first wave needs every host's
//!   last Prepare step.
//! - Wave 0 is the canary. Its first change waits for the hold `before-canary` if a point of no return lies ahead (P8).
//! - The rest waits for the hold `after-canary`.
//! - Lanes: within a wave, host i begins when host i - `parallel_hosts` has given everything back.

use super::host::HostSteps;
use super::model::{Hold, Need, PlannedHost, PlannedPace, PointOfNoReturn, Stage, Step, Way};
use super::target::Target;
use replank_common::ids::{HoldId, HostName, StepId};
use replank_common::planted::{self, Planted};

pub(super) const BEFORE_CANARY: &str = "before-canary";
pub(super) const AFTER_CANARY: &str = "after-canary";

/// A host that takes part.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) name: HostName,
    pub(super) way: Way,
    pub(super) guests: u32,
    pub(super) canary: bool,
    /// `None`: done already.
    pub(super) steps: Option<HostSteps>,
}

#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) hosts: Vec<PlannedHost>,
    pub(super) holds: Vec<Hold>,
    pub(super) points_of_no_return: Vec<PointOfNoReturn>,
    pub(super) steps: Vec<Step>,
}

fn hold_id(text: &str) -> HoldId {
    HoldId::new(text).expect("lower-case letters and hyphens make a hold id")
}

/// `passages` in the fleet file's order.
pub(super) fn order(passages: Vec<Passage>, target: &Target<'_>, pace: PlannedPace) -> Ordered {
    let (mut canaries, mut rest): (Vec<_>, Vec<_>) = passages.into_iter().partition(|passage| passage.canary);
    stage_in_lanes(&mut canaries, &mut rest, pace.staging_parallel);
    let prepared: Vec<Need> = canaries.iter().chain(&rest).filter_map(last_prepare).collect();

    let mut holds = Vec::new();
    let mut points_of_no_return = Vec::new();
    let no_way_back = !target.libvirt.back.old_reads_new;

    if canaries.iter().any(|passage| passage.steps.is_some()) {
        let entry = if no_way_back && !planted::is(Planted::HoldUnplanned) {
            let hold = before_canary(prepared.clone(), &canaries);
            points_of_no_return.extend(points(&canaries, &hold.id, target));
            let entry = vec![Need::Hold(hold.id.clone())];
            holds.push(hold);
            entry
        } else {
            prepared.clone()
        };
        enter(&mut canaries, &entry, pace.parallel_hosts);
    }
    if rest.iter().any(|passage| passage.steps.is_some()) {
        let canary_done: Vec<Need> = canaries.iter().filter_map(last_step).collect();
        let needs = if canary_done.is_empty() { prepared } else { canary_done };
        let hold = after_canary(needs, &canaries, &rest);
        if no_way_back {
            points_of_no_return.extend(points(&rest, &hold.id, target));
        }
        enter(&mut rest, &[Need::Hold(hold.id.clone())], pace.parallel_hosts);
        holds.push(hold);
    }

    let hosts = planned(&canaries, 0, pace.parallel_hosts)
        .into_iter()
        .chain(planned(&rest, 1, pace.parallel_hosts))
        .collect();
    Ordered { hosts, holds, points_of_no_return, steps: in_order(canaries, rest) }
}

fn own_steps(passage: &Passage) -> &[Step] {
    passage.steps.as_ref().map_or(&[], |host| host.steps.as_slice())
}

fn last_prepare(passage: &Passage) -> Option<Need> {
    let step = own_steps(passage).iter().rfind(|step| step.stage == Stage::Prepare)?;
    Some(Need::Step(step.id.clone()))
}

fn last_step(passage: &Passage) -> Option<Need> {
    own_steps(passage).last().map(|step| Need::Step(step.id.clone()))
}

fn working(passages: &mut [Passage]) -> impl Iterator<Item = &mut HostSteps> {
    passages.iter_mut().filter_map(|passage| passage.steps.as_mut())
}

fn stage_in_lanes(canaries: &mut [Passage], rest: &mut [Passage], lanes: u32) {
    let ends: Vec<Need> = canaries.iter().chain(rest.iter()).filter_map(last_prepare).collect();
    for (index, host) in working(canaries).chain(working(rest)).enumerate() {
        let before = index.checked_sub(lanes as usize).and_then(|before| ends.get(before));
        if let (Some(first), Some(before)) = (host.steps.first_mut(), before) {
            first.needs.push(before.clone());
        }
    }
}

/// Lets the hosts of a wave begin to change: after `entry`, and each after the one before it in its lane.
fn enter(wave: &mut [Passage], entry: &[Need], lanes: u32) {
    let ends: Vec<Need> = wave.iter().filter_map(last_step).collect();
    for (index, host) in working(wave).enumerate() {
        let before = index.checked_sub(lanes as usize).and_then(|before| ends.get(before));
        let first_change = host.steps.iter_mut().find(|step| step.stage > Stage::Prepare);
        if let Some(step) = first_change {
            step.needs.extend(entry.iter().cloned());
            step.needs.extend(before.cloned());
        }
    }
}

fn planned(wave: &[Passage], number: u32, lanes: u32) -> Vec<PlannedHost> {
    let mut working = 0;
    let mut hosts = Vec::new();
    for passage in wave {
        let already_done = passage.steps.is_none();
        let lane = if already_done { 0 } else { working % lanes };
        working += u32::from(!already_done);
        hosts.push(PlannedHost {
            name: passage.name.clone(),
            way: passage.way,
            wave: number,
            lane,
            guests: passage.guests,
            already_done,
        });
    }
    hosts
}

fn points(wave: &[Passage], hold: &HoldId, target: &Target<'_>) -> Vec<PointOfNoReturn> {
    let restarts = wave.iter().filter_map(|passage| passage.steps.as_ref());
    let back = &target.libvirt.back;
    let point = |step: StepId| PointOfNoReturn {
        step,
        hold: hold.clone(),
        reason: back.reason.clone(),
        alternative: back.alternative.clone(),
    };
    restarts.map(|host| point(host.restart.clone())).collect()
}

fn names(passages: &[Passage]) -> String {
    let names: Vec<&str> = passages
        .iter()
        .filter(|passage| passage.steps.is_some())
        .map(|passage| passage.name.as_str())
        .collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        [first, .., last] if names.len() > 4 => format!("{first} … {last} ({} hosts)", names.len()),
        _ => names.join(", "),
    }
}

fn before_canary(needs: Vec<Need>, canaries: &[Passage]) -> Hold {
    Hold {
        id: hold_id(BEFORE_CANARY),
        title: format!("change the canary: {}", names(canaries)),
        why: "every host has fetched its packages and tried the new libvirt on copies of its status files, and nothing has \
              been changed yet. The restart of libvirtd that follows is a point of no return: read below what is lost by it"
            .to_owned(),
        needs,
    }
}

fn after_canary(needs: Vec<Need>, canaries: &[Passage], rest: &[Passage]) -> Hold {
    let why = if canaries.iter().any(|passage| passage.steps.is_some()) {
        "the canary is through: look at its guests, at the logs of its libvirtd, and start a guest on it. The rest follows \
         without another question, and each restart of libvirtd is a point of no return of its host"
    } else {
        "the canary was done before this plan: see that it is still well. Each restart of libvirtd that follows is a point of \
         no return of its host"
    };
    Hold {
        id: hold_id(AFTER_CANARY),
        title: format!("go on with the rest: {}", names(rest)),
        why: why.to_owned(),
        needs,
    }
}

/// Prepare steps of all, then the canaries' changes, then those of the rest: each after all that it needs.
fn in_order(canaries: Vec<Passage>, rest: Vec<Passage>) -> Vec<Step> {
    let all = canaries.into_iter().chain(rest).filter_map(|passage| passage.steps);
    let (mut prepare, mut change) = (Vec::new(), Vec::new());
    for step in all.flat_map(|host| host.steps) {
        if step.stage == Stage::Prepare { prepare.push(step) } else { change.push(step) }
    }
    prepare.append(&mut change);
    prepare
}
