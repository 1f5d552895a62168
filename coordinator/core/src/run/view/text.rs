//! The view in plain lines.

use super::{HostView, RunView, StepWord, WaitView};
use crate::codes;
use crate::gate::{duration, utc};
use crate::run::text::table;
use std::fmt::Write as _;

impl RunView {
    /// The whole view: where, how long still, each host, each hold, each wait.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}  {}  {}", self.run, self.fleet, self.phase);
        let _ = writeln!(text, "plan {}, begun by {} at {}", self.plan, self.by, utc(self.created_ms));
        let _ = write!(
            text,
            "{} of {} steps done, {} of {} hosts done",
            self.steps_done,
            self.steps_total,
            self.hosts_done,
            self.hosts.len()
        );
        match self.time_left_ms {
            Some(left_ms) => {
                let _ = writeln!(text, ", about {} left", duration(left_ms));
            }
            None => text.push('\n'),
        }
        text.push('\n');
        text.push_str(&self.host_table());
        if !self.holds.is_empty() {
            text.push('\n');
            text.push_str(&self.hold_table());
        }
        if !self.borrowed.is_empty() {
            text.push('\n');
        }
        for loan in &self.borrowed {
            let _ = writeln!(
                text,
                "borrowed since {}: {}; expected back at {}, a warning from {} on",
                utc(loan.since_ms),
                loan.what,
                utc(loan.expected_ms),
                utc(loan.told_ms)
            );
        }
        text.push('\n');
        text.push_str(&self.why());
        text
    }

    /// What exactly the run waits for.
    pub fn why(&self) -> String {
        let mut text = String::new();
        for closed in &self.way_back_closed {
            let _ = writeln!(
                text,
                "{} the last rollback was refused by {} on {}: {}",
                codes::ROLLBACK_REFUSED,
                closed.step,
                closed.host,
                closed.refusal
            );
        }
        if self.way_back_closed_more > 0 {
            let _ = writeln!(
                text,
                "and by {} more; `replank watch` shows the answer of each",
                self.way_back_closed_more
            );
        }
        if self.phase.is_end() {
            let _ = writeln!(text, "{}; nothing waits", self.phase);
            return text;
        }
        if self.waits.is_empty() {
            text.push_str("nothing waits");
            let busy: Vec<String> = self.hosts.iter().filter_map(busy).collect();
            if busy.is_empty() {
                text.push('\n');
            } else {
                let _ = writeln!(text, "; in flight: {}", busy.join(", "));
            }
        }
        for wait in &self.waits {
            self.write_wait(&mut text, wait);
        }
        text
    }

    fn write_wait(&self, text: &mut String, wait: &WaitView) {
        let _ = write!(text, "{} {}", wait.code, wait.text);
        if let Some(since_ms) = wait.since_ms {
            let waited_ms = self.now_ms.saturating_sub(since_ms);
            let _ = write!(text, " (since {}, for {})", utc(since_ms), duration(waited_ms));
        }
        if wait.overdue {
            let than =
                if wait.code == codes::RUN_BORROWED_LONG { "the plan says" } else { "the step's deadline" };
            let _ = write!(text, " OVERDUE: longer than {than}");
        }
        let _ = writeln!(text, "\n    do: {}", wait.remedy);
    }

    fn host_table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .hosts
            .iter()
            .map(|host| {
                vec![
                    host.name.to_string(),
                    host.wave.to_string(),
                    if host.linked { "up" } else { "down" }.to_owned(),
                    host.guests.to_string(),
                    format!("{}/{}", host.steps_done, host.steps_total),
                    host.step.as_ref().map_or("-", |step| step.stage.as_str()).to_owned(),
                    self.step_text(host),
                ]
            })
            .collect();
        table(&["host", "wave", "link", "guests", "steps", "stage", "step"], &rows)
    }

    fn step_text(&self, host: &HostView) -> String {
        let Some(step) = &host.step else { return "nothing left".to_owned() };
        let mut text = format!("{}: {}", step.state.as_str(), step.title);
        if let Some(since_ms) = step.since_ms.filter(|_| is_busy(step.state)) {
            let _ = write!(text, ", for {}", duration(self.now_ms.saturating_sub(since_ms)));
        }
        if let Some(permille) = step.permille {
            let _ = write!(text, ", {} %", permille / 10);
        }
        if let Some(progress) = &step.progress {
            let _ = write!(text, ", {progress}");
        }
        text
    }

    fn hold_table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .holds
            .iter()
            .map(|hold| {
                let state = match (&hold.approved, hold.reached_ms) {
                    (Some(approved), _) => {
                        format!("approved by {} at {}", approved.by, utc(approved.at_ms))
                    }
                    (None, Some(at_ms)) => format!("waits for approval since {}", utc(at_ms)),
                    (None, None) => "not reached".to_owned(),
                };
                vec![hold.id.to_string(), state, hold.title.clone()]
            })
            .collect();
        table(&["hold", "state", "what"], &rows)
    }
}

fn is_busy(state: StepWord) -> bool {
    match state {
        StepWord::Acting | StepWord::Verifying | StepWord::AskingWayBack | StepWord::TakingBack => true,
        StepWord::Waiting
        | StepWord::Done
        | StepWord::Held
        | StepWord::HeldOnTheWayBack
        | StepWord::TakenBack => false,
    }
}

fn busy(host: &HostView) -> Option<String> {
    let step = host.step.as_ref().filter(|step| is_busy(step.state))?;
    let progress = step.progress.as_ref().map_or_else(String::new, |progress| format!(": {progress}"));
    Some(format!("{} ({}{progress})", step.id, step.state.as_str()))
}
