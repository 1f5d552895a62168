//! Questions to agents, and the gates that hang on their answers.
//!
//! A question has a number that its answer carries. Numbers only grow, so "asked since this gate began" is a comparison of numbers, and no
//! host's clock has a say in it.

use super::Machine;
use super::seen::{
    Answer, Asker, Asking, NOTE_AFTER_MS, NOTE_EVERY_MS, Question, RECHECK_MS, measuring_ms,
    reading_deadline_ms,
};
use crate::gate::{Gate, LinkSeen, Observed, Verdict, WaitReason, Watched, asks, judge};
use crate::run::event::{Event, When};
use replank_common::UnixMs;
use replank_common::ids::HostName;
use replank_common::planted::{self, Planted};
use replank_common::reading::{Reading, ReadingRequest};
use std::collections::BTreeSet;

/// What the gates of one step may look at.
struct Sight<'a> {
    machine: &'a Machine,
    mark: u64,
}

impl Observed for Sight<'_> {
    fn link(&self, host: &HostName) -> LinkSeen {
        match self.machine.state.index.host(host) {
            Some(host) => self.machine.seen[host].link,
            None => LinkSeen::Down { since_ms: None },
        }
    }

    fn reading(&self, host: &HostName, request: &ReadingRequest) -> Option<&Reading> {
        let host = self.machine.state.index.host(host)?;
        let question = self.machine.seen[host].questions.get(request)?;
        let answer = question.answer.as_ref()?;
        let counts = (question.ask >= self.mark && !answer.is_old(self.machine.now_ms))
            || planted::is(Planted::OldAnswerCounts);
        counts.then_some(&answer.reading)
    }

    fn watched(&self, host: &HostName) -> Vec<Watched> {
        let watch = self.machine.state.host(host).and_then(|host| host.watch.as_ref());
        let tracks = watch.into_iter().flat_map(|watch| watch.present());
        tracks
            .map(|track| Watched {
                uuid: track.first.uuid,
                name: track.first.name.clone(),
                incarnation: track.first.incarnation,
            })
            .collect()
    }
}

impl Machine {
    /// Whether every gate passes, on answers to questions asked since this was first tried. While not: the questions are open,
    /// the machine wakes by itself, and the reason is recorded.
    pub(super) fn gates_pass(&mut self, host: usize, step: usize, when: When, gates: &[Gate]) -> bool {
        if when == When::Before && planted::is(Planted::GateBeforeSkipped)
            || when == When::After && planted::is(Planted::GateAfterSkipped)
        {
            return true;
        }
        let mark = self.begin_asking(host, step, when);
        let name = self.state.index.host_name(host).clone();
        let mut verdict = Verdict::Pass;
        let mut oldest_due_ms = None;
        for gate in gates {
            for (of, request) in asks(gate, &name) {
                let Some(of) = self.state.index.host(&of) else { continue };
                self.pose(Asker::Gates(host), of, &request, mark);
                let open = self.seen[of].questions.get(&request).filter(|q| q.answer.is_none());
                let due_ms = open.map(|q| q.asked_ms + measuring_ms(&request));
                oldest_due_ms = oldest_due_ms.into_iter().chain(due_ms).min();
            }
        }
        for gate in gates {
            let one = judge(gate, &name, &Sight { machine: self, mark });
            if one == Verdict::Pass {
                continue;
            }
            for (of, request) in asks(gate, &name) {
                if let Some(of) = self.state.index.host(&of) {
                    self.recheck(Asker::Gates(host), of, &request);
                }
            }
            if verdict == Verdict::Pass {
                verdict = one;
            }
        }
        match verdict {
            Verdict::Pass => {
                self.stop_asking(host);
                let id = self.state.index.step_at(step).id.clone();
                if self.state.steps[step].wait.as_ref().is_some_and(|wait| wait.when == when) {
                    self.record(Event::GatePassed { step: id, when });
                }
                true
            }
            Verdict::Wait(reason) => {
                self.note_wait(host, step, when, reason, oldest_due_ms);
                false
            }
            Verdict::Halt(reason) => {
                self.lost_by_gate(host, &reason);
                false
            }
        }
    }

    fn begin_asking(&mut self, host: usize, step: usize, when: When) -> u64 {
        if let Some(asking) = &self.seen[host].asking
            && asking.step == step
            && asking.when == when
        {
            return asking.mark;
        }
        self.stop_asking(host);
        let mark = self.next_ask;
        self.seen[host].asking =
            Some(Asking { step, when, mark, begun_ms: self.now_ms, noted_ms: None, latest: None });
        self.asking.insert(host);
        mark
    }

    /// Closes the questions that only this host's gates had open.
    pub(super) fn stop_asking(&mut self, host: usize) {
        let Some(asking) = self.seen[host].asking.take() else { return };
        self.asking.remove(&host);
        let index = self.state.index.clone();
        let step = index.step_at(asking.step);
        let back;
        let gates = match asking.when {
            When::Before => &step.before,
            When::After => &step.after,
            When::Undo => {
                back = step.gates_back();
                &back
            }
        };
        for (of, request) in gates.iter().flat_map(|gate| asks(gate, &step.host)) {
            if let Some(of) = index.host(&of) {
                self.withdraw(Asker::Gates(host), of, &request);
            }
        }
    }

