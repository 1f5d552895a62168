//! A voyage from its first message to its end, and what is told of it.

use crate::ceph::{Afloat, Cluster, Layout};
use crate::fault::Fault;
use crate::fetched;
use crate::fleet::{Fleet, Manner, START_MS};
use crate::plans::harbour::{self, Pace};
use crate::plans::{self, Shape};
use crate::profile::Profile;
use crate::promise::{Broken, Judge, Promise};
use crate::told::{Told, What};
use crate::trace::{LAST, Trace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_common::ids::GuestUuid;
use replank_core::plan::estimate;
use replank_core::run::report::{GuestFate, Tally};
use replank_core::run::{End, Index, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Moments of the first phase, and how long each lasts.
const MOMENTS: u64 = 200;
const MOMENT_MS: u64 = 1_500;
/// From this moment on, operators may give up.
const LATE: u64 = 60;
/// The quiet phase lasts this long at most, per host and in all.
const QUIET_MS: u64 = 3_600_000;
const STILL_MS: u64 = 1_800_000;
const QUIET_PER_HOST_MS: u64 = 600_000;

/// How a voyage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Finished,
    Aborted,
    RolledBack,
    /// It cannot go on, and says why.
    Held {
        reason: String,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Aborted => f.write_str("aborted"),
            Self::RolledBack => f.write_str("rolled back"),
            Self::Held { reason } => write!(f, "held: {reason}"),
        }
    }
}

/// What is told of one voyage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voyage {
    pub seed: u64,
    pub profile: String,
    pub hosts: usize,
    /// When it began.
    pub guests: usize,
    pub ended: Ended,
    /// Messages, timers, deaths and the like.
    pub events: u64,
    /// Records of the journal.
    pub records: usize,
    pub simulated_ms: u64,
    /// When the run came to its last end.
    pub ended_after_ms: Option<u64>,
    pub injected: BTreeMap<Fault, u64>,
    /// How often each promise was really checked.
    pub checked: BTreeMap<Promise, u64>,
    pub broken: Option<Broken>,
    /// The last events, or all of a [`replay`], one line each.
    pub trace: Vec<String>,
    /// SHA-256 of the journal's lines.
    pub journal: String,
    /// Of [`sail_as_planned`], when it was asked for.
    pub told: Vec<Told>,
    /// Of [`sail_as_planned`]: what became of the guests.
    pub tally: Option<Tally>,
    /// Of a fleet that is a cluster.
    pub cluster: Option<Afloat>,
}

/// A voyage of which the seed decides everything: the fleet, the plan's shape, the profile and the operator's temper.
pub fn storm(seed: u64) -> Voyage {
    storm_told(seed, LAST)
}

/// The voyage of [`storm`] once more, with every event in its trace.
pub fn replay(seed: u64) -> Voyage {
    storm_told(seed, usize::MAX)
}

fn storm_told(seed: u64, kept: usize) -> Voyage {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x7e11_0a7d);
    let hosts = rng.random_range(1..=6);
    let shape = Shape {
        hosts,
        canaries: 1 + usize::from(hosts > 3),
        parallel: rng.random_range(1..=3),
        gives_back: rng.random_range(0..4) > 0,
        one_way: rng.random_range(0..11) == 0,
    };
    let guests = rng.random_range(0..=3);
    let mut profile = if rng.random_range(0..4) == 0 { Profile::rough() } else { Profile::storm() };
    // Half of the operators are patient to the end.
    if rng.random_range(0..2) == 0 {
        profile = profile.with(Fault::OperatorAborts, 0).with(Fault::OperatorRollsBack, 0);
    }
    let manner = Manner::Quickly { guests_per_host: guests };
    if is_of_a_cluster(seed) {
        let layout = Layout::drawn(&mut rng);
        if is_planned(seed) {
            return match harbour::planned_index(layout, Pace::drawn(&mut rng)) {
                // The inventory has no guests on these hosts.
                Ok((index, layout)) => {
                    let manner = Manner::Quickly { guests_per_host: 0 };
                    told((index, Some(layout)), manner, &profile, seed, (kept, false))
                }
                Err(why) => unplanned(seed, &profile, &why),
            };
        }
        return told((plans::cluster_index(&layout), Some(layout)), manner, &profile, seed, (kept, false));
    }
    told((fetched::index(shape), None), manner, &profile, seed, (kept, false))
}

/// One fleet in four is a cluster. Seeds of other fleets that are known by what they found are none of these.
fn is_of_a_cluster(seed: u64) -> bool {
    matches!(seed % 8, 0 | 5)
}

