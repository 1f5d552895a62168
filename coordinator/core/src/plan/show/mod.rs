//! A plan as text, for somebody who has never seen replank: what will be done, in which order, where it waits for a
//! person, what cannot be taken back, and each step with its time.

mod cluster;
mod steps;

use super::estimate::{Estimate, estimate};
use super::model::{Need, Plan, PlannedHost, Stage, Way};
use super::report::show_findings;
use super::text::{Page, count, names, show_duration};
use replank_common::ids::HoldId;
use std::collections::BTreeSet;

/// The whole plan as text. Ends with a line feed; the line that applies the plan is for the command line to add.
pub fn show(plan: &Plan) -> String {
    let mut page = Page::default();
    let estimate = estimate(plan);
    head(&mut page, plan, &estimate);
    if plan.steps.is_empty() {
        page.gap();
        page.line("There is nothing to do.");
    } else {
        hosts(&mut page, plan, &estimate);
        if cluster::is_of_cluster(plan) {
            cluster::sequence(&mut page, plan)
        } else {
            sequence(&mut page, plan)
        }
        holds(&mut page, plan);
        points_of_no_return(&mut page, plan);
        way_back(&mut page, plan);
        steps::show(&mut page, plan);
    }
    if !plan.findings.is_empty() {
        page.gap();
        page.line("Found on the way");
        page.line(indent(&show_findings(&plan.findings)));
    }
    page.into_text()
}

fn indent(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| if line.is_empty() { String::new() } else { format!("  {line}") }).collect();
    lines.join("\n")
}

fn working(plan: &Plan) -> Vec<&PlannedHost> {
    plan.hosts.iter().filter(|host| !host.already_done).collect()
}

fn head(page: &mut Page, plan: &Plan, estimate: &Estimate) {
    page.line(format_args!("Plan for the fleet {}", plan.fleet));
    page.line(plan.id());
    if let Some(parent) = &plan.parent {
        page.line(format_args!("continues {parent}"));
    }
    page.gap();
    for line in &plan.summary {
        page.paragraph("  - ", line);
    }
    for sentence in &plan.acknowledged {
        page.paragraph("  - ", &format!("accepted in the fleet file: \"{sentence}\""));
    }
    let hosts = working(plan);
    if hosts.is_empty() {
        return;
    }
    if cluster::is_of_cluster(plan) {
        cluster::head(page, plan, hosts.len(), estimate);
        return;
    }
    let guests: usize = hosts.iter().map(|host| host.guests as usize).sum();
    page.gap();
    page.paragraph(
        "",
        &format!(
            "{} with {} that keep running, {}. About {} when nothing waits for approval.",
            count(hosts.len(), "host"),
            count(guests, "guest"),
            count(plan.steps.len(), "step"),
            show_duration(estimate.total_ms),
        ),
    );
    page.paragraph(
        "",
        "Before and after every step the guests of its host are counted from four independent sources. The first guest that \
         is lost stops the whole fleet.",
    );
}

fn hosts(page: &mut Page, plan: &Plan, estimate: &Estimate) {
    page.gap();
    let cluster = cluster::is_of_cluster(plan);
    page.line(if cluster { "Hosts, in the order in which they are first changed" } else { "Hosts" });
    let width = plan.hosts.iter().map(|host| host.name.as_str().len()).max().unwrap_or(0).max(4);
    page.line(format_args!(
        "  {:width$}  {:8}  {:14}  {:>6}  {:>12}",
        "host", "wave", "way", "guests", "expected"
    ));
    for host in &plan.hosts {
        let wave = match host.wave {
            _ if cluster => host.wave.to_string(),
            0 => "canary".to_owned(),
            _ => "the rest".to_owned(),
        };
        let way = match host.way {
            Way::InPlace => "in place",
            Way::EvacuateFirst => "evacuate first",
        };
        let time = if host.already_done {
            "done already".to_owned()
        } else {
            show_duration(estimate.per_host_ms.get(&host.name).copied().unwrap_or(0))
        };
        page.line(format_args!("  {:width$}  {wave:8}  {way:14}  {:>6}  {time:>12}", host.name, host.guests));
    }
}

