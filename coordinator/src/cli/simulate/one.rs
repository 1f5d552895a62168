//! One voyage, told from its beginning to its end.

use super::dates::since_the_start;
use super::{Case, SIMULATION_FORMAT, end_word, waters};
use crate::cli::event_text;
use crate::cli::failure::count;
use crate::cli::output::table;
use replank_common::ids::StepId;
use replank_core::gate::duration;
use replank_core::plan::{estimate, show_duration};
use replank_core::run::event::{Event, When};
use replank_core::run::report::Tally;
use replank_sim::{Ended, Fault, Profile, Told, Voyage, What};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Waits that end sooner are counted only.
const SHORT_MS: u64 = 5_000;

/// What people read.
pub(super) fn text(case: Case<'_>, voyage: &Voyage) -> String {
    let mut text = head(case, voyage);
    text.push_str(&story(&voyage.told));
    text.push_str(&messages(&voyage.told));
    text.push_str(&end(case, voyage));
    since_the_start(&text)
}

fn head(case: Case<'_>, voyage: &Voyage) -> String {
    let plan = &case.file.plan;
    let mild = Profile::describe(&voyage.profile).unwrap_or_default();
    let cluster = voyage.cluster.as_ref().map(waters::head).unwrap_or_default();
    format!(
        "A simulated run of the plan for the fleet {}: no host was touched\n{}\n\n  {} with {}; seed {}; faults {}: {mild}\n{cluster}",
        plan.fleet,
        case.file.id,
        count(voyage.hosts, "host"),
        count(voyage.guests, "guest"),
        voyage.seed,
        voyage.profile,
    )
}

/// Lines in the order of simulated time; `!` before what the simulation made go wrong.
fn story(told: &[Told]) -> String {
    let waits = waits(told);
    let mut lines = String::new();
    let mut short = 0;
    for (at, said) in told.iter().enumerate() {
        let line = match &said.what {
            What::Fault(fault) if fault.is_of_a_message() => continue,
            What::Fault(fault) => {
                let host = said.host.as_ref().map(|host| format!("{host}: ")).unwrap_or_default();
                format!("! {host}{}", described(*fault))
            }
            What::Record(event) => match &**event {
                Event::GatePassed { .. } => continue,
                event @ Event::GateWaits { .. } => match waits.get(&at) {
                    Some(lasted_ms) if *lasted_ms < SHORT_MS => {
                        short += 1;
                        continue;
                    }
                    Some(lasted_ms) => {
                        format!("  {} (for {})", event_text::text(event), duration(*lasted_ms))
                    }
                    None => format!("  {}", event_text::text(event)),
                },
                event => format!("  {}", event_text::text(event)),
            },
            What::NotGranted { wish, why } => format!("  the operator asks to {}: {why}", wish_text(wish)),
            What::Quiet => "  from here on nothing new goes wrong".to_owned(),
        };
        let _ = writeln!(lines, "  {:>11}  {line}", duration(said.at_ms));
    }
    if lines.is_empty() {
        return String::new();
    }
    let mut text = "\nWhat happened, in simulated time; ! is what the simulation made go wrong\n".to_owned();
    text.push_str(&lines);
    if short > 0 {
        let _ = writeln!(text, "  and {} of less than {}", count(short, "wait"), duration(SHORT_MS));
    }
    text
}

/// How long each wait lasted, by its place among what was told; one that never ended has none.
fn waits(told: &[Told]) -> BTreeMap<usize, u64> {
    let mut open: BTreeMap<(&StepId, When), usize> = BTreeMap::new();
    let mut lasted = BTreeMap::new();
    for (at, said) in told.iter().enumerate() {
        let What::Record(event) = &said.what else { continue };
        let (step, when, passed) = match &**event {
            Event::GateWaits { step, when, .. } => (step, *when, false),
            Event::GatePassed { step, when } => (step, *when, true),
            _ => continue,
        };
        // A wait for another reason ends the one before it.
        if let Some(began) = open.remove(&(step, when)) {
            lasted.insert(began, said.at_ms - told[began].at_ms);
        }
        if !passed {
            open.insert((step, when), at);
        }
    }
    lasted
}

