//! Bars at the bottom of a terminal: one for the run with the time left, one for each host at work.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use replank_common::ids::HostName;
use replank_core::gate::duration;
use replank_core::run::RunView;
use replank_core::run::view::{HostView, StepView, StepWord};
use serde_json::Value;
use std::collections::BTreeMap;

/// Hosts with a bar of their own; the others are counted in the run's bar.
const HOST_BARS_MAX: usize = 16;

const RUN_STYLE: &str = "{prefix}  [{bar:30}] {pos}/{len} steps  {msg}";
const HOST_STYLE: &str = "{prefix}  [{bar:30}] {pos}/{len}  {msg}";

/// The bars of one run. They go when this is dropped.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    run: ProgressBar,
    hosts: BTreeMap<HostName, ProgressBar>,
}

impl Bars {
    pub fn new(run: &str) -> Self {
        let all = MultiProgress::new();
        let bar = all.add(ProgressBar::new(0));
        bar.set_style(style(RUN_STYLE));
        bar.set_prefix(run.to_owned());
        Self { all, run: bar, hosts: BTreeMap::new() }
    }

    /// Does `print` with the bars out of its way.
    pub fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }

    /// Shows where the run is now.
    pub fn show(&mut self, view: &RunView) {
        self.run.set_length(view.steps_total as u64);
        self.run.set_position(view.steps_done as u64);
        let mut message = view.phase.to_string();
        if let Some(left_ms) = view.time_left_ms {
            message.push_str(&format!(", about {} left", duration(left_ms)));
        }
        if !view.waits.is_empty() {
            message.push_str(&format!(", waits for {}", waits(view)));
        }
        self.run.set_message(message);
        let at_work: BTreeMap<&HostName, (&HostView, &StepView)> =
            view.hosts.iter().filter_map(at_work).take(HOST_BARS_MAX).collect();
        self.hosts.retain(|name, bar| {
            let stays = at_work.contains_key(name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (name, (host, step)) in at_work {
            let bar = self.hosts.entry(name.clone()).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new(0));
                bar.set_style(style(HOST_STYLE));
                bar.set_prefix(format!("  {name}"));
                bar
            });
            bar.set_length(host.steps_total as u64);
            bar.set_position(host.steps_done as u64);
            bar.set_message(step_text(view, step));
        }
    }

    /// Shows what an agent says of a step at work, until the next view.
    pub fn said(&self, progress: &Value) {
        let word = |key: &str| progress.get(key).and_then(Value::as_str);
        let bar =
            word("host").and_then(|host| HostName::new(host).ok()).and_then(|host| self.hosts.get(&host));
        let (Some(bar), Some(step)) = (bar, word("step")) else { return };
        let permille = progress.get("permille").and_then(Value::as_u64);
        let share = permille.map(|permille| format!(" {} %", permille / 10)).unwrap_or_default();
        bar.set_message(format!("{step}{share} {}", word("text").unwrap_or_default()).trim_end().to_owned());
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in self.hosts.values() {
            bar.finish_and_clear();
        }
        self.run.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template").progress_chars("=> ")
}

fn waits(view: &RunView) -> String {
    match view.waits.as_slice() {
        [] => String::new(),
        [only] => only.text.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.text, rest.len()),
    }
}

fn at_work(host: &HostView) -> Option<(&HostName, (&HostView, &StepView))> {
    let step = host.step.as_ref()?;
    match step.state {
        StepWord::Acting | StepWord::Verifying | StepWord::AskingWayBack | StepWord::TakingBack => {
            Some((&host.name, (host, step)))
        }
        StepWord::Waiting
        | StepWord::Done
        | StepWord::Held
        | StepWord::HeldOnTheWayBack
        | StepWord::TakenBack => None,
    }
}

fn step_text(view: &RunView, step: &StepView) -> String {
    let mut text = format!("{}: {}", step.state.as_str(), step.title);
    if let Some(since_ms) = step.since_ms {
        text.push_str(&format!(", for {}", duration(view.now_ms.saturating_sub(since_ms))));
    }
    if let Some(permille) = step.permille {
        text.push_str(&format!(", {} %", permille / 10));
    }
    text
}
