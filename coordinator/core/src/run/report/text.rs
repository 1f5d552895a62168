//! The report in plain lines.

use super::{GuestFate, GuestProof, HaltReport, HostReport, OsdWaves, Report, Sight};
use crate::gate::{duration, utc};
use crate::plan::names;
use crate::run::event::End;
use crate::run::text::table;
use replank_common::census::EndCause;
use replank_common::ids::GuestUuid;
use replank_common::outcome::How;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A column that somebody else measured, such as the longest gap between a guest's beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraColumn {
    pub title: String,
    /// A guest that is not in it gets a dash.
    pub cells: BTreeMap<GuestUuid, String>,
}

impl Report {
    /// Steps, halts, the table of guests with `extra` as its last column, and the line that matters last.
    pub fn text(&self, extra: Option<&ExtraColumn>) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}  {}", self.run, self.fleet);
        let _ = writeln!(text, "plan {}, begun by {} at {}", self.plan, self.by, utc(self.created_ms));
        match (self.end, self.ended_ms) {
            (Some(end), Some(ended_ms)) => {
                let took_ms = ended_ms.saturating_sub(self.created_ms);
                let _ = writeln!(text, "{} at {} after {}", end_text(end), utc(ended_ms), duration(took_ms));
            }
            _ => text.push_str("under way\n"),
        }
        for host in &self.hosts {
            text.push('\n');
            text.push_str(&host_text(host));
        }
        for closed in &self.way_back_closed {
            let _ = writeln!(
                text,
                "\nrollback refused by {} on {}: {}",
                closed.step, closed.host, closed.refusal
            );
        }
        if self.way_back_closed_more > 0 {
            let _ = writeln!(text, "\nand by {} more", self.way_back_closed_more);
        }
        for halt in &self.halts {
            text.push('\n');
            text.push_str(&halt_text(halt));
        }
        if let Some(waves) = &self.osd_waves {
            text.push('\n');
            text.push_str(&waves_text(waves));
        }
        if !self.guests.is_empty() {
            text.push('\n');
            text.push_str(&self.guest_table(extra));
        }
        text.push('\n');
        let tally = &self.tally;
        let _ = write!(text, "guests: {} the same, {} left by their owners", tally.same, tally.left);
        for (count, what) in [
            (tally.moved, "moved"),
            (tally.uncounted, "not counted at the end"),
            (tally.unwatched, "ended while no run watched"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        let _ = writeln!(text, "\nguests lost: {}", tally.lost);
        text
    }

    fn guest_table(&self, extra: Option<&ExtraColumn>) -> String {
        let mut head =
            vec!["guest", "host", "state", "incarnation before", "after", "emulator before", "after"];
        head.extend(["qemu before", "after"]);
        head.extend(extra.map(|extra| extra.title.as_str()));
        let rows: Vec<Vec<String>> =
            self.guests
                .iter()
                .map(|guest| {
                    let mut row = guest_row(guest);
                    row.extend(extra.map(|extra| {
                        extra.cells.get(&guest.uuid).cloned().unwrap_or_else(|| "-".to_owned())
                    }));
                    row
                })
                .collect();
        table(&head, &rows)
    }
}

fn end_text(end: End) -> String {
    match end {
        End::Completed => "completed".to_owned(),
        End::Aborted => "aborted".to_owned(),
        End::RolledBack { to: None } => "rolled back".to_owned(),
        End::RolledBack { to: Some(stage) } => format!("rolled back to {}", stage.as_str()),
    }
}