    /// Opens a question, or keeps it open; a late or outdated one is asked anew. Wakes the asked host in time for the next look.
    pub(super) fn pose(&mut self, asker: Asker, of: usize, request: &ReadingRequest, mark: u64) {
        let now_ms = self.now_ms;
        let anew = match self.seen[of].questions.get_mut(request) {
            None => true,
            Some(question) => {
                question.askers.insert(asker);
                // What counts although it is old is not asked again either.
                (question.ask < mark && !planted::is(Planted::OldAnswerCounts))
                    || match &question.answer {
                        Some(answer) => answer.is_old(now_ms) && !planted::is(Planted::OldAnswerCounts),
                        None => now_ms.saturating_sub(question.asked_ms) >= reading_deadline_ms(request),
                    }
            }
        };
        if anew {
            self.ask_anew(asker, of, request);
        }
        let Some(question) = self.seen[of].questions.get(request) else { return };
        if question.answer.is_none() {
            let again_ms = question.asked_ms + reading_deadline_ms(request);
            let note_ms = question.asked_ms + measuring_ms(request) + NOTE_AFTER_MS;
            let next_ms = if note_ms > now_ms { note_ms } else { again_ms };
            self.wake_asker(asker, of, next_ms);
        }
    }

    fn ask_anew(&mut self, asker: Asker, of: usize, request: &ReadingRequest) {
        let ask = self.next_ask;
        self.next_ask += 1;
        let asked_ms = self.now_ms;
        let question = self.seen[of].questions.entry(request.clone()).or_insert_with(|| Question {
            ask,
            asked_ms,
            answer: None,
            askers: BTreeSet::new(),
        });
        (question.ask, question.asked_ms, question.answer) = (ask, asked_ms, None);
        question.askers.insert(asker);
        self.asked.insert(of);
        self.touched.insert(of);
    }

    fn wake_asker(&mut self, asker: Asker, of: usize, at_ms: UnixMs) {
        match asker {
            Asker::Gates(host) | Asker::Count(host) | Asker::Watch(host) => self.wake_at(host, at_ms),
            Asker::Twice(_) => self.wake_at(of, at_ms),
        }
    }

    /// An answer that did not pass is asked for again, [`RECHECK_MS`] after it came.
    pub(super) fn recheck(&mut self, asker: Asker, of: usize, request: &ReadingRequest) {
        let answered = self.seen[of].questions.get(request).and_then(|q| q.answer.as_ref());
        let Some(received_ms) = answered.map(|answer| answer.received_ms) else { return };
        if self.now_ms >= received_ms + RECHECK_MS {
            self.ask_anew(asker, of, request);
            self.wake_asker(asker, of, self.now_ms + NOTE_AFTER_MS);
        } else {
            self.wake_asker(asker, of, received_ms + RECHECK_MS);
        }
    }

    pub(super) fn withdraw(&mut self, asker: Asker, of: usize, request: &ReadingRequest) {
        let Some(question) = self.seen[of].questions.get_mut(request) else { return };
        question.askers.remove(&asker);
        if question.askers.is_empty() {
            self.seen[of].questions.remove(request);
        }
        if self.seen[of].questions.is_empty() {
            self.asked.remove(&of);
        }
        self.touched.insert(of);
    }

    /// Takes an answer in; the ones who asked look again.
    pub(super) fn answer(&mut self, of: usize, ask: u64, reading: Reading) {
        let received_ms = self.now_ms;
        let Some(question) = self.seen[of].questions.get_mut(&reading.request) else { return };
        let other = question.ask != ask && !planted::is(Planted::AnyAnswerAnswers);
        if other || question.answer.is_some() {
            return;
        }
        let took_ms = received_ms.saturating_sub(question.asked_ms);
        question.answer = Some(Answer { reading, received_ms, took_ms });
        self.touched.insert(of);
        self.wake_askers(of);
    }

    /// Everybody who has a question open at the host looks again.
    pub(super) fn wake_askers(&mut self, of: usize) {
        for question in self.seen[of].questions.values() {
            for asker in &question.askers {
                match asker {
                    Asker::Gates(host) | Asker::Count(host) | Asker::Watch(host) => {
                        self.dirty.insert(*host);
                    }
                    Asker::Twice(_) => {}
                }
            }
        }
    }

    /// The newest reason is kept for the view; a record is written when the cause changes, and not too often.
    fn note_wait(
        &mut self,
        host: usize,
        step: usize,
        when: When,
        reason: WaitReason,
        oldest_due_ms: Option<UnixMs>,
    ) {
        let now_ms = self.now_ms;
        let recorded = self.state.steps[step].wait.as_ref().filter(|wait| wait.when == when);
        let same = recorded.is_some_and(|wait| wait.reason.same_cause(&reason));
        let Some(asking) = &mut self.seen[host].asking else { return };
        let unanswered = matches!(reason, WaitReason::NoReadingYet { .. });
        let measuring = oldest_due_ms.is_some_and(|due_ms| now_ms < due_ms);
        if unanswered && (measuring || now_ms.saturating_sub(asking.begun_ms) < NOTE_AFTER_MS) {
            return;
        }
        // Being asked again, the older reason still says more; unless the answer stays away.
        let waited_ms = oldest_due_ms.map_or(0, |due_ms| now_ms.saturating_sub(due_ms));
        if unanswered
            && waited_ms < NOTE_AFTER_MS
            && asking.latest.as_ref().is_some_and(|latest| !latest.same_cause(&reason))
        {
            return;
        }
        asking.latest = Some(reason.clone());
        let too_soon = asking.noted_ms.is_some_and(|noted| now_ms.saturating_sub(noted) < NOTE_EVERY_MS);
        if same || too_soon {
            return;
        }
        asking.noted_ms = Some(now_ms);
        let id = self.state.index.step_at(step).id.clone();
        self.record(Event::GateWaits { step: id, when, reason });
    }
}
