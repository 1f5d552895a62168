//! Makes the report of a state.

use super::{
    Decision, GuestFate, GuestProof, HaltReport, HostReport, REPORT_FORMAT, Report, Sight, StepReport, Tally,
};
use crate::gate::HaltReason;
use crate::run::event::Life;
use crate::run::state::{Course, Fate, HaltNote, State, Track};
use crate::run::view::StepWord;
use replank_common::UnixMs;
use replank_common::census::EndCause;
use replank_common::ids::HostName;
use replank_common::planted::{self, Planted};

impl State {
    /// The report as of the last record. `None` before the run's creation.
    pub fn report(&self) -> Option<Report> {
        let (end, ended_ms) = match &self.course {
            Course::Finished { end, at_ms } => (Some(*end), Some(*at_ms)),
            Course::Forward
            | Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Closing { .. } => (None, None),
        };
        let guests: Vec<GuestProof> = self.proofs().collect();
        Some(Report {
            format: REPORT_FORMAT,
            run: self.run.clone()?,
            plan: self.index.id().clone(),
            fleet: self.index.plan.fleet.clone(),
            by: self.by.clone(),
            created_ms: self.created_ms,
            end,
            ended_ms,
            hosts: (0..self.hosts.len()).map(|host| self.host_report(host)).collect(),
            tally: tally(&guests),
            guests,
            osd_waves: self.osd_waves(),
            halts: self.halts.iter().map(|note| self.halt_report(note)).collect(),
            way_back_closed: self.way_back_closed.clone(),
            way_back_closed_more: self.way_back_closed_more,
        })
    }

    fn host_report(&self, host: usize) -> HostReport {
        let steps = &self.index.host_steps[host];
        let begun_ms = steps.iter().filter_map(|step| self.steps[*step].begun_ms).min();
        let ended_ms = steps
            .iter()
            .flat_map(|step| [self.steps[*step].done_ms, self.steps[*step].undone_ms])
            .flatten()
            .max();
        HostReport {
            name: self.index.host_name(host).clone(),
            wave: self.index.plan.hosts[host].wave,
            took_ms: span(begun_ms, ended_ms),
            counted: self.hosts[host].recounted,
            steps: steps.iter().map(|step| self.step_report(*step)).collect(),
        }
    }

    fn step_report(&self, step: usize) -> StepReport {
        let (plan, state) = (self.index.step_at(step), &self.steps[step]);
        StepReport {
            id: plan.id.clone(),
            title: plan.title.clone(),
            stage: plan.stage,
            state: StepWord::from(state.phase),
            attempts: state.attempts,
            took_ms: span(state.begun_ms, state.done_ms),
            how: state.how,
            changes: state.changes.clone(),
            findings: state.findings.clone(),
            held: state.held.as_ref().map(|held| format!("{}: {}; {}", held.code, held.reason, held.remedy)),
            undo_took_ms: span(state.undo_begun_ms, state.undone_ms),
            undo_changes: state.undo_changes.clone(),
        }
    }

    fn proofs(&self) -> impl Iterator<Item = GuestProof> + '_ {
        self.hosts.iter().enumerate().flat_map(move |(host, state)| {
            let name = self.index.host_name(host);
            let lives = state.watch.iter().flat_map(|watch| watch.guests.values().flatten());
            lives.map(move |track| proof(name, track))
        })
    }

    fn halt_report(&self, note: &HaltNote) -> HaltReport {
        let died_at_ms = match &note.reason {
            HaltReason::GuestLost { host, guest, .. } => self.death_of(host, *guest),
            HaltReason::GuestTwice { .. } | HaltReason::HostRebooted { .. } => None,
        };
        HaltReport {
            reason: note.reason.clone(),
            halted_at_ms: note.halted_ms,
            died_at_ms,
            death_to_halt_ms: span(died_at_ms, Some(note.halted_ms)),
            during: note.during.clone(),
            decided: note.decided.as_ref().map(|(by, what, at_ms)| Decision {
                by: by.clone(),
                what: (*what).to_owned(),
                at_ms: *at_ms,
            }),
        }
    }

    fn death_of(&self, host: &HostName, guest: replank_common::ids::GuestUuid) -> Option<UnixMs> {
        let watch = self.host(host)?.watch.as_ref()?;
        let fates = watch.guests.get(&guest)?.iter().rev().map(|track| &track.fate);
        let mut deaths = fates.filter_map(|fate| match fate {
            Fate::Lost { died_at_ms, .. } => Some(*died_at_ms),
            Fate::Present | Fate::Left { .. } | Fate::Moved { .. } | Fate::Unwatched => None,
        });
        deaths.next().flatten()
    }
}

fn span(from_ms: Option<UnixMs>, to_ms: Option<UnixMs>) -> Option<u64> {
    Some(to_ms?.saturating_sub(from_ms?))
}

fn proof(host: &HostName, track: &Track) -> GuestProof {
    let state = match (&track.fate, &track.last) {
        (Fate::Left { cause: EndCause::Migrated, .. }, _) if planted::is(Planted::MovedIsAlive) => {
            GuestFate::Same
        }
        (Fate::Present, Some(_)) => GuestFate::Same,
        (Fate::Present, None) => GuestFate::Uncounted,
        (Fate::Left { cause, at_ms }, _) => GuestFate::Left { cause: cause.clone(), at_ms: *at_ms },
        (Fate::Moved { to, at_ms }, _) => GuestFate::Moved { to: to.clone(), at_ms: *at_ms },
        (Fate::Lost { known, died_at_ms, recorded_at_ms: _ }, _) => {
            GuestFate::Lost { known: known.clone(), died_at_ms: *died_at_ms }
        }
        (Fate::Unwatched, _) => GuestFate::Unwatched,
    };
    let after = track.last.as_deref().filter(|_| track.fate == Fate::Present);
    GuestProof {
        uuid: track.first.uuid,
        name: track.first.name.clone(),
        host: host.clone(),
        joined: track.appeared,
        before: sight(&track.first),
        after: after.map(sight),
        state,
    }
}

fn sight(life: &Life) -> Sight {
    Sight {
        incarnation: life.incarnation,
        emulator: life.emulator.clone(),
        qemu_version: life.qemu_version.clone(),
    }
}

fn tally(guests: &[GuestProof]) -> Tally {
    let mut tally = Tally::default();
    for guest in guests {
        let count = match guest.state {
            GuestFate::Same => &mut tally.same,
            GuestFate::Uncounted => &mut tally.uncounted,
            GuestFate::Left { .. } => &mut tally.left,
            GuestFate::Moved { .. } => &mut tally.moved,
            GuestFate::Lost { .. } => &mut tally.lost,
            GuestFate::Unwatched => &mut tally.unwatched,
        };
        *count += 1;
    }
    tally
}