fn described(fault: Fault) -> String {
    let text = fault.describe().trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn wish_text(wish: &replank_core::run::Operate) -> String {
    use replank_core::run::Operate;
    match wish {
        Operate::Approve { hold } => format!("approve {hold}"),
        Operate::Pause => "pause".to_owned(),
        Operate::Resume { .. } => "resume".to_owned(),
        Operate::Retry { step } => format!("retry {step}"),
        Operate::Abort => "abort".to_owned(),
        Operate::Rollback { to: None } => "roll back".to_owned(),
        Operate::Rollback { to: Some(stage) } => format!("roll back to {}", stage.as_str()),
    }
}

const MESSAGES: [(Fault, &str); 4] = [
    (Fault::MessageLost, "lost"),
    (Fault::MessageDoubled, "doubled"),
    (Fault::MessageLate, "late"),
    (Fault::MessageReordered, "overtaken"),
];

/// Too many to be told one by one.
fn messages(told: &[Told]) -> String {
    let mut hosts: BTreeMap<&str, [u64; MESSAGES.len()]> = BTreeMap::new();
    for said in told {
        let (What::Fault(fault), Some(host)) = (&said.what, &said.host) else { continue };
        if let Some(at) = MESSAGES.iter().position(|(kind, _)| kind == fault) {
            hosts.entry(host.as_str()).or_default()[at] += 1;
        }
    }
    if hosts.is_empty() {
        return String::new();
    }
    let mut headings = vec!["host"];
    headings.extend(MESSAGES.map(|(_, word)| word));
    let rows = hosts.iter().map(|(host, counts)| {
        std::iter::once((*host).to_owned()).chain(counts.iter().map(u64::to_string)).collect()
    });
    let lines = table(&headings, rows.collect(), &[1, 2, 3, 4]);
    let lines: Vec<String> = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("\nMessages between the coordinator and the hosts\n{}", lines.concat())
}

fn end(case: Case<'_>, voyage: &Voyage) -> String {
    let mut text = "\nHow it ended\n".to_owned();
    let planned = estimate(&case.file.plan).total_ms;
    match (&voyage.broken, &voyage.ended) {
        (Some(broken), _) => {
            let _ = writeln!(
                text,
                "  BROKEN: {}, {}, at {}: {}",
                broken.promise,
                broken.promise.describe(),
                duration(broken.at_ms),
                broken.text
            );
            text.push_str(
                "  This is a mistake of replank. Report it, with the plan and the command below.\n",
            );
        }
        (None, Ended::Held { reason }) => {
            let _ = writeln!(text, "  held after {}; it says why:", duration(voyage.simulated_ms));
            for line in reason.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        (None, ended @ (Ended::Finished | Ended::Aborted | Ended::RolledBack)) => {
            let after = voyage.ended_after_ms.unwrap_or(voyage.simulated_ms);
            let _ = writeln!(
                text,
                "  {ended} after {}; the plan expects {} when nothing waits",
                duration(after),
                show_duration(planned)
            );
        }
    }
    if let Some(tally) = voyage.tally.as_ref().filter(|_| waters::has_guests(voyage)) {
        let _ = writeln!(text, "  guests: {}", tally_text(tally));
    }
    text.push_str(&voyage.cluster.as_ref().map(waters::end).unwrap_or_default());
    let checked: u64 = voyage.checked.values().sum();
    if voyage.broken.is_none() {
        let _ = writeln!(text, "  promises: {checked} checks, none broken");
    }
    let _ = writeln!(text, "  the same again: {}", case.replay(voyage.seed));
    text
}

/// Only what is, and what must be said also when it is none.
pub(super) fn tally_text(tally: &Tally) -> String {
    let Tally { same, uncounted, left, moved, lost, unwatched } = *tally;
    let mut text = format!("{same} the same, {left} left by their owners, {lost} lost");
    for (number, what) in
        [(moved, "moved"), (uncounted, "not counted at the end"), (unwatched, "ended while no run watched")]
    {
        if number > 0 {
            let _ = write!(text, ", {number} {what}");
        }
    }
    text
}

/// The same for machines, with every message that was tampered with.
pub(super) fn json(case: Case<'_>, voyage: &Voyage) -> Value {
    let waits = waits(&voyage.told);
    let told: Vec<Value> =
        voyage.told.iter().enumerate().map(|(at, said)| told_json(said, waits.get(&at))).collect();
    let reason = match &voyage.ended {
        Ended::Held { reason } if voyage.broken.is_none() => Some(reason),
        Ended::Held { .. } | Ended::Finished | Ended::Aborted | Ended::RolledBack => None,
    };
    json!({
        "format": SIMULATION_FORMAT,
        "plan": case.file.id,
        "fleet": case.file.plan.fleet,
        "faults": voyage.profile,
        "seed": voyage.seed,
        "hosts": voyage.hosts,
        "guests": voyage.guests,
        "told": told,
        "injected": voyage.injected.iter().map(|(fault, times)| (fault.name(), times)).collect::<BTreeMap<_, _>>(),
        "ended": end_word(voyage),
        "held_by": reason,
        "ended_after_ms": voyage.ended_after_ms,
        "simulated_ms": voyage.simulated_ms,
        "expected_ms": estimate(&case.file.plan).total_ms,
        "tally": voyage.tally,
        "cluster": voyage.cluster.as_ref().map(waters::json),
        "checked": voyage.checked.iter().map(|(promise, times)| (promise.name(), times)).collect::<BTreeMap<_, _>>(),
        "broken": voyage.broken.as_ref().map(|broken| json!({
            "promise": broken.promise.name(),
            "text": broken.text,
            "at_ms": broken.at_ms,
        })),
        "journal_sha256": voyage.journal,
        "replay": case.replay(voyage.seed),
    })
}

fn told_json(said: &Told, lasted_ms: Option<&u64>) -> Value {
    let at_ms = said.at_ms;
    match &said.what {
        What::Fault(fault) => json!({ "at_ms": at_ms, "fault": fault.name(), "host": said.host }),
        What::Record(event) => match &**event {
            Event::GateWaits { .. } => json!({ "at_ms": at_ms, "event": event, "lasted_ms": lasted_ms }),
            _ => json!({ "at_ms": at_ms, "event": event }),
        },
        What::NotGranted { wish, why } => {
            json!({ "at_ms": at_ms, "not_granted": { "wish": wish_text(wish), "why": why } })
        }
        What::Quiet => json!({ "at_ms": at_ms, "quiet": true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{PlanRef, SimulateArgs};
    use crate::cli::files::PlanFile;
    use replank_common::ids::Epoch;
    use replank_core::gate::WaitReason;
    use replank_core::run::Operate;
    use replank_sim::plans::{self, Shape};
    use replank_sim::{Broken, Promise};

    fn told(at_ms: u64, what: What) -> Told {
        Told { at_ms, host: None, what }
    }

    fn struck(at_ms: u64, host: usize, fault: Fault) -> Told {
        Told { at_ms, host: Some(plans::host_name(host)), what: What::Fault(fault) }
    }

    fn record(at_ms: u64, event: Event) -> Told {
        told(at_ms, What::Record(Box::new(event)))
    }

    fn waits(at_ms: u64, host: usize, of: &str) -> Told {
        let reason = WaitReason::NoReadingYet { host: plans::host_name(host), of: of.to_owned() };
        record(at_ms, Event::GateWaits { step: plans::step_id(host, "pin"), when: When::Before, reason })
    }

    fn passed(at_ms: u64, host: usize) -> Told {
        record(at_ms, Event::GatePassed { step: plans::step_id(host, "pin"), when: When::Before })
    }

    fn voyage(ended: Ended, broken: Option<Broken>) -> Voyage {
        let hold = plans::hold_id("before-canary");
        let by = || "operator".to_owned();
        Voyage {
            seed: 7,
            profile: "storm".to_owned(),
            hosts: 2,
            guests: 4,
            ended,
            events: 900,
            records: 80,
            simulated_ms: 400_000,
            ended_after_ms: Some(250_500),
            injected: BTreeMap::new(),
            checked: [(Promise::P1, 40), (Promise::P4, 60)].into(),
            broken,
            trace: Vec::new(),
            journal: String::new(),
            cluster: None,
            tally: Some(Tally { same: 3, lost: 1, uncounted: 2, ..Tally::default() }),
            told: vec![
                struck(20, 0, Fault::MessageLost),
                struck(25, 1, Fault::MessageLost),
                struck(30, 1, Fault::MessageLate),
                waits(2_000, 0, "the census"),
                struck(2_500, 1, Fault::AgentKilledAfterAct),
                passed(3_000, 0),
                waits(4_000, 1, "the census"),
                waits(15_000, 1, "the guests' jobs"),
                told(16_000, What::Fault(Fault::CoordinatorKilled)),
                record(17_000, Event::Led { epoch: Epoch(2) }),
                record(61_000, Event::HoldReached { hold: hold.clone() }),
                told(
                    61_500,
                    What::NotGranted {
                        wish: Operate::Retry { step: plans::step_id(0, "pin") },
                        why: "it is not held".to_owned(),
                    },
                ),
                record(62_000, Event::Approved { hold, by: by() }),
                told(70_000, What::Quiet),
            ],
        }
    }

    fn shown(voyage: &Voyage) -> String {
        let plan = plans::plan(Shape::of(2));
        let (id, bytes) = (plans::plan_id(), Vec::new());
        let file = PlanFile { id, plan, bytes };
        let args = SimulateArgs {
            plan: PlanRef::File("my plan.json".into()),
            seed: 7,
            faults: "storm".to_owned(),
            seeds: 1,
            inventory: None,
        };
        text(Case { args: &args, file: &file }, voyage)
    }

    #[test]
    fn a_voyage_in_words() {
        insta::assert_snapshot!(shown(&voyage(Ended::RolledBack, None)));
    }

    #[test]
    fn what_holds_is_said_and_what_broke_is_to_be_reported() {
        let reason = "RP3023 compute1: the agent cannot be heard\n    do: bring it back".to_owned();
        let held = shown(&voyage(Ended::Held { reason }, None));
        let text = "compute1.pin is not given back".to_owned();
        let broken = Broken { promise: Promise::P7, text: text.clone(), at_ms: 99_000 };
        let broken = shown(&voyage(Ended::Held { reason: text }, Some(broken)));
        let end = |shown: &str| shown.split("How it ended").last().unwrap_or_default().to_owned();
        insta::assert_snapshot!(format!("{}{}", end(&held), end(&broken)));
    }
}
