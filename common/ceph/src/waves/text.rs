//! The waves for people.

use super::bound::{LowerBound, Reason};
use super::plan::WavePlan;
use crate::OsdId;
use crate::redundancy::{list, show_objections};
use std::fmt::Write;

/// Waves that are shown. The JSON form has all, with every OSD.
const SHOWN: usize = 40;

/// The sequence in lines; the first says how long it is and how short it could be.
pub fn show_waves(plan: &WavePlan) -> String {
    let osds: usize = plan.waves.iter().map(|wave| wave.osds.len()).sum();
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string does not fail");
    if !plan.waves.is_empty() {
        line(format!(
            "{} for {}; {}.",
            count(plan.waves.len(), "wave"),
            count(osds, "OSD"),
            bound(&plan.lower_bound)
        ));
        line(String::new());
        line("wave  OSDs  what stops".to_owned());
        for (number, wave) in (1..).zip(&plan.waves).take(SHOWN) {
            let mons: Vec<String> = wave.mons.iter().map(|mon| format!("mon.{mon}")).collect();
            let mons = if mons.is_empty() { String::new() } else { format!(" (with {})", mons.join(", ")) };
            line(format!("{number:>4}  {:>4}  {}{mons}", wave.osds.len(), list(&wave.units, 12)));
        }
        if plan.waves.len() > SHOWN {
            line(format!("      … and {} more; --json has them all", plan.waves.len() - SHOWN));
        }
    }
    if !plan.left_out.is_empty() {
        line(format!("\nLeft out, as they are down: {}.", names(&plan.left_out)));
    }
    if !plan.stuck.is_empty() {
        let (number, which) = (count(plan.stuck.len(), "OSD"), names(&plan.stuck));
        let what = if plan.waves.is_empty() { "No wave can start" } else { "In no wave" };
        line(format!("\n{what}: {number} may not stop now: {which}."));
    }
    let text = text + &show_objections(&plan.objections);
    text.trim_start_matches('\n').to_owned()
}

fn bound(bound: &LowerBound) -> String {
    let fewer = match bound.waves {
        0 | 1 => return "there is nothing to save".to_owned(),
        waves => format!("no sequence has fewer than {waves}"),
    };
    match &bound.reason {
        Reason::Trivial => fewer,
        Reason::OneGroup { pg } => format!("{fewer}: group {pg} spares too few of its members at once"),
        Reason::Pairs { units } => {
            format!("{fewer}: any two of {} exclude each other", list(units, 6))
        }
        Reason::Triples { units } => {
            format!("{fewer}: any three of {} exclude each other", list(units, 6))
        }
        Reason::Search => format!("{fewer}: every other way was tried"),
    }
}

fn names(osds: &[OsdId]) -> String {
    list(&osds.iter().map(OsdId::to_string).collect::<Vec<_>>(), 12)
}

fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