fn host_text(host: &HostReport) -> String {
    let took = host.took_ms.map_or_else(|| "nothing done".to_owned(), duration);
    let mut text = format!("{} (wave {}): {took}\n", host.name, host.wave);
    for step in &host.steps {
        let took = step.took_ms.map_or_else(|| "-".to_owned(), duration);
        let _ = write!(
            text,
            "  {:<10} {:<11} {:>10}  {}",
            step.stage.as_str(),
            step.state.as_str(),
            took,
            step.title
        );
        match step.how {
            Some(How::FoundDone) => text.push_str(" (found done)"),
            Some(How::Finished) => text.push_str(" (finished after an interruption)"),
            Some(How::Applied | How::Undone | How::NothingToUndo) | None => {}
        }
        if step.attempts > 1 {
            let _ = write!(text, " ({} attempts)", step.attempts);
        }
        if let Some(took_ms) = step.undo_took_ms {
            let _ = write!(text, " (taken back in {})", duration(took_ms));
        }
        text.push('\n');
        if let Some(held) = &step.held {
            let _ = writeln!(text, "    held: {held}");
        }
        for change in step.changes.iter().chain(&step.undo_changes) {
            let _ = writeln!(text, "    {}: {} → {}", change.what, change.before, change.after);
        }
    }
    text
}

fn waves_text(waves: &OsdWaves) -> String {
    let least = waves.least.map_or_else(String::new, |least| format!("; no sequence has fewer than {least}"));
    let mut text = format!("waves of OSDs: {}{least}\n", waves.waves.len());
    let took = |span: Option<u64>| span.map_or_else(|| "-".to_owned(), duration);
    let rows: Vec<Vec<String>> = (1..)
        .zip(&waves.waves)
        .map(|(number, wave)| {
            let hosts: Vec<&str> = wave.hosts.iter().map(|host| host.as_str()).collect();
            let spans = [wave.after_ms, wave.restarted_ms, wave.settled_ms].map(took);
            let mut row = vec![number.to_string(), names(&hosts), wave.osds.to_string()];
            row.extend(spans);
            row
        })
        .collect();
    text.push_str(&table(
        &["wave", "hosts", "OSDs", "after the one before", "restarted", "then clean"],
        &rows,
    ));
    text
}

fn halt_text(halt: &HaltReport) -> String {
    let mut text = format!("halted at {}: {}\n", utc(halt.halted_at_ms), halt.reason);
    if let Some(span_ms) = halt.death_to_halt_ms {
        let _ = writeln!(text, "  from death to halt: {span_ms} ms");
    }
    if !halt.during.is_empty() {
        let during: Vec<&str> = halt.during.iter().map(|step| step.as_str()).collect();
        let _ = writeln!(text, "  in flight: {}", during.join(", "));
    }
    if let Some(decided) = &halt.decided {
        let _ = writeln!(text, "  decided: {} by {} at {}", decided.what, decided.by, utc(decided.at_ms));
    }
    text
}

fn guest_row(guest: &GuestProof) -> Vec<String> {
    let dash = || "-".to_owned();
    let incarnation = |sight: &Sight| format!("{}@{}", sight.incarnation.pid, sight.incarnation.start_ticks);
    let emulator = |sight: &Sight| sight.emulator.display().to_string();
    let qemu =
        |sight: &Sight| sight.qemu_version.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let after = guest.after.as_ref();
    vec![
        guest.name.clone(),
        guest.host.to_string(),
        fate_text(guest),
        incarnation(&guest.before),
        after.map_or_else(dash, incarnation),
        emulator(&guest.before),
        after.map_or_else(dash, emulator),
        qemu(&guest.before),
        after.map_or_else(dash, qemu),
    ]
}

fn fate_text(guest: &GuestProof) -> String {
    let text = match &guest.state {
        GuestFate::Same => "same".to_owned(),
        GuestFate::Uncounted => "not counted".to_owned(),
        GuestFate::Left { cause, .. } => match cause {
            EndCause::GuestShutdown => "left: shut itself down".to_owned(),
            EndCause::AskedOfLibvirt { who: Some(who) } => format!("left: ended by {who}"),
            EndCause::AskedOfLibvirt { who: None } => "left: ended through libvirt".to_owned(),
            EndCause::Migrated => "left: migrated".to_owned(),
            EndCause::Unattributed { known } => format!("LOST: {known}"),
        },
        GuestFate::Moved { to, .. } => format!("moved to {to}"),
        GuestFate::Lost { known, .. } => format!("LOST: {known}"),
        GuestFate::Unwatched => "ended unwatched".to_owned(),
    };
    if guest.joined { format!("{text} (joined)") } else { text }
}
