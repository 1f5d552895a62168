//! How the OSDs of a cluster were restarted: wave by wave, and how long each took.

use super::{OsdWave, OsdWaves};
use crate::gate::Gate;
use crate::plan::{Step, Work};
use crate::run::state::{State, StepState};
use replank_common::UnixMs;
use replank_common::action::Action;

/// When a step that restarts OSDs was where.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    begun_ms: Option<UnixMs>,
    acted_ms: Option<UnixMs>,
    done_ms: Option<UnixMs>,
}

impl From<&StepState> for Times {
    fn from(state: &StepState) -> Self {
        Self { begun_ms: state.begun_ms, acted_ms: state.acted_ms, done_ms: state.done_ms }
    }
}

impl State {
    /// `None` where the plan restarts no OSD.
    pub(super) fn osd_waves(&self) -> Option<OsdWaves> {
        let steps =
            (0..self.steps.len()).map(|step| (self.index.step_at(step), Times::from(&self.steps[step])));
        let waves = waves(steps);
        let least = self.index.plan.osd_waves.map(|planned| planned.least);
        (!waves.is_empty()).then_some(OsdWaves { least, waves })
    }
}

/// Steps that restart OSDs which are down together.
struct Together<'a> {
    osds: &'a [u32],
    steps: Vec<(&'a Step, Times)>,
}

/// In the plan's order. Steps are of one wave when the gate before them asks for the same OSDs: those are down together.
fn waves<'a>(steps: impl Iterator<Item = (&'a Step, Times)>) -> Vec<OsdWave> {
    let mut together: Vec<Together<'_>> = Vec::new();
    for (step, times) in steps {
        let Some(osds) = stops(step) else { continue };
        match together.iter_mut().find(|known| known.osds == osds) {
            Some(known) => known.steps.push((step, times)),
            None => together.push(Together { osds, steps: vec![(step, times)] }),
        }
    }
    let mut before_ms = None;
    let mut waves = Vec::new();
    for Together { osds, steps } in together {
        let begun_ms = steps.iter().filter_map(|(_, times)| times.begun_ms).min();
        let running_ms = once_all(&steps, |times| times.acted_ms);
        let clean_ms = once_all(&steps, |times| times.done_ms);
        waves.push(OsdWave {
            hosts: steps.iter().map(|(step, _)| step.host.clone()).collect(),
            osds: osds.len(),
            after_ms: span(before_ms, begun_ms),
            restarted_ms: span(begun_ms, running_ms),
            settled_ms: span(running_ms, clean_ms),
        });
        before_ms = clean_ms;
    }
    waves
}

fn once_all(steps: &[(&Step, Times)], of: fn(&Times) -> Option<UnixMs>) -> Option<UnixMs> {
    let all: Option<Vec<UnixMs>> = steps.iter().map(|(_, times)| of(times)).collect();
    all?.into_iter().max()
}

/// The OSDs that are down together while the step restarts its own.
fn stops(step: &Step) -> Option<&[u32]> {
    match &*step.work {
        Work::Act(Action::CephRestart(_)) => step.before.iter().find_map(|gate| match gate {
            Gate::OsdsMayStop { osds, .. } if !osds.is_empty() => Some(osds.as_slice()),
            _ => None,
        }),
        Work::Act(_) | Work::GiveBack(_) | Work::Observe => None,
    }
}

fn span(from_ms: Option<UnixMs>, to_ms: Option<UnixMs>) -> Option<u64> {
    Some(to_ms?.saturating_sub(from_ms?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Stage, Undo};
    use replank_common::action::CephRestart;
    use replank_common::ceph::CephDaemon;
    use replank_common::ids::{HostName, StepId};
    use replank_common::version::Version;
    use std::sync::Arc;

    fn step(host: &str, own: &[u32], all: &[u32]) -> Step {
        let restart = CephRestart {
            daemons: own.iter().copied().map(CephDaemon::osd).collect(),
            expect: Version::new("16.2.15"),
            beside: Vec::new(),
            consents: Vec::new(),
            stop_ms: 1,
            start_ms: 1,
        };
        let gate = Gate::OsdsMayStop {
            osds: all.to_vec(),
            mons: Vec::new(),
            consents: Vec::new(),
            via: HostName::new("a").unwrap(),
        };
        Step {
            id: StepId::new(format!("{host}.restart-osds")).unwrap(),
            host: HostName::new(host).unwrap(),
            stage: Stage::Switch,
            title: String::new(),
            work: Arc::new(Work::Act(Action::CephRestart(restart))),
            before: vec![gate],
            after: Vec::new(),
            undo: Undo::Nothing,
            needs: Vec::new(),
            expected_ms: 1,
            deadline_ms: 1,
        }
    }

    fn times(begun_ms: u64, acted_ms: u64, done_ms: Option<u64>) -> Times {
        Times { begun_ms: Some(begun_ms), acted_ms: Some(acted_ms), done_ms }
    }

    #[test]
    fn hosts_that_are_down_together_are_one_wave() {
        let steps = [step("a", &[0, 1], &[0, 1]), step("b", &[2], &[2, 3]), step("c", &[3], &[2, 3])];
        let times = [times(100, 160, Some(400)), times(420, 500, Some(900)), times(430, 520, None)];
        let found = waves(steps.iter().zip(times));
        let spans = |wave: &OsdWave| (wave.after_ms, wave.restarted_ms, wave.settled_ms);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].osds, spans(&found[0])), (2, (None, Some(60), Some(240))));
        // One of the two is not clean yet.
        assert_eq!((found[1].osds, spans(&found[1])), (2, (Some(20), Some(100), None)));
        let hosts: Vec<&str> = found[1].hosts.iter().map(|host| host.as_str()).collect();
        assert_eq!(hosts, ["b", "c"]);
    }

    #[test]
    fn a_mon_is_in_no_wave() {
        assert!(waves([(&step("a", &[], &[]), Times::default())].into_iter()).is_empty());
    }
}