/// Half of the clusters sail the plan that the planner makes from their inventory, the others one of the same shape that is made by hand.
fn is_planned(seed: u64) -> bool {
    matches!(seed % 16, 8 | 13)
}

/// A cluster as good as a cluster can be, and the planner or its second reader finds something.
fn unplanned(seed: u64, profile: &Profile, why: &str) -> Voyage {
    let mut judge = Judge::default();
    judge.check(Promise::Sound, false, || format!("there is no plan for a healthy cluster: {why}"));
    Voyage {
        seed,
        profile: profile.name.clone(),
        hosts: 0,
        guests: 0,
        ended: Ended::Held { reason: why.to_owned() },
        events: 0,
        records: 0,
        simulated_ms: 0,
        ended_after_ms: None,
        injected: BTreeMap::new(),
        checked: judge.checked,
        broken: judge.broken,
        trace: Vec::new(),
        journal: String::new(),
        told: Vec::new(),
        tally: None,
        cluster: None,
    }
}

/// A large fleet: twenty canaries at most, lanes in proportion.
pub fn scale(hosts: usize, guests_per_host: u32, profile: &Profile, seed: u64) -> Voyage {
    let (canaries, parallel) = ((hosts / 100).clamp(1, 20), (hosts / 20).max(2));
    let shape = Shape { hosts, canaries, parallel, gives_back: true, one_way: false };
    sail(fetched::index(shape), guests_per_host, profile, seed)
}

/// A voyage of a given plan, with so many guests on each host and actions that take seconds.
pub fn sail(index: Arc<Index>, guests_per_host: u32, profile: &Profile, seed: u64) -> Voyage {
    told((index, None), Manner::Quickly { guests_per_host }, profile, seed, (LAST, false))
}

/// A voyage of a real plan: with the guests that it counted, at about the times that it expects. `telling`: what happens on the way is kept.
/// `layout`: of the plan's cluster, if it is of one.
pub fn sail_as_planned(
    index: Arc<Index>,
    layout: Option<Layout>,
    profile: &Profile,
    seed: u64,
    telling: bool,
) -> Voyage {
    told((index, layout), Manner::AsPlanned, profile, seed, (LAST, telling))
}

fn told(
    (index, layout): (Arc<Index>, Option<Layout>),
    manner: Manner,
    profile: &Profile,
    seed: u64,
    (kept, telling): (usize, bool),
) -> Voyage {
    let mut fleet = Fleet::new(index, manner, profile.clone(), seed);
    if let Some(layout) = layout {
        fleet = fleet.with_cluster(layout, seed);
    }
    fleet.trace = Trace::of_last(kept);
    fleet.told = telling.then(Vec::new);
    let guests = fleet.hosts.iter().map(|host| host.guests.len()).sum();
    let ended = catch_unwind(AssertUnwindSafe(|| through(&mut fleet, manner)));
    let ended = ended.unwrap_or_else(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("without a text");
        let text = format!("panicked: {said}");
        fleet.judge.check(Promise::Sound, false, || text.clone());
        Ended::Held { reason: text }
    });
    Voyage {
        seed,
        profile: profile.name.clone(),
        hosts: fleet.hosts.len(),
        guests,
        ended,
        events: fleet.events,
        records: fleet.journal.len(),
        simulated_ms: fleet.elapsed(),
        injected: fleet.injected.clone(),
        checked: fleet.judge.checked.clone(),
        broken: fleet.judge.broken.clone(),
        trace: fleet.trace.text(),
        journal: fleet.digest(),
        ended_after_ms: fleet.watcher.end.and(fleet.watcher.ends.last().map(|at| at - START_MS)),
        tally: (manner == Manner::AsPlanned).then(|| tally(&fleet)).flatten(),
        cluster: fleet.ceph.as_ref().map(Cluster::afloat),
        told: fleet.told.unwrap_or_default(),
    }
}

fn tally(fleet: &Fleet) -> Option<Tally> {
    let machine = Machine::replay(fleet.index.clone(), &fleet.journal).ok()?;
    machine.state().report().map(|report| report.tally)
}