/// The voyage in a few lines: prepare, hold, wave, hold, wave.
fn sequence(page: &mut Page, plan: &Plan) {
    page.gap();
    page.line("What happens, in order");
    let mut number = 0;
    let mut item = |page: &mut Page, text: &str| {
        number += 1;
        page.paragraph(&format!("  {number}. "), text);
    };
    item(
        page,
        &format!(
            "Every host prepares, at most {} at a time: repositories pinned, packages fetched and checked, the new libvirt tried \
             on copies of the status files. Nothing that a guest would notice. A blocker found on any host ends the voyage \
             here.",
            plan.pace.staging_parallel
        ),
    );
    let waves: BTreeSet<u32> = working(plan).iter().map(|host| host.wave).collect();
    for wave in waves {
        let in_wave: Vec<&PlannedHost> = working(plan).into_iter().filter(|host| host.wave == wave).collect();
        let of_wave: Vec<&str> = in_wave.iter().map(|host| host.name.as_str()).collect();
        let hosts: BTreeSet<&str> = of_wave.iter().copied().collect();
        for hold in plan.holds.iter().filter(|hold| opens(plan, &hold.id, &hosts)) {
            item(page, &format!("Hold {}: the run waits for you.", hold.id));
        }
        let lanes = plan.pace.parallel_hosts.min(u32::try_from(of_wave.len()).unwrap_or(u32::MAX));
        let pace = if of_wave.len() == 1 { String::new() } else { format!(", {lanes} at a time") };
        let title = if wave == 0 { "The canary" } else { "The rest" };
        item(page, &format!("{title}: {}{pace}.", names(&of_wave)));
    }
}

/// Whether a hold must be approved before this wave's first change.
fn opens(plan: &Plan, hold: &HoldId, of_wave: &BTreeSet<&str>) -> bool {
    let need = Need::Hold(hold.clone());
    plan.steps.iter().any(|step| step.needs.contains(&need) && of_wave.contains(step.host.as_str()))
}

fn holds(page: &mut Page, plan: &Plan) {
    if plan.holds.is_empty() {
        return;
    }
    page.gap();
    page.line("Where it waits for you");
    for hold in &plan.holds {
        page.line(format_args!("  {}: {}", hold.id, hold.title));
        page.paragraph("    ", &format!("{}.", hold.why));
        page.line(format_args!("    Go on with: replank approve RUN {}", hold.id));
    }
}

fn points_of_no_return(page: &mut Page, plan: &Plan) {
    if plan.points_of_no_return.is_empty() {
        return;
    }
    page.gap();
    page.line("Points of no return");
    // Hosts of one kind share reason and alternative; each pair is said once.
    let mut told: Vec<(&str, &str)> = Vec::new();
    for point in &plan.points_of_no_return {
        if told.contains(&(&point.reason, &point.alternative)) {
            continue;
        }
        told.push((&point.reason, &point.alternative));
        let same = plan.points_of_no_return.iter().filter(|other| other.reason == point.reason);
        let steps: Vec<String> =
            same.map(|other| format!("{} (guarded by the hold {})", other.step, other.hold)).collect();
        // Of many that are alike, the first and the last.
        let (shown, more) = match steps.as_slice() {
            [first, .., last] if steps.len() > 8 => (vec![first, last], steps.len() - 2),
            all => (all.iter().collect(), 0),
        };
        for step in shown {
            page.line(format_args!("  {step}"));
        }
        if more > 0 {
            page.line(format_args!("  and {more} more between them"));
        }
        page.paragraph("    What is lost: ", &format!("{}.", point.reason));
        page.paragraph("    The safe way: ", &format!("{}.", point.alternative));
    }
}

fn way_back(page: &mut Page, plan: &Plan) {
    page.gap();
    page.line("The way back");
    if cluster::is_of_cluster(plan) {
        cluster::way_back(page, plan);
        return;
    }
    page.paragraph(
        "  ",
        "`replank rollback RUN` takes the steps back from their records, host by host in the opposite order: packages, files, \
         units and masks become what they were; files that guests use stay until no guest uses them. `replank abort RUN` \
         stops and gives back what was borrowed.",
    );
    if !plan.points_of_no_return.is_empty() {
        page.paragraph(
            "  ",
            "Past a point of no return a rollback first tries, on every host, whether the old libvirt could read what the new \
             one wrote, and changes nothing while it could not: it is then refused with the names of the guests, and the safe \
             way above is what remains.",
        );
    }
}

/// What a stage is for, for people.
fn stage_title(stage: Stage, cluster: bool) -> &'static str {
    match stage {
        Stage::Prepare if cluster => "prepare: nothing that a daemon would notice",
        Stage::Keep if cluster => "borrow what protects the cluster",
        Stage::Install if cluster => "configure and install; nothing is restarted",
        Stage::Switch if cluster => "restart",
        Stage::Prepare => "prepare: nothing that a guest would notice",
        Stage::Keep => "keep what running guests use",
        Stage::Install => "install the new qemu beside the old one",
        Stage::Switch => "switch libvirt",
        Stage::Verify => "verify",
        Stage::GiveBack => "give back what was borrowed",
    }
}