fn through(fleet: &mut Fleet, manner: Manner) -> Ended {
    fleet.begin();
    // A large fleet is under way longer.
    let hosts = fleet.hosts.len() as u64;
    let mut moment_ms = MOMENT_MS + hosts.saturating_sub(10).min(1_000) * 10;
    let expected_ms = match manner {
        Manner::Quickly { .. } => 0,
        Manner::AsPlanned => estimate(fleet.index.plan()).total_ms,
    };
    // Troubles are to be there to the end of it.
    moment_ms = moment_ms.max(expected_ms * 3 / 2 / MOMENTS);
    let troubles = 1 + hosts / 50;
    for moment in 0..MOMENTS {
        fleet.pass(moment_ms);
        if fleet.judge.broken.is_some() {
            return broken(fleet);
        }
        if fleet.profile.name != "calm" {
            for trouble in 0..troubles {
                fleet.moment(moment > LATE, trouble == 0);
                fleet.moment_aside();
            }
            for _ in 0..troubles {
                let host = usize::try_from(fleet.below(hosts)).unwrap_or(0);
                if fleet.below(3) == 0 {
                    fleet.mend(host);
                }
            }
        }
        if fleet.below(2) == 0 || moment_ms > 3 * MOMENT_MS {
            fleet.decide_what_waits();
        }
        if fleet.is_finished() && fleet.profile.chance(Fault::OperatorRollsBack) == 0 {
            break;
        }
    }
    quiet(fleet, expected_ms)
}

/// Nothing new goes wrong: the run must come to an end, or say what stands in the way.
fn quiet(fleet: &mut Fleet, expected_ms: u64) -> Ended {
    fleet.quiet = true;
    fleet.say("world", "is quiet from here on");
    fleet.tell(None, || What::Quiet);
    fleet.store_full_until = 0;
    if let Some(cluster) = fleet.cluster() {
        cluster.is_cared_for();
    }
    for host in 0..fleet.hosts.len() {
        let at = &mut fleet.hosts[host];
        (at.deaf_until, at.mute_until, at.disk_full_until) = (0, 0, 0);
        at.things.way_back_closed = false;
        fleet.mend(host);
    }
    let per_host_ms = QUIET_PER_HOST_MS.saturating_mul(fleet.hosts.len().min(20) as u64);
    let limit = fleet.now + QUIET_MS + per_host_ms + 4 * expected_ms;
    if fleet.profile.chance(Fault::GuestTwice) > 0 && fleet.below(4) == 0 {
        twice_in_quiet(fleet);
    }
    // Power that is to return does so before the run may be said to be held.
    fleet.pass(1_000);
    let mut looks: u64 = 0;
    let mut moved = (fleet.now, fleet.journal.len());
    while fleet.now < limit && !fleet.is_finished() && fleet.judge.broken.is_none() {
        fleet.pass(1_000);
        if looks.is_multiple_of(60) {
            (0..fleet.hosts.len()).for_each(|host| fleet.clear_the_way(host));
            fleet.look_for_held();
            fleet.look_after_the_cluster();
            // A disk that is gone holds a cluster for ever: half an hour without a word is as good as all the time.
            if moved.1 != fleet.journal.len() {
                moved = (fleet.now, fleet.journal.len());
            } else if fleet.now - moved.0 > STILL_MS
                && fleet.cluster().is_some_and(|cluster| !cluster.beyond_mending().is_empty())
            {
                break;
            }
        }
        looks += 1;
        fleet.decide_what_waits();
    }
    fleet.look_after_the_cluster();
    if fleet.judge.broken.is_some() {
        return broken(fleet);
    }
    fleet.everybody_loads();
    fleet.fold_of_the_leader();
    match fleet.watcher.end.filter(|_| fleet.leads.is_some()) {
        Some(end) => {
            fleet.check_given_back(end == End::RolledBack { to: None });
            if let Some(cluster) = &fleet.ceph {
                cluster.check_given_back(&mut fleet.judge);
            }
            check_told(fleet);
            match end {
                End::Completed => Ended::Finished,
                End::Aborted => Ended::Aborted,
                End::RolledBack { .. } => Ended::RolledBack,
            }
        }
        None => held(fleet),
    }
}

/// P2: with nothing else going wrong, a guest that runs on two hosts halts the fleet within a minute.
fn twice_in_quiet(fleet: &mut Fleet) {
    fleet.pass(30_000);
    let heard = |host: usize| fleet.hears(host) && fleet.now - fleet.hosts[host].linked_since > 5_000;
    let counted = |host: usize| {
        let state = fleet.machine().and_then(|machine| machine.state().host(&fleet.hosts[host].name));
        state.is_some_and(|state| !state.baseline_due)
    };
    let both = fleet.hosts.len() > 1 && [0, 1].into_iter().all(|host| heard(host) && counted(host));
    let possible = both && !fleet.is_finished() && !fleet.watcher.halted;
    if possible && fleet.migrate(0, 90_000) {
        fleet.injected(Fault::GuestTwice);
        fleet.pass(60_000);
        let told = fleet.watcher.halted || fleet.is_finished();
        fleet.judge.check(Promise::P2, told, || {
            "a guest ran on two hosts for a minute, and nobody halts".to_owned()
        });
    }
}

/// Only a host or a disk that never comes back may hold a quiet fleet, and the reason names it, or a group that misses it.
fn held(fleet: &mut Fleet) -> Ended {
    let reason = fleet.view().map_or_else(|| "nobody leads".to_owned(), |view| view.why());
    let mut dead: Vec<String> =
        fleet.hosts.iter().filter(|host| !host.powered).map(|host| host.name.to_string()).collect();
    if let Some(cluster) = fleet.cluster() {
        dead.extend(cluster.beyond_mending());
    }
    let named = dead.iter().any(|what| reason.contains(what.as_str()));
    fleet.judge.check(Promise::Quiet, named, || format!("did not come to an end: {reason}"));
    Ended::Held { reason }
}

fn broken(fleet: &Fleet) -> Ended {
    let reason = fleet.judge.broken.as_ref().map_or_else(String::new, |broken| broken.text.clone());
    Ended::Held { reason }
}

/// P1: each watched guest that died is told lost.
fn check_told(fleet: &mut Fleet) {
    let folded = Machine::replay(fleet.index.clone(), &fleet.journal);
    let Some(report) = folded.ok().and_then(|machine| machine.state().report()) else {
        fleet.judge.check(Promise::Sound, false, || "there is no report".to_owned());
        return;
    };
    let is_lost = |fate: &GuestFate| matches!(fate, GuestFate::Lost { .. });
    let lost: BTreeSet<GuestUuid> =
        report.guests.iter().filter(|guest| is_lost(&guest.state)).map(|guest| guest.uuid).collect();
    for guest in report.guests.iter().filter(|guest| guest.state == GuestFate::Same) {
        let left = fleet.watcher.left.contains(&(guest.uuid, guest.before.incarnation));
        fleet.judge.check(Promise::P1, !left, || {
            format!("{} left {} and is told to be the same there", guest.uuid, guest.host)
        });
    }
    let deaths = std::mem::take(&mut fleet.deaths);
    for death in &deaths {
        // A death right before the end may come too late for it: the watch is as old as it may be, and an
        // answer's way. An aborted run does not wait for ever for a host that it cannot hear.
        let ends = &fleet.watcher.ends;
        let too_late = ends.iter().any(|end| *end >= death.at_ms && *end < death.at_ms + 60_000);
        let unheard =
            fleet.unheard.iter().any(|(end, hosts)| *end >= death.at_ms && hosts.contains(&death.host));
        let told = lost.contains(&death.guest) || too_late || unheard;
        let host = &fleet.hosts[death.host].name;
        fleet
            .judge
            .check(Promise::P1, told, || format!("{} died on {host} and is not told lost", death.guest));
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Voyage, replay, scale, storm};
    use crate::profile::Profile;

    fn text(voyage: &Voyage) -> String {
        format!("seed {}: {:?}\n{}", voyage.seed, voyage.broken, voyage.trace.join("\n"))
    }

    /// Each of these broke a promise before what `docs/simulation.md` tells of was mended.
    #[test]
    fn what_was_found_stays_mended() {
        for seed in [7, 14, 59, 70, 78, 143, 291, 316, 342, 352, 587, 907, 2366, 9147, 11232, 18041] {
            let voyage = storm(seed);
            assert_eq!(voyage.broken, None, "{}", text(&voyage));
        }
    }

    #[test]
    fn the_same_seed_is_the_same_voyage() {
        for seed in [3, 17] {
            assert_eq!(storm(seed), storm(seed));
        }
        assert_ne!(storm(3).journal, storm(4).journal);
    }

    #[test]
    fn a_replay_tells_all_of_the_same_voyage() {
        let (voyage, all) = (storm(779), replay(779));
        assert_eq!(voyage.journal, all.journal);
        assert!(all.trace.len() > voyage.trace.len() && all.trace.ends_with(&voyage.trace));
    }

    #[test]
    fn a_calm_voyage_of_a_large_fleet_finishes() {
        let voyage = scale(300, 3, &Profile::calm(), 1);
        assert_eq!((&voyage.broken, &voyage.ended), (&None, &Ended::Finished), "{}", text(&voyage));
    }
}
